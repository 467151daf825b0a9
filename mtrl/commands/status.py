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
    """Show runs: state, step, loss or reward, validation accuracy, checkpoints."""
    from mtrl import rundir
    from mtrl.commands.show import say, table

    while True:
        chosen = [rundir.find(run, runs)] if run else rundir.listing(runs)
        if not chosen:
            say(f"no runs in {runs}/. next: mtrl sft recipes/sft_unified.yaml")
            return
        table("", ["run", "state", "step", "loss", "reward", "val accuracy", "checkpoints"], map(_row, chosen))
        for found in chosen:
            if found.status.get("reason"):
                say(f"{found.name}: {found.status['reason']}")
        if not follow or all(found.status.get("state") != "running" for found in chosen):
            return
        time.sleep(2)


def _row(run: Any) -> list[str]:
    from mtrl.files import read_jsonl
    from mtrl.launch import backend

    rows = read_jsonl(run.path / "metrics.jsonl")

    def last(key: str) -> str:
        value = next((row[key] for row in reversed(rows) if row.get(key) is not None), None)
        return "" if value is None else f"{value:.4g}"

    total = next((row["total_steps"] for row in reversed(rows) if row.get("total_steps")), "?")
    step = f"{rows[-1]['step']}/{total}" if rows else ""
    kept = ", ".join(map(str, backend.steps(run)))
    return [run.name, run.status.get("state", "?"), step, last("loss"), last("reward"), last("eval_accuracy"), kept]
