"""`mtrl judge IMAGE... --tasks T --ckpt PATH`: verdict, reasoning and confidence for the user's own images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtrl.commands import options

if TYPE_CHECKING:
    from mtrl.evaluate.image_items import Bad
    from mtrl.evaluate.verdict import Verdict

# shown if an item has it
COLUMNS = ("verdict", "raw", "judged by", "flipped", "label", "confidence", "reasoning", "skipped")
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
    style: options.Style = None,
    prompts: options.Prompts = "export",
    raw: Annotated[
        bool, typer.Option("--raw", help="Do not use the thresholds of the judge's decision.json (mtrl certify).")
    ] = False,
    escalate_to: Annotated[
        str | None,
        typer.Option(help="The URL of a server with a larger judge, which is asked about undecided items only."),
    ] = None,
    escalate_model: Annotated[str | None, typer.Option(help="The name that this server knows it by.")] = None,
    tensor_parallel: options.TensorParallel = 1,
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
    from mtrl.evaluate import decision, image_items, image_sources, judges, unreadable, verdict_file, verdicts
    from mtrl.evaluate.html import judge_page
    from mtrl.evaluate.loading import Loader
    from mtrl.evaluate.verdict import Verdict

    if out:
        verdict_file.check(out)
    if wrong := [given for given in field or [] if "=" not in given]:
        raise UserError(f"--field {wrong[0]} should be name=text", "for example --field caption='a red square'")
    if tasks and "," in tasks:
        raise UserError(
            f"--tasks {tasks} is several tasks, and an item is asked one",
            "pass one of them, or a table with a column task",
        )
    if escalate_model and escalate_model == served_model:
        raise UserError(
            f"--served-model and --escalate-model are both {served_model!r}: whose a verdict is could not be told",
            "serve one of the two judges under another name",
        )
    fields = {name.strip(): text for name, _, text in (given.partition("=") for given in field or [])}
    judge = judges.named(ckpt, endpoint, served_model, style, prompts)
    given = image_items.read(images, tasks, judge.style, fields, recursive, skip_bad, judge.task)
    asked = {item.task.name: item.task for item in given.items if isinstance(item, image_items.Item)}
    limits = {} if raw or not ckpt else decision.thresholds(Path(ckpt), asked.values(), judge.style)
    if (escalate_to or escalate_model) and not (limits and escalate_to and escalate_model):
        raise UserError(
            "--escalate-to URL and --escalate-model NAME go together, with a --ckpt folder that has a decision.json:"
            " without it nothing is undecided",
            "mtrl certify EVALUATION --write FOLDER writes one",
        )
    larger = None
    if escalate_to and escalate_model:
        larger = verdicts.Larger(judges.served(escalate_model, style=judge.style), Loader(escalate_to))
    say(f"{judge.checkpoint}: style {judge.style}, by {judge.told_by}; {len(given.items)} items")
    for line in judge.remarks(asked):
        say(line)
    if given.skipped:
        check("warning", f"{given.skipped.total():,} files left out: {image_sources.in_words(given.skipped)}")
    for name, number in given.rotated.items():
        check("warning", f"{number:,} items of task {name} have images with an {stored.ROTATED}", stored.upright(name))
    for name, limit in limits.items():
        say(
            f"task {name}: undecided below a confidence of {limit.threshold:.6g}; of the others at least"
            f" {100 * (1 - limit.alpha):g}% are right ({ckpt}/decision.json, delta {limit.delta:g})"
        )
    if limits and endpoint:
        say("the thresholds are of the judge in this folder; that the server has the same weights cannot be checked")
    engine = Loader(endpoint, tensor_parallel)
    with bar("judge") as update:
        judged = verdicts.run(judge, given.items, out, engine, update, judge_page.write, limits, larger)
    uncertified = decision.without(Path(ckpt)) if ckpt and Path(ckpt).is_dir() and not (raw or limits) else ""
    _show(judged, out, larger.judge.checkpoint if larger else "", uncertified)
    answers = [one for one in judged if isinstance(one, Verdict)]
    choices = {name: task.choices for name, task in asked.items()}
    say_unread(unreadable.found([one.as_said for one in answers], judge.style, choices, judge.max_new_tokens))
    if out:
        say(f"written: {out}")


def _show(judged: Sequence[Verdict | Bad], out: Path | None, larger: str, uncertified: str) -> None:
    from mtrl.config.kinds import UNDECIDED
    from mtrl.core.console import check, say, table
    from mtrl.evaluate.verdict import Verdict

    rows = [_cells(one) for one in judged[:SHOWN]]
    columns = [name for name in COLUMNS if any(row.get(name) for row in rows)]
    several = len({one.task for one in judged}) > 1
    names = ["image", *(["task"] if several else []), *columns]
    table("" if several else judged[0].task, names, [[row.get(name, "") for name in names] for row in rows])
    if len(judged) > SHOWN:
        where = f"in {out}" if out else "not shown: pass --out FILE.jsonl, FILE.csv or FILE.html for all"
        say(f"and {len(judged) - SHOWN:,} more {where}")
    answers = [one for one in judged if isinstance(one, Verdict)]
    if decided := [one for one in answers if one.raw is not None]:
        undecided = sum(one.verdict == UNDECIDED for one in decided)
        asked = sum(one.escalated is not None for one in decided)
        by = f"; {larger} was asked about {asked:,}, and for its verdicts nothing is proven" if larger else ""
        say(f"{undecided:,} of {len(decided):,} items are undecided{by}")
    elif answers and uncertified:
        say(uncertified)
    if labelled := [one for one in answers if one.label and one.verdict != UNDECIDED]:
        say(f"{sum(one.correct for one in labelled):,} of {len(labelled):,} verdicts are as labelled")
    if bad := [one for one in judged if not isinstance(one, Verdict)]:
        check("warning", f"{len(bad):,} of {len(judged):,} items were not judged; the first: {_plain(bad[0].reason)}")
    if rejected := [one.finish_reason for one in answers if one.rejected]:
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
        "raw": one.raw or "",
        "judged by": one.judged_by or "" if one.escalated is not None else "",
        "flipped": "" if one.flipped is None else "yes" if one.flipped else "no",
        "label": one.label,
        "confidence": "" if one.confidence is None else f"{one.confidence:.3f}",
        "reasoning": _plain(one.reasoning),
    }


def _plain(text: str) -> str:
    """One line of printable characters, cut."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LETTERS else line[:LETTERS] + "..."
