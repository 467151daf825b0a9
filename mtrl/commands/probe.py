"""`mtrl probe --ckpt PATH`: what moves a judge's verdicts that should not, and what fails to move them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mtrl.commands import options

if TYPE_CHECKING:
    from mtrl.evaluate.predictions import Evaluation
    from mtrl.evaluate.probing.effects import Effect, TaskProbe

COLUMNS = ("change", "should move", "n", "flips [95%]", "direction", "accuracy", "difference [95%]", "invalid")


def command(
    ckpt: options.Checkpoint = None,
    endpoint: options.Endpoint = None,
    served_model: options.ServedModel = None,
    tasks: options.TrainedTasks = None,
    split: Annotated[
        Literal["train", "val", "test"], typer.Option(help="The split that rows are drawn from.")
    ] = "test",
    rows: Annotated[int, typer.Option(min=1, help="The most rows of a task, drawn by --seed.")] = 200,
    only: Annotated[
        str | None,
        typer.Option(
            help="Changes, comma-separated: blank, other, order, blur, jpeg, resize, crop, rotate, hue, grey, written,"
            " caption, authority, paraphrase, invert, prefill. Default: all that fit the task."
        ),
    ] = None,
    style: options.Style = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the rows and the changes.")] = 0,
    tensor_parallel: options.TensorParallel = 1,
    out: Annotated[Path | None, options.answers_folder("probe")] = None,
    prompts: options.Prompts = "export",
    data: options.Data = options.DATA,
    runs: options.Runs = options.RUNS,
) -> None:
    """Find out what moves a judge's verdicts that should not, and whether it looks.

    The same command again continues: it asks only what is not answered yet. With other --tasks it adds them."""
    from mtrl.core.console import bar, say
    from mtrl.evaluate import judges, predictions
    from mtrl.evaluate.html import probe_page
    from mtrl.evaluate.loading import Loader
    from mtrl.evaluate.probing import effects
    from mtrl.evaluate.probing import folder as place
    from mtrl.evaluate.probing.asked import Plan
    from mtrl.evaluate.run import ask

    judge = judges.named(ckpt, endpoint, served_model, style, prompts)
    folder = out or runs / judges.evaluation_folder(ckpt, served_model, kind="probe")
    names = options.trained_tasks(judge, tasks, "probe")
    plan = Plan(data, split, folder, rows, seed, options.names("--only", only) or None)
    with place.taken(folder):
        there = place.tasks(folder, judge.fingerprint)
        names = list(dict.fromkeys([*there, *names]))
        say(f"{judge.checkpoint}: method {judge.method}, style {judge.style}, by {judge.told_by}")
        for line in judge.remarks(names):
            say(line)
        engine = Loader(endpoint, tensor_parallel, None, None, data, folder / "log.txt")
        with bar(f"probe {folder}") as update:
            ask(judge, names, data, split, folder, 1, None, engine, update, probe=plan)
        run = predictions.load(folder, purpose="probe")
        found = {name: effects.of_task(run, name, plan.left_out[name], plan.unchanged[name]) for name in names}
        _tell(run, found)
        with bar("thumbnails") as update:
            page = probe_page.write(folder, run, found, plan, update)
        effects.write(folder, run.identity, found)
    say(f"the same with {probe_page.EXAMPLES} examples of each change: {page}")


def _tell(run: Evaluation, found: dict[str, TaskProbe]) -> None:
    from mtrl.core.console import check, say, say_unread
    from mtrl.evaluate import notes, unreadable
    from mtrl.evaluate.probing import findings

    for name, task in found.items():
        _show(name, task)
        first, *others = findings.of_task(task)
        check({"blind": "error", "looks": "ok", "unknown": "warning"}[task.looks], f"{name}: {first}")
        for line in others:
            say(f"{name}: {line}")
        for change, why in task.left_out.items():
            say(f"{name}: {change} is left out: {why}")
    for line in notes.rejected(run.rows):
        say(line)
    say_unread(unreadable.of_evaluation(run.identity, run.rows))


def _show(name: str, task: TaskProbe) -> None:
    from mtrl.core.console import table
    from mtrl.evaluate.probing import findings

    same = [[findings.words(variant), "", "0", "unchanged", "", "", "", ""] for variant in findings.without_rate(task)]
    title = f"{name}: {task.rows:,} rows of {task.split}, each as it is and changed (per cent; !: see below)"
    table(title, COLUMNS, [*map(_cells, task.effects), *same])


def _cells(one: Effect) -> list[str]:
    from mtrl.evaluate.html.probe_page import MOVES
    from mtrl.evaluate.probing import findings

    change = one.accuracy_change
    return [
        findings.words(one.variant) + (" !" if findings.unwanted(one) or findings.loses(one) else ""),
        MOVES[one.expected],
        f"{one.n:,}" if one.readable == one.n else f"{one.readable:,} of {one.n:,}",
        "-" if one.flip_rate.value is None else f"{100 * one.flip_rate.value:.1f}{_between(one.flip_rate.ci95)}",
        findings.moves(one),
        f"{100 * one.accuracy_before:.1f} to {100 * one.accuracy_after:.1f}",
        f"{100 * (change.value or 0):+.1f}{_between(change.ci95)}",
        f"{one.invalid_before:,} to {one.invalid_after:,}",
    ]


def _between(ends: list[float] | None) -> str:
    return "" if ends is None else f" [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"
