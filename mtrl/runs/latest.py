"""The last numbers that a run logged, as text for `mtrl status`."""

from __future__ import annotations

from typing import Any

from mtrl.backends import checkpoint_folders
from mtrl.core.rundir import Run
from mtrl.runs.validation import shown

COLUMNS = ("run", "state", "step", "loss", "reward", "token accuracy", "verdict accuracy", "checkpoints")
PER_TASK = {  # key of metrics.jsonl -> column: of the last batch of an RL run
    "accuracy": "accuracy",
    "format": "format",
    "invalid": "invalid",
    "yes_rate": "first choice",
    "zero_variance": "no variance",  # the share of prompts whose answers all have the same reward: they teach nothing
    "length": "tokens",
}


def summary(run: Run) -> list[str]:
    """The run's cells of COLUMNS."""
    rows = run.metrics
    step = f"{rows[-1]['step']}/{_last(rows, 'total_steps') or '?'}" if rows else ""
    numbers = [_last(rows, key) for key in ("loss", "reward")]
    kept = ", ".join(map(str, checkpoint_folders.steps(run)))
    texts = ("" if number is None else f"{number:.4g}" for number in numbers)
    return [run.name, run.status.state, step, *texts, *shown(run).values(), kept]


def per_task(run: Run) -> list[list[str]]:
    """[task, step, the cells of PER_TASK] of each task that an RL run logged."""
    rows = run.metrics
    found = []
    for task in run.recipe["tasks"]:
        if last := next((row for row in reversed(rows) if f"invalid_{task}" in row), None):
            numbers = [last.get(f"{key}_{task}") for key in PER_TASK]
            found.append([task, str(last["step"]), *("" if n is None else f"{n:.3g}" for n in numbers)])
    return found


def _last(rows: list[dict[str, Any]], key: str) -> Any:
    return next((row[key] for row in reversed(rows) if row.get(key) is not None), None)
