"""`mtrl demo`: the whole way on this machine's CPU, with real upstream tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    full: Annotated[bool, typer.Option("--full", help="All five rows of Table 2; default: three.")] = False,
    out: Annotated[Path, typer.Option(help="Where the demo lives.")] = Path("runs/demo"),
) -> None:
    """Convert, train by SFT and GRPO, score with vLLM and print the tables, with a tiny model and synthetic data."""
    from mtrl.demo.walkthrough import run

    run(out, full)
