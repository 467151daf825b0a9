"""`mtrl judge IMAGE... --tasks T --ckpt PATH`: verdict, reasoning and confidence for one's own images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mtrl.commands import options

SHOWN, LETTERS = 50, 300  # rows of the table on the terminal, and characters of a row's reasoning


def command(
    images: Annotated[
        list[Path],
        typer.Argument(help="Images, folders of images, .csv or .jsonl tables; two images for a pairwise task."),
    ],
    tasks: Annotated[
        str | None,
        typer.Option(help="The task to ask. A row with a task of its own, in the column task, is asked that one."),
    ] = None,
    ckpt: options.Checkpoint = None,
    endpoint: options.Endpoint = None,
    served_model: options.ServedModel = None,
    field: Annotated[
        list[str] | None, typer.Option(help="caption=... and the like, for items that have none. More than once.")
    ] = None,
    style: Annotated[
        Literal["sft", "rl"] | None, typer.Option(help="Prompt style; default: the one it was trained with.")
    ] = None,
    prompts: options.Prompts = "export",
    tensor_parallel: Annotated[int, typer.Option(min=1, help="GPUs that share one copy of the model.")] = 1,
    recursive: Annotated[bool, typer.Option("--recursive", help="Read the folders below a folder too.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out items that cannot be judged; they are listed with the reason.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write rows to this .jsonl, .csv or .html; started again, it goes on.")
    ] = None,
) -> None:
    """Judge your own images."""
    from mtrl.commands.evaluate import engine_maker, judge_of
    from mtrl.converters.pipeline import images as stored
    from mtrl.core.console import bar, check, say, say_unread
    from mtrl.core.errors import UserError
    from mtrl.evaluate import image_items, image_sources, judging, unreadable, verdict, verdict_file
    from mtrl.evaluate.html import judge_page

    if out:
        verdict_file.check(out)
    if wrong := [given for given in field or [] if "=" not in given]:
        raise UserError(f"--field {wrong[0]} should be name=text", "for instance --field caption='a red square'")
    fields = {name.strip(): text for name, _, text in (given.partition("=") for given in field or [])}
    who = judge_of(ckpt, endpoint, served_model, style, prompts)
    given = image_items.read(images, tasks, who.style, fields, recursive, skip_bad, who.task)
    say(f"{who.checkpoint}: style {who.style}, by {who.told_by}; {len(given.items)} items")
    for line in who.remarks(
        dict.fromkeys(item.task.name for item in given.items if isinstance(item, image_items.Item))
    ):
        say(line)
    if given.skipped:
        check("warning", f"{given.skipped.total():,} files left out: {image_sources.in_words(given.skipped)}")
    for name, number in given.rotated.items():
        check("warning", f"{number:,} items of task {name} have images with an {stored.ROTATED}", stored.upright(name))
    with bar("judge") as update:
        judged = judging.run(who, given.items, out, engine_maker(endpoint, tensor_parallel), update, judge_page.write)
    _show([verdict.row(one) for one in judged])
    answered = [one for one in judged if isinstance(one, verdict.Verdict)]
    choices = {item.task.name: item.task.choices for item in given.items if isinstance(item, image_items.Item)}
    say_unread(unreadable.found(answered, who.style, choices, who.max_new_tokens))
    if out:
        say(f"written: {out}")


def _show(rows: list[dict[str, Any]]) -> None:
    from mtrl.core.console import check, say, table

    columns = [
        c
        for c in ("verdict", "flipped", "label", "confidence", "reasoning", "skipped")
        if any(row.get(c) not in (None, "") for row in rows)
    ]
    several = len({row["task"] for row in rows}) > 1
    names = ["image", *(["task"] if several else []), *columns]
    shown = [
        [" | ".join(_plain(row[c]) for c in ("image", "image_2") if c in row), *(_cell(row, c) for c in names[1:])]
        for row in rows[:SHOWN]
    ]
    table("" if several else rows[0]["task"], names, shown)
    if len(rows) > SHOWN:
        say(f"and {len(rows) - SHOWN} more: --out FILE.jsonl or FILE.csv has all")
    labelled = [row for row in rows if "label" in row]
    if labelled:
        say(f"{sum(row['correct'] for row in labelled)} of {len(labelled)} as labelled")
    if bad := [row for row in rows if "skipped" in row]:
        check("warning", f"{len(bad):,} of {len(rows):,} items were not judged; the first: {_plain(bad[0]['skipped'])}")
    refused = [row for row in rows if str(row.get("finish_reason")).startswith("rejected")]
    if refused:
        say(f"{len(refused)} were not taken by the judge; the first: {refused[0]['finish_reason']}")


def _cell(row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, bool):
        return "yes" if value else ""
    text = "" if value is None else _plain(str(value))
    return text if len(text) <= LETTERS else text[:LETTERS] + "..."


def _plain(text: str) -> str:
    """Without what would steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
