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
        typer.Option(
            help="Tasks, comma-separated. Default: Table 2's, or those that the judge was trained on; Table 3's for"
            " --pairs-from-scores."
        ),
    ] = None,
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="The split to score on.")] = "test",
    style: options.Style = None,
    votes: Annotated[
        int, typer.Option(min=1, help="Answers per item, sampled at temperature 1. The majority counts.")
    ] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="The first N samples of each task.")] = None,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Record the probability of each verdict, from log-probabilities.")
    ] = False,
    pairs_from_scores: Annotated[
        bool,
        typer.Option(
            "--pairs-from-scores",
            help="Ask a pointwise task about each image of a pair, and compare the two confidences.",
        ),
    ] = False,
    tensor_parallel: options.TensorParallel = 1,
    replicas: options.Replicas = None,
    ray_address: options.RayAddress = None,
    out: Annotated[
        Path | None, options.answers_folder("eval", "; with --pairs-from-scores the name ends in -from-scores")
    ] = None,
    prompts: options.Prompts = "export",
    data: options.Data = options.DATA,
    runs: options.Runs = options.RUNS,
) -> None:
    """Score a judge on converted tasks, with vLLM or over an endpoint.

    The same command again continues: it asks only what is not answered yet."""
    from mtrl.commands import outcome
    from mtrl.config.published import table_tasks
    from mtrl.core import hints
    from mtrl.core.console import bar, say, then
    from mtrl.evaluate import judges, predictions
    from mtrl.evaluate.loading import Loader
    from mtrl.evaluate.run import evaluate

    judge = judges.named(ckpt, endpoint, served_model, style, prompts)
    folder = out or runs / judges.evaluation_folder(ckpt, served_model, pairs_from_scores)
    engine = Loader(endpoint, tensor_parallel, replicas, ray_address, data, folder / "log.txt")
    usual = table_tasks(3) if pairs_from_scores else judge.default_tasks
    names = options.names("--tasks", tasks, usual)
    say(f"{judge.checkpoint}: method {judge.method}, style {judge.style}, by {judge.told_by}")
    if not tasks and not pairs_from_scores and names == list(judge.trained):
        say(f"scored on the tasks that {judge.name} was trained on: {', '.join(names)}. Pass --tasks A,B for others")
    asked = [judge.pointwise_of(judge.task(name)).name for name in names] if pairs_from_scores else names
    for line in judge.remarks(dict.fromkeys(asked)):
        say(line)
    with bar(f"eval {folder}") as update:
        scores = evaluate(
            judge, names, data, split, folder, votes, limit, engine, update, confidence, pairs_from_scores
        )
    outcome.show(folder, scores, predictions.FILE)
    outcome.report(folder, data)
    if folder.resolve().is_relative_to(runs.resolve()) and (split, votes, limit) == ("test", 1, None):
        then(hints.line("tables", runs=runs, data=data))  # which shows it
