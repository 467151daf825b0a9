"""`mtrl export RUN --to DIR`: a Hugging Face folder that vLLM loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtrl.commands import options


def command(
    run: Annotated[str, typer.Argument(help="A run's name or folder.")],
    to: Annotated[Path, typer.Option(help="The folder to write; must not exist.")],
    step: Annotated[str, typer.Option(help="A step's number, last, or best (by validation accuracy).")] = "last",
    unfinished: options.Unfinished = False,
    runs: options.Runs = options.RUNS,
) -> None:
    """Write a run's checkpoint as a folder that vLLM loads, with mtrl.json beside the weights."""
    from mtrl import rundir
    from mtrl.checkpoints import SELECTED, export
    from mtrl.commands.show import say
    from mtrl.files import read_json

    found = rundir.find(run, runs)
    card = export(found, step, to, unfinished)
    rewritten = " (rewritten to the hub's layout)" if card["experts"] == "transposed" else ""
    say(
        f"{to}: step {card['step']} of run {card['run']}, experts: {card['experts']}{rewritten}. next: mtrl eval --ckpt {to}"
    )
    if (chosen := found.path / SELECTED).exists() and (best := read_json(chosen)["best"]) != card["step"]:
        say(f"mtrl select chose step {best} of this run: --step best exports it")
