"""`mtrl status [RUN ...]`: runs and their progress, from the trainers' own logs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from mtrl.commands import options


def command(
    run: Annotated[list[str] | None, typer.Argument(help="Names or folders of runs. Default: all runs.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Print again every two seconds until the runs end.")] = False,
    html: Annotated[
        bool, typer.Option("--html", help="Write the curves as a page: training.html of a run, or of several runs.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="The page; default: training.html in the run's folder, of several runs next to it."),
    ] = None,
    runs: options.Runs = options.RUNS,
) -> None:
    """Show runs: state, step, loss, reward, accuracy, checkpoints.

    mtrl status A B --html draws the curves of several runs on one page."""
    from mtrl.core import hints, rundir
    from mtrl.core.console import check, say, table, then
    from mtrl.core.errors import UserError
    from mtrl.runs import latest, sampler_gap, training_page, validation

    if out and not html:
        raise UserError("--out is the page that --html writes", hints.line("status", *(run or []), html=True, out=out))
    while True:
        chosen = [rundir.find(name, runs) for name in dict.fromkeys(run)] if run else rundir.listing(runs)
        if not chosen:
            then(hints.line("tasks"), f"no runs in {runs}/")
            return
        table("", latest.COLUMNS, map(latest.summary, chosen))
        for found in chosen if run else []:
            if rows := latest.per_task(found):
                of = f"{found.name}: " if len(chosen) > 1 else ""
                table(f"{of}the last batch, per task", ["task", "step", *latest.PER_TASK.values()], rows)
        for found in chosen:
            if found.status.reason:
                say(f"{found.name}: {found.status.reason}")
            if (gap := sampler_gap.check(found)) and (run or gap.level != "ok"):
                check(*gap)
            if fall := validation.opposed(found):
                check(*fall)
        if html:
            say(f"page: {training_page.write(chosen, out)}")
        if not follow or all(found.status.state != "running" for found in chosen):
            return
        time.sleep(2)
