"""`mtrl judge IMAGE... --tasks T --ckpt PATH`: verdict, reasoning and confidence for the user's own images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mtrl.commands import options

if TYPE_CHECKING:
    from mtrl.evaluate.image_items import Bad
    from mtrl.evaluate.verdict import Verdict

COLUMNS = ("verdict", "flipped", "label", "confidence", "reasoning", "skipped")  # shown if an item has it
SHOWN, LETTERS = 50, 300  # rows of the table on the terminal, and characters of a row's reasoning


def command(
    images: Annotated[
        list[Path],
        typer.Argument(help="Images, folders of images, or .csv or .jsonl tables. For a pairwise task, two images."),
    ],
    tasks: Annotated[
        str | None,
        typer.Option(help="The task to ask. A row with a task of its own, in the column task, is asked that one."),
    ] = None,
    ckpt: options.Checkpoint = None,
    endpoint: options.Endpoint = None,
    served_model: options.ServedModel = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=TEXT, for example caption=...: the text of a field for items that have none. Repeatable."
        ),
    ] = None,
    style: Annotated[
        Literal["sft", "rl"] | None,
        typer.Option(help="Prompt style. Default: the one that the judge was trained with."),
    ] = None,
    prompts: options.Prompts = "export",
    tensor_parallel: Annotated[int, typer.Option(min=1, help="GPUs per copy of the model.")] = 1,
    recursive: Annotated[bool, typer.Option("--recursive", help="Read subfolders too.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out items that cannot be judged. They are listed with the reason.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the verdicts to this .jsonl, .csv or .html file. The same command again continues it."
        ),
    ] = None,
) -> None:
    """Judge images of your own: verdict, reasoning and confidence."""
    from mtrl.converters.pipeline import images as stored
    from mtrl.core.console import bar, check, say, say_unread
    from mtrl.core.errors import UserError
    from mtrl.evaluate import image_items, image_sources, judges, unreadable, verdict_file, verdicts
    from mtrl.evaluate.html import judge_page
    from mtrl.evaluate.loading import Loader
    from mtrl.evaluate.verdict import Verdict

    if out:
        verdict_file.check(out)
    if wrong := [given for given in field or [] if "=" not in given]:
        raise UserError(f"--field {wrong[0]} should be name=text", "for example --field caption='a red square'")
    fields = {name.strip(): text for name, _, text in (given.partition("=") for given in field or [])}
    judge = judges.named(ckpt, endpoint, served_model, style, prompts)
    given = image_items.read(images, tasks, judge.style, fields, recursive, skip_bad, judge.task)
    asked = {item.task.name: item.task for item in given.items if isinstance(item, image_items.Item)}
    say(f"{judge.checkpoint}: style {judge.style}, by {judge.told_by}; {len(given.items)} items")
    for line in judge.remarks(asked):
        say(line)
    if given.skipped:
        check("warning", f"{given.skipped.total():,} files left out: {image_sources.in_words(given.skipped)}")
    for name, number in given.rotated.items():
        check("warning", f"{number:,} items of task {name} have images with an {stored.ROTATED}", stored.upright(name))
    engine = Loader(endpoint, tensor_parallel)
    with bar("judge") as update:
        judged = verdicts.run(judge, given.items, out, engine, update, judge_page.write)
    _show(judged)
    answers = [one for one in judged if isinstance(one, Verdict)]
    choices = {name: task.choices for name, task in asked.items()}
    say_unread(unreadable.found(answers, judge.style, choices, judge.max_new_tokens))
    if out:
        say(f"written: {out}")


def _show(judged: Sequence[Verdict | Bad]) -> None:
    from mtrl.core.console import check, say, table
    from mtrl.evaluate.verdict import Verdict

    rows = [_cells(one) for one in judged[:SHOWN]]
    columns = [name for name in COLUMNS if any(row.get(name) for row in rows)]
    several = len({one.task for one in judged}) > 1
    names = ["image", *(["task"] if several else []), *columns]
    table("" if several else judged[0].task, names, [[row.get(name, "") for name in names] for row in rows])
    if len(judged) > SHOWN:
        say(f"and {len(judged) - SHOWN:,} more: pass --out FILE.jsonl, FILE.csv or FILE.html for all")
    answers = [one for one in judged if isinstance(one, Verdict)]
    if labelled := [one for one in answers if one.label]:
        say(f"{sum(one.correct for one in labelled):,} of {len(labelled):,} verdicts are as labelled")
    if bad := [one for one in judged if not isinstance(one, Verdict)]:
        check("warning", f"{len(bad):,} of {len(judged):,} items were not judged; the first: {_plain(bad[0].reason)}")
    if rejected := [one.finish_reason for one in answers if one.finish_reason.startswith("rejected")]:
        say(f"{len(rejected):,} requests were rejected; the first: {rejected[0]}")


def _cells(one: Verdict | Bad) -> dict[str, str]:
    """A row of the table by column; a column that the item does not have is missing or ""."""
    from mtrl.config.kinds import SKIPPED
    from mtrl.evaluate.verdict import Verdict

    if not isinstance(one, Verdict):
        image = " | ".join(map(_plain, one.names))
        return {"image": image, "task": one.task, "verdict": SKIPPED, "skipped": _plain(one.reason)}
    return {
        "image": " | ".join(_plain(name) for name in (one.image, one.image_2, one.image_3, one.image_4) if name),
        "task": one.task,
        "verdict": one.verdict,
        "flipped": "" if one.flipped is None else "yes" if one.flipped else "no",
        "label": one.label,
        "confidence": "" if one.confidence is None else f"{one.confidence:.3f}",
        "reasoning": _plain(one.reasoning),
    }


def _plain(text: str) -> str:
    """One line of printable characters, cut."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LETTERS else line[:LETTERS] + "..."
