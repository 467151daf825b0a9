"""`mtrl eval --ckpt PATH`, or `--endpoint URL --served-model NAME`: verdicts, metrics and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mtrl.commands import options


def command(
    ckpt: options.Checkpoint = None,
    endpoint: options.Endpoint = None,
    served_model: options.ServedModel = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Tasks, comma-separated. Default: Table 2's, or those that the judge was trained on."),
    ] = None,
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="The split to score on.")] = "test",
    style: Annotated[
        Literal["sft", "rl"] | None,
        typer.Option(help="Prompt style. Default: the one that the judge was trained with."),
    ] = None,
    votes: Annotated[
        int, typer.Option(min=1, help="Answers per item, sampled at temperature 1. The majority counts.")
    ] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="The first N samples of each task.")] = None,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Record the probability of each verdict, from log-probabilities.")
    ] = False,
    tensor_parallel: Annotated[int, typer.Option(min=1, help="GPUs per copy of the model.")] = 1,
    replicas: Annotated[int | None, typer.Option(min=1, help="Copies of the model, run in parallel on Ray.")] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="HOST:PORT of a Ray cluster. Default: Ray on this machine.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write. Default: runs/<run>/eval, or runs/eval-<name> for a model that mtrl did not train."
        ),
    ] = None,
    prompts: options.Prompts = "export",
    data: options.Data = options.DATA,
    runs: options.Runs = options.RUNS,
) -> None:
    """Score a judge on converted tasks, with vLLM or over an endpoint.

    The same command again continues: it asks only what is not answered yet."""
    from mtrl.commands import outcome
    from mtrl.core import hints
    from mtrl.core.console import bar, say, then
    from mtrl.evaluate import judges, predictions
    from mtrl.evaluate.loading import Loader
    from mtrl.evaluate.run import evaluate

    judge = judges.named(ckpt, endpoint, served_model, style, prompts)
    folder = out or runs / judges.evaluation_folder(ckpt, served_model)
    engine = Loader(endpoint, tensor_parallel, replicas, ray_address, data, folder / "log.txt")
    names = [name.strip() for name in tasks.split(",")] if tasks else judge.default_tasks
    say(f"{judge.checkpoint}: method {judge.method}, style {judge.style}, by {judge.told_by}")
    if not tasks and names == list(judge.trained):
        say(f"scored on the tasks that {judge.name} was trained on: {', '.join(names)}. Pass --tasks A,B for others")
    for line in judge.remarks(names):
        say(line)
    with bar(f"eval {folder}") as update:
        scores = evaluate(judge, names, data, split, folder, votes, limit, engine, update, confidence)
    outcome.show(folder, scores, predictions.FILE)
    outcome.report(folder, data)
    if folder.resolve().is_relative_to(runs.resolve()) and (split, votes, limit) == ("test", 1, None):
        then(hints.line("tables", runs=runs, data=data))  # which shows it
