"""The trainers' own logs: rows merged by step, what they say of the sampler, and logs of earlier attempts kept.

EasyR1 and verl empty their log at each start, so the log of each earlier attempt is moved to attempts/<n>/ first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from mtrl.core.rundir import Run

CORRELATION, PROBABILITY, LOG_PROBABILITY = (
    f"sampler/{name}" for name in ("correlation", "probability_difference", "log_probability_difference")
)


class Gap(NamedTuple):
    """How far apart the sampler (vLLM) and the trainer are on the sampled tokens of one step, which both score with the
    same weights. None: not logged by this trainer.
    """

    step: int
    correlation: float | None
    """Pearson's, of the two probabilities."""
    probability: float | None
    """Mean absolute difference of the two probabilities."""
    log_probability: float | None
    """Mean absolute difference of the two log-probabilities, in nats."""


def gap(rows: list[dict[str, Any]]) -> Gap | None:
    """The gap of the last step that has one."""
    for row in reversed(rows):
        logged = [row.get(key) for key in (CORRELATION, PROBABILITY, LOG_PROBABILITY)]
        numbers = [value if value is not None and math.isfinite(value) else None for value in logged]
        if any(number is not None for number in numbers):
            return Gap(row["step"], *numbers)
    return None


def by_step(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Log lines merged by their step, in order. Later lines add to earlier ones of the same step."""
    merged: dict[int, dict[str, Any]] = {}
    for row in rows:
        if "step" in row:
            merged.setdefault(int(row["step"]), {}).update({k: v for k, v in row.items() if v is not None})
    return [merged[step] for step in sorted(merged)]


def attempts(run: Run, log: Path) -> list[Path]:
    """The log of every attempt, the present one last."""
    return [*sorted((run.path / "attempts").glob(f"*/{log.name}")), log]


def keep_attempt(run: Run, log: Path, *more: Path) -> None:
    """Moves `log`, and the files that go with it, to attempts/<n>/. Does nothing where there is no log."""
    if not log.exists():
        return
    number = 1 + len(list((run.path / "attempts").glob("*")))
    folder = run.path / "attempts" / f"{number:03}"
    folder.mkdir(parents=True)
    for file in (log, *more):
        if file.exists():
            file.rename(folder / file.name)
