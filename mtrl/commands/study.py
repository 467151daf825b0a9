"""`mtrl study`: SFT and RL on an unseen format, with the plan of recipes/study.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    plan: Annotated[str, typer.Option(help="The plan: a name in recipes/, or the path of a YAML.")] = "study",
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path("runs/study"),
    jobs: Annotated[int | None, typer.Option(min=1, help="Commands at a time. Default: one per processor.")] = None,
) -> None:
    """Compare SFT and RL on an unseen format: base models, five arms, several seeds (docs/study.md).

    Some hours on two processor cores. The same command again continues."""
    import os

    from mtrl.demo import study, study_plan

    chosen = study_plan.load(plan)
    study.run(out, chosen, jobs or len(os.sched_getaffinity(0)), chosen.command(out, jobs))
