"""`mtrl export RUN --out DIR`: a Hugging Face folder that vLLM loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtrl.commands import options


def command(
    run: Annotated[str, typer.Argument(help="A run's name or folder.")],
    out: Annotated[Path, typer.Option(help="The folder to write. It must not exist yet.")],
    step: Annotated[str, typer.Option(help="The step: a number, last, or best (by validation accuracy).")] = "last",
    unfinished: options.Unfinished = False,
    runs: options.Runs = options.RUNS,
) -> None:
    """Write a run's checkpoint as a folder that vLLM loads.

    mtrl.json, the tasks and the prompts of the judge are next to the weights."""
    from mtrl.config import samples
    from mtrl.core import hints, rundir
    from mtrl.core.console import say, then
    from mtrl.evaluate.judges import subject
    from mtrl.runs.export import export

    found = rundir.find(run, runs)
    card = export(found, step, out, unfinished)
    rewritten = " (rewritten to the hub's layout)" if card["experts"] == "transposed" else ""
    say(f"{out}: step {card['step']} of run {card['run']}, experts: {card['experts']}{rewritten}")
    if (state := found.status.state) != "done":
        say(f"the run is not done (it is {state}): step {card['step']} is not its final result")
    if (chosen := found.selected) and (best := chosen.best) != card["step"]:
        other = hints.line("export", run, step="best", out=hints.free(str(out.parent), out.name, f"-step-{best}"))
        say(f"mtrl select chose step {best} of this run. This exports it: {hints.carried(other)}")
    data = found.data or options.DATA
    there = [task for task in subject(str(out)).default_tasks if samples.path_of(data, task, "test").exists()]
    some = None if there == subject(str(out)).default_tasks else ",".join(there) or None
    then(hints.line("eval", ckpt=out, tasks=some, data=data))
