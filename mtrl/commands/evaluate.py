"""`mtrl eval --ckpt PATH`, or `--endpoint URL --served-model NAME`: verdicts, metrics and a report; `mtrl score FILE`: metrics again, nothing generated."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mtrl.commands import options

if TYPE_CHECKING:
    from mtrl.evaluate.engines.base import Engine
    from mtrl.evaluate.scores import Scores
    from mtrl.evaluate.subject import Subject


def command(
    ckpt: options.Checkpoint = None,
    endpoint: options.Endpoint = None,
    served_model: options.ServedModel = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Tasks, by commas; default: Table 2's, or those that the judge was trained on (see docs)."),
    ] = None,
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="Which split.")] = "test",
    style: Annotated[
        Literal["sft", "rl"] | None, typer.Option(help="Prompt style; default: the one it was trained with.")
    ] = None,
    votes: Annotated[int, typer.Option(min=1, help="Answers an item, sampled at temperature 1, majority taken.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many samples of each task.")] = None,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Record how sure each verdict was (log-probabilities).")
    ] = False,
    tensor_parallel: Annotated[int, typer.Option(min=1, help="GPUs that share one copy of the model.")] = 1,
    replicas: Annotated[int | None, typer.Option(min=1, help="Copies of the model, side by side on Ray.")] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="HOST:PORT of a Ray cluster; default: replicas on this machine.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Default: runs/<name>/eval, or runs/eval-<folder> for a foreign model.")
    ] = None,
    prompts: options.Prompts = "export",
    data: options.Data = options.DATA,
    runs: options.Runs = options.RUNS,
) -> None:
    """Score a judge with vLLM or over an endpoint. Started again, it asks only what is not answered yet."""
    from mtrl.core import hints
    from mtrl.core.console import bar, say, then
    from mtrl.core.errors import UserError
    from mtrl.evaluate.run import evaluate

    if ray_address and not replicas:
        raise UserError(
            "--ray-address is for replicas", "--replicas N: how many copies of the model the cluster is to hold"
        )
    if endpoint and (replicas or tensor_parallel > 1):
        raise UserError(
            "--replicas and --tensor-parallel are of vLLM offline", "an endpoint has its own: leave them out"
        )
    judge = judge_of(ckpt, endpoint, served_model, style, prompts)
    names = [name.strip() for name in tasks.split(",")] if tasks else judge.default_tasks
    folder = out or runs / _folder(ckpt, served_model)
    say(f"{judge.checkpoint}: method {judge.method}, style {judge.style}, by {judge.told_by}")
    if not tasks and names == list(judge.trained):
        say(f"scored on what {judge.name} was trained on: {', '.join(names)}. Pass --tasks A,B to score others")
    for line in judge.remarks(names):
        say(line)
    engine = engine_maker(endpoint, tensor_parallel, replicas, ray_address, data, folder / "log.txt")
    with bar(f"eval {folder}") as update:
        result = evaluate(judge, names, data, split, folder, votes, limit, engine, update, confidence)
    _show(folder, result)
    _say_rejected(folder)
    _report(folder, data)
    if folder.resolve().is_relative_to(runs.resolve()) and (split, votes, limit) == ("test", 1, None):
        then(hints.line("tables", runs=runs, data=data))  # which shows it


def judge_of(
    ckpt: str | None,
    endpoint: str | None,
    model: str | None,
    style: Literal["sft", "rl"] | None,
    prompts: str = "export",
) -> Subject:
    """The judge that --ckpt, --endpoint and --served-model name. Raises UserError where they do not go together."""
    from mtrl.core.errors import UserError
    from mtrl.evaluate.subject import served, subject

    if endpoint and model:
        return served(model, ckpt, style, prompts)
    if endpoint:
        raise UserError(
            "--endpoint needs --served-model, the name it is served under", f"curl {endpoint}/models lists them"
        )
    if model:
        raise UserError(
            "--served-model names what an endpoint serves", "add --endpoint URL, or name a folder by --ckpt"
        )
    if not ckpt:
        raise UserError("which judge?", "--ckpt PATH, or --endpoint URL --served-model NAME")
    return subject(ckpt, style, prompts)


def engine_maker(
    endpoint: str | None,
    tensor_parallel: int = 1,
    replicas: int | None = None,
    ray_address: str | None = None,
    data: Path = Path("data"),
    log: Path | None = None,
) -> Callable[[Subject, int], Engine]:
    """What makes the engine, from the judge and the most images a request has, once there is something to ask.

    What vLLM prints while it loads goes to `log`.
    """
    from mtrl.core.console import bar, say

    def make(judge: Subject, images: int) -> Engine:
        if endpoint:
            from mtrl.evaluate.engines.endpoint import EndpointEngine

            say(f"asking {judge.checkpoint} at {endpoint}")
            return EndpointEngine(endpoint, judge.checkpoint, judge.style, judge.image.model_dump(), judge.side, say)
        with bar(f"checking {judge.checkpoint} (MB)") as update:
            judge.check(update)
        say("loading vLLM")
        size = {"min_pixels": judge.image.min_pixels, "max_pixels": judge.image.max_pixels, "images": images}
        about: dict[str, Any] = {"checkpoint": judge.checkpoint, **size, "max_tokens": judge.max_new_tokens}
        if replicas:
            from mtrl.evaluate.engines.replicas import Replicas

            return Replicas(replicas, tensor_parallel, ray_address, data, say, **about)
        from mtrl.core.redirect import stderr_to
        from mtrl.evaluate.engines.offline import VllmEngine

        with stderr_to(log):
            engine = VllmEngine(**about, tensor_parallel=tensor_parallel)
        if engine.note:
            say(engine.note)
        return engine

    return make


def _folder(ckpt: str | None, model: str | None) -> Path:
    """Where an evaluation goes below runs/: the run's own folder, or eval-<name> with what a name may not hold as -."""
    from mtrl.core import rundir
    from mtrl.models import card

    if not model and ckpt and Path(ckpt).exists():
        if told := card.read(Path(ckpt)):
            return Path(told.run) / "eval"
        ckpt = os.path.abspath(ckpt)
    name = model or Path(str(ckpt)).name
    return Path(rundir.evaluation(name))


def _say_rejected(folder: Path) -> None:
    from mtrl.core.console import say
    from mtrl.evaluate import predictions

    reasons = [row.finish_reason for row in predictions.load(folder).rows]
    if rejected := [reason for reason in reasons if reason.startswith("rejected")]:
        say(
            f"{len(rejected)} of {len(reasons)} requests were not taken, and count as invalid; the first: {rejected[0]}"
        )


def score_command(
    file: Annotated[
        Path,
        typer.Argument(metavar="PREDICTIONS", help="A predictions file with its eval.json beside it, or the folder."),
    ],
    data: options.Data = options.DATA,
) -> None:
    """Read the responses again with today's parser and compute metrics and report again; nothing is generated."""
    from mtrl.core.console import say
    from mtrl.core.errors import UserError
    from mtrl.evaluate import predictions
    from mtrl.evaluate.rescore import reread
    from mtrl.evaluate.scores import score

    if not file.exists():
        raise UserError(f"there are no predictions in {file} yet", "score a judge first, by mtrl eval with --ckpt")
    folder, name = (file, predictions.FILE) if file.is_dir() else (file.parent, file.name)
    changed = reread(folder, name)
    say(
        f"{changed.answers:,} answers read again: {changed.verdict:,} verdicts changed"
        f" ({changed.lenient:,} of the lenient parse)"
    )
    _show(folder, score(folder, name), name)
    if name == predictions.FILE:
        _report(folder, data)


def _report(folder: Path, data: Path) -> None:
    from mtrl.core.console import bar, say
    from mtrl.evaluate.html import report

    with bar("thumbnails") as update:
        page = report.write(folder, data, update)
    say(f"report: {page}")


def _show(folder: Path, result: Scores, file: str = "predictions.jsonl") -> None:
    from mtrl.config.recipe_types import METHODS
    from mtrl.core.console import say, say_unread, table
    from mtrl.evaluate import predictions, unreadable
    from mtrl.evaluate.metrics.intervals import FEW

    rows = []
    for name, m in result.tasks.items():
        interval = " [{:.1f}, {:.1f}]".format(*(100 * bound for bound in m.macro_f1_ci95)) if m.macro_f1_ci95 else ""
        pair = m.pairwise
        rows.append(
            [name, m.n, *(["one class"] if m.one_class else [f"{100 * m.macro_f1:.2f}{interval}"]),
             f"{100 * m.accuracy:.2f}", f"{100 * m.invalid_rate:.2f}",
             "one class" if m.one_class else f"{100 * m.lenient.macro_f1:.2f}",
             f"{100 * pair.consistent_accuracy:.2f}" if pair else "", f"{100 * pair.first_position_rate:.2f}" if pair else ""]
        )  # fmt: skip
    columns = [
        "task",
        "n",
        "Macro-F1 [95%]",
        "accuracy",
        "invalid",
        "lenient F1",
        "right in both orders",
        "first chosen",
    ]
    name = result.judge.name if result.judge else result.checkpoint
    table(f"{name}: {METHODS[result.method]} (per cent)", columns, rows)
    for name, m in result.tasks.items():
        if m.one_class:
            say(
                f'{name}: every item of the {m.split} split has the label "{m.one_class}", so Macro-F1 says nothing;'
                " look at the accuracy, or convert with a label rule or a split that gives both"
            )
        if m.clusters < m.n:
            rough = "; so few make a rough interval" if m.clusters < FEW else ""
            say(
                f"{name}: rows share a caption, an image or a source; the interval resamples {m.clusters} clusters{rough}"
            )
        for verdict in m.confusion:
            if sum(row[verdict] for row in m.confusion.values()) == m.n:
                say(f"{name}: the judge answered {verdict} to all {m.n} rows: the score says nothing of what it sees")
    run = predictions.load(folder, file)
    say_unread(unreadable.of_evaluation(run.identity, run.rows))
    if not rows:
        say(f"no task in {folder} is complete yet. next: the same mtrl eval again")
