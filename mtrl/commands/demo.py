"""`mtrl demo`: every stage on this machine's CPU, with the real upstream tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    full: Annotated[bool, typer.Option("--full", help="Train all five rows of Table 2. Default: three.")] = False,
    out: Annotated[Path, typer.Option(help="The demo's folder.")] = Path("runs/demo"),
) -> None:
    """Run every stage on this machine's CPU: a tiny model on generated data.

    Convert, train by SFT and GRPO, score with vLLM, print the tables."""
    from mtrl.demo.walkthrough import run

    run(out, full)
