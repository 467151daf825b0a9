"""`mtrl status [RUN]`: runs and their progress, from the trainers' own logs."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from mtrl.commands import options


def command(
    run: Annotated[str | None, typer.Argument(help="One run's name or folder; default: all.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Look again every two seconds until the run ends.")] = False,
    runs: options.Runs = options.RUNS,
) -> None:
    """Show runs: state, step, loss or reward, accuracy on val (of tokens, of verdicts), checkpoints."""
    from mtrl.core import hints, rundir
    from mtrl.core.console import say, table, then

    while True:
        chosen = [rundir.find(run, runs)] if run else rundir.listing(runs)
        if not chosen:
            then(hints.line("tasks"), f"no runs in {runs}/")
            return
        table("", COLUMNS, map(_row, chosen))
        if run:
            _health(chosen[0])
        for found in chosen:
            if found.status.reason:
                say(f"{found.name}: {found.status.reason}")
        if not follow or all(found.status.state != "running" for found in chosen):
            return
        time.sleep(2)


COLUMNS = ["run", "state", "step", "loss", "reward", "token accuracy", "verdict accuracy", "checkpoints"]


def _row(run: Any) -> list[str]:
    from mtrl.backends import checkpoint_folders
    from mtrl.runs.validation import shown

    rows = run.metrics

    def last(key: str) -> str:
        value = next((row[key] for row in reversed(rows) if row.get(key) is not None), None)
        return "" if value is None else f"{value:.4g}"

    total = next((row["total_steps"] for row in reversed(rows) if row.get("total_steps")), "?")
    step = f"{rows[-1]['step']}/{total}" if rows else ""
    kept = ", ".join(map(str, checkpoint_folders.steps(run)))
    state = run.status.state
    return [run.name, state, step, last("loss"), last("reward"), *shown(run).values(), kept]


HEALTH = ("accuracy", "format", "invalid", "yes_rate", "zero_variance", "length")


def _health(run: Any) -> None:
    """What the last logged step of an RL run says by task. Prompts without variance in their rewards teach nothing."""
    from mtrl.core.console import table

    logged = run.metrics
    rows = []
    for task in run.recipe["tasks"]:
        last = next((row for row in reversed(logged) if f"invalid_{task}" in row), None)
        if last:
            rows.append(
                [
                    task,
                    last["step"],
                    *(f"{last[f'{key}_{task}']:.3g}" if f"{key}_{task}" in last else "" for key in HEALTH),
                ]
            )
    if rows:
        columns = ["task", "step", "accuracy", "format", "invalid", "first choice", "no variance", "tokens"]
        table("health of the last batch, by task", columns, rows)
