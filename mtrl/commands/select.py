"""`mtrl select RUN`: the best checkpoint by its verdicts on the validation split."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mtrl.commands import options


def command(
    run: Annotated[str, typer.Argument(help="A run's name or folder.")],
    by: Annotated[
        Literal["accuracy", "macro_f1"], typer.Option(help="The score of the verdicts, a mean over the run's tasks.")
    ] = "accuracy",
    data: options.Data = options.DATA,
    unfinished: options.Unfinished = False,
    runs: options.Runs = options.RUNS,
) -> None:
    """Score a run's checkpoints on val, and choose the best.

    mtrl export RUN --step best then exports it."""
    from mtrl.core import hints, rundir
    from mtrl.core.console import say, table, then
    from mtrl.runs import validation
    from mtrl.runs.select import select
    from mtrl.runs.steps import best_of, trainers_scores

    found = rundir.find(run, runs)
    chosen = select(found, data, by, say, unfinished)
    scores = {int(step): score for step, score in chosen.scores.items()}
    own = validation.name(str(found.recipe["method"]))
    theirs = {step: score for step, score in trainers_scores(found.metrics).items() if step in scores}
    rows = [
        [
            f"{step} (best)" if step == chosen.best else step,
            f"{100 * score:.2f}",
            f"{100 * theirs[step]:.2f}" if step in theirs else "",
        ]
        for step, score in scores.items()
    ]
    table(f"{found.name} on val (per cent)", ["step", f"{by} of verdicts", f"the trainer's own {own}"], rows)
    if theirs and best_of(theirs) != chosen.best:
        say(f"by the trainer's own {own} it would be step {best_of(theirs)}")
    then(hints.line("export", found.name, step="best", out=hints.free("exports", found.name, f"-step-{chosen.best}")))
