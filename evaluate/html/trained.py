"""A training run as its page shows it. mtrl.runs.curves fills it in; training.py draws it.

All text may come from somebody else's run folder: the page escapes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from mtrl.core.run_files import State
from mtrl.evaluate.html.points import Point

Group = Literal["Validation", "Rollouts", "Optimization"]
Unit = Literal["per cent", "tokens", "nats", ""]


class Curve(NamedTuple):
    """A quantity over the steps, under a name that no other quantity has."""

    title: str
    group: Group
    unit: Unit
    """Of a curve in per cent, the values are fractions."""
    meaning: str
    """What it is of and how it was measured."""
    from_zero: bool = False
    """Whether its axis begins at 0."""
    exact: bool = False
    """Whether no mean is drawn: the values have no noise, or are few."""
    bounded: bool = False
    """Whether values are from 0 to 1, as those in per cent are: the axis does not go beyond."""


class Values(NamedTuple):
    """The values of one curve."""

    curve: Curve
    task: str
    """Empty for all tasks together."""
    points: list[Point]
    """In order of the steps. A value may be NaN or infinite."""


class Chosen(NamedTuple):
    """The checkpoint that `mtrl export --step best` takes."""

    step: int
    score: float
    name: str
    """What the score is."""
    by: str
    """Who measured it."""
    export: str
    """The command that takes it."""


@dataclass(frozen=True)
class Trained:
    """One run."""

    name: str
    state: State
    reason: str
    """Why it failed, was interrupted or ended early."""
    step: int | None
    """The last one that was logged; None where there is none yet."""
    total: int | None
    seconds: float
    facts: dict[str, str]
    tasks: list[str]
    values: list[Values]
    absent: list[str]
    """What is not logged, with what would change that."""
    chosen: Chosen | None
    unchosen: str
    """Why no checkpoint is chosen; empty where one is."""
    warnings: list[str]
    """What `mtrl status` warns of; each names the run."""

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "interrupted")
