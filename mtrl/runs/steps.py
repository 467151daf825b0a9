"""The steps of a run that have a checkpoint: which is the last, which the best, and whether the run is done."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from mtrl.backends import checkpoint_folders
from mtrl.core import hints
from mtrl.core.errors import UserError
from mtrl.core.rundir import Run

UNDONE = {
    "running": "it is still running, and later checkpoints may be better",
    "failed": "it failed before its end",
    "interrupted": "it was interrupted before its end",
    "planned": "it was never started by mtrl",
}


class Step(NamedTuple):
    """A step and its checkpoint folder."""

    folder: Path
    number: int


def choose(run: Run, step: str) -> Step:
    """The checkpoint of `step`: a number, "last" or "best". Raises UserError with the steps that there are.

    Only checkpoint-N and global_step_N folders count: what LLaMA-Factory leaves next to them is its own best, by token
    accuracy.
    """
    steps = checkpoint_folders.steps(run)
    if step == "last" and steps:
        return Step(steps[max(steps)], max(steps))
    if step == "best" and steps:
        if (chosen := run.selected) and chosen.best in steps:
            return Step(steps[chosen.best], chosen.best)
        if str(run.recipe.get("method")).startswith("sft"):
            raise UserError(
                "the best step of an SFT run is not known: its eval_accuracy is of tokens, not of verdicts; mtrl select"
                " scores its steps by their verdicts",
                hints.line("select", run.name),
            )
        if kept := {number: score for number, score in trainers_scores(run.metrics).items() if number in steps}:
            return Step(steps[best_of(kept)], best_of(kept))
    if step.isdecimal() and int(step) in steps:
        return Step(steps[int(step)], int(step))
    there = ", ".join(map(str, steps)) or "none"
    raise UserError(
        f"run {run.name} has no checkpoint {step!r} (complete checkpoints: {there})", hints.line("status", run.name)
    )


def best_of(scores: dict[int, float]) -> int:
    """The step of the highest score; of equals, the later."""
    return max(scores, key=lambda number: (scores[number], number))


def trainers_scores(rows: Iterable[dict[str, Any]]) -> dict[int, float]:
    """The trainer's own validation accuracy by step, of a run's metrics: of verdicts in RL, of tokens in SFT."""
    return {row["step"]: row["eval_accuracy"] for row in rows if math.isfinite(row.get("eval_accuracy", math.nan))}


def require_done(run: Run, anyway: str) -> None:
    """Raises UserError if the run is not done. `anyway` is the command that uses its checkpoints all the same."""
    if (state := run.status.state) != "done":
        raise UserError(f"run {run.name} is not done: {UNDONE.get(state, state)}", anyway)
