"""`mtrl status [RUN]`: runs and their progress, from the trainers' own logs."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from mtrl.commands import options


def command(
    run: Annotated[str | None, typer.Argument(help="A run's name or folder. Default: all runs.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Print again every two seconds until the run ends.")] = False,
    runs: options.Runs = options.RUNS,
) -> None:
    """Show runs: state, step, loss, reward, accuracy, checkpoints."""
    from mtrl.core import hints, rundir
    from mtrl.core.console import check, say, table, then
    from mtrl.runs import latest, sampler_gap, validation

    while True:
        chosen = [rundir.find(run, runs)] if run else rundir.listing(runs)
        if not chosen:
            then(hints.line("tasks"), f"no runs in {runs}/")
            return
        table("", latest.COLUMNS, map(latest.summary, chosen))
        if run and (rows := latest.per_task(chosen[0])):
            table("the last batch, per task", ["task", "step", *latest.PER_TASK.values()], rows)
        for found in chosen:
            if found.status.reason:
                say(f"{found.name}: {found.status.reason}")
            if (gap := sampler_gap.check(found)) and (run or gap.level != "ok"):
                check(*gap)
            if fall := validation.opposed(found):
                check(*fall)
        if not follow or all(found.status.state != "running" for found in chosen):
            return
        time.sleep(2)
