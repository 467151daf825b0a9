"""`mtrl convert TASK...|all --raw DIR`: release files to samples, SFT JSON and RL parquet."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mtrl.commands import options


class Protocol(StrEnum):
    paper = "paper"
    grouped = "grouped"


def command(
    names: Annotated[
        list[str], typer.Argument(metavar="TASK...|all", help="Tasks to convert. all: those whose release is there.")
    ],
    raw: Annotated[Path, typer.Option(help="Folder of the releases as downloaded: DIR, or DIR/<benchmark>/.")],
    out: Annotated[Path, typer.Option(help="Folder to write the converted tasks to.")] = options.DATA,
    limit: Annotated[int | None, typer.Option(min=1, help="Keep the first N rows of each split.")] = None,
    protocol: Annotated[
        Protocol | None,
        typer.Option(
            help="paper: rows are split at random; grouped: no image or text is in two splits. Default: the task's."
        ),
    ] = None,
    hard_links: Annotated[
        bool,
        typer.Option(
            "--hard-links",
            help="Link images to the release instead of copying them. An edit of a release file then changes the data.",
        ),
    ] = False,
) -> None:
    """Convert releases into the files that trainers read.

    Every image is decoded once. Rejected rows are counted by reason."""
    from mtrl.config import tasks
    from mtrl.converters.base import Absent
    from mtrl.converters.checks.table1 import cells
    from mtrl.converters.pipeline import counts as findings
    from mtrl.converters.pipeline import images
    from mtrl.converters.pipeline.convert import convert
    from mtrl.core import targets
    from mtrl.core.console import bar, check, say, table
    from mtrl.core.errors import UserError
    from mtrl.reward_plugins.judge import LISTED

    targets.check_folder(out)
    rows, absent = [], {}
    for task in tasks.select(names):

        def waiting(name: str = task.name) -> None:
            say(f"{name}: waiting for it to end: another mtrl convert is writing {out / name}")

        try:
            with bar(f"convert {task.name}") as update:
                done = convert(task, raw, out, limit, update, protocol and protocol.value, hard_links, waiting)
        except Absent as error:
            if names != ["all"]:
                raise
            absent[task.name] = error
            continue
        card = done.card
        if done.unchanged:
            say(f"{task.name}: nothing has changed since it was converted")
        published = cells(task)
        for split in tasks.SPLITS:
            counts = card.counts[split]
            shown = {verdict: n for verdict, n in counts.items() if n or len(counts) <= LISTED}
            labels = "  ".join(f"{verdict}: {number:,}" for verdict, number in shown.items())
            rows.append([task.name, split, f"{sum(counts.values()):,}", labels, published[split]])
        for reason, number in card.rejects.items():
            say(f"{task.name}: {number} of {card.rows_in_release} rows rejected: {reason}")
        if rotated := card.images.notes.get(images.ROTATED):
            say(f"warning: {task.name}: {rotated} images: {images.ROTATED}; {images.upright(task.name)}")
        if dropped := sum(card.release_counts["dropped"].values()):
            say(f"{task.name}: {dropped} rows dropped: they share a text or an image with a held-out official split")
        for level, text, then in (*findings.of_card(task.name, card), *findings.fields(task, out)):
            check(level, text, then)
    if absent and not rows:
        raise next(iter(absent.values()))
    if absent:
        say(f"not converted, since {raw} does not have their releases: {', '.join(absent)}")
    columns = ["task", "split", "rows", "labels", "Table 1"]
    if not any(row[-1] for row in rows):  # a task of the user's own is not in the paper
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    table(str(out), columns, rows)
    if names == ["all"] and (broken := tasks.broken()):
        raise UserError(f"these tasks are broken and were not converted: {', '.join(broken)}", "mtrl tasks")
