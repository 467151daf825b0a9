"""What each change does to a judge's verdicts: flips, their direction, accuracy; and whether the judge looks at all.

A flip is another verdict than on the unchanged row. An answer that can no longer be read after the change is no flip,
and is counted by itself. Both are shares of the rows whose unchanged version has a readable answer. The verdict on a
swapped pair is translated to the given order before it is compared. On a scale, a difference of up to NEAR of its range
is no flip; where the image is gone, any difference is one.

Two changes take the image away: a grey image (`blank`), and the image of another row with another label (`other`).
A judge is called blind if each of the two flips fewer than FEW of its verdicts or makes them unreadable, by the upper
end of a 95% interval. A judge that always says the same is blind too. It looks if one of the two flips more than FEW,
by the lower end. Otherwise it is unknown. Rows that exchange images for `other` are one cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import NonNegativeInt, PositiveInt

from mtrl.config import task_files
from mtrl.config.kinds import INVALID, OTHER
from mtrl.config.samples import SplitName
from mtrl.core.errors import UserError
from mtrl.core.files import write_json
from mtrl.core.schema import Stored
from mtrl.evaluate.identity import Identity
from mtrl.evaluate.metrics import intervals, shares
from mtrl.evaluate.metrics.intervals import Estimate
from mtrl.evaluate.metrics.prediction import Fraction, Prediction
from mtrl.evaluate.predictions import Evaluation
from mtrl.evaluate.probing import perturbations
from mtrl.evaluate.probing.perturbations import Expected
from mtrl.reward_plugins import judge

FILE = "probe.json"
FEW = 0.05  # of the verdicts; ours
NEAR = 0.1  # of a scale: of 1 to 5 every step is a flip, of 0 to 100 one of 11; ours
Looks = Literal["blind", "looks", "unknown"]


class Effect(Stored):
    """One perturbation at one level, on one task."""

    variant: str
    """As in predictions.jsonl."""
    perturbation: str
    level: str
    """In words."""
    expected: Expected
    """Whether the verdict should move, see perturbations.py."""
    n: PositiveInt
    """Rows that were changed and asked."""
    readable: NonNegativeInt
    """Those of the n rows whose unchanged version has a readable answer. The rates are shares of these."""
    clusters: NonNegativeInt
    """Number of clusters of the readable rows; for `other`, rows that exchange images are one."""
    flips: NonNegativeInt
    flip_rate: Estimate
    """Intervals of rates are by clusters; no value where no answer can be read."""
    moves: dict[str, int]
    """Flips by direction, the most frequent first: "yes to no", on a scale "higher" and "lower"."""
    room: NonNegativeInt
    """The most points of a scale that are no flip; 0 for other verdicts, and where the image is gone."""
    mean_move: float | None
    """Mean distance in points of a scale, over rows with two readable verdicts; None for verdicts that are no scale."""
    unreadable: NonNegativeInt
    """Readable rows whose answer can no longer be read after the change."""
    unreadable_rate: Estimate
    accuracy_before: Fraction
    """Of the n rows, unchanged."""
    accuracy_after: Fraction
    """Of the n rows, changed, against what is right after the change; where the image is gone, the label as before."""
    accuracy_change: Estimate
    """After less before, with a paired interval."""
    invalid_before: NonNegativeInt
    invalid_after: NonNegativeInt


class TaskProbe(Stored):
    """One task."""

    split: SplitName
    """The split that its rows are drawn from."""
    rows: PositiveInt
    looks: Looks
    constant: str | None
    """The verdict that the judge gives to every unchanged row; None where it gives several."""
    left_out: dict[str, str]
    """Perturbations that do not fit the task, and why."""
    effects: list[Effect]
    unchanged: dict[str, list[str]]
    """By variant, the ids of the rows that it does not change, which were not asked. A variant that changes no row is
    not in `effects`."""


class Pair(NamedTuple):
    """The answers to a row, as it is and changed."""

    before: Prediction
    after: Prediction
    scale: bool = False
    """Whether verdicts are numbers."""
    room: int = 0
    """The most points of a scale that are no flip."""

    @property
    def verdicts(self) -> tuple[str, str]:
        """Both, the second as of the order of the first."""
        said = self.after.verdict or INVALID
        if self.after.order != self.before.order:
            said = OTHER.get(said, said)
        return self.before.verdict or INVALID, said

    @property
    def cluster(self) -> str:
        """Of the change: pairs with the same one are not independent."""
        return self.after.unit

    @property
    def distance(self) -> int | None:
        """In points of a scale; None for other verdicts, and where one cannot be read."""
        before, after = self.verdicts
        return abs(int(before) - int(after)) if self.scale and INVALID not in (before, after) else None

    @property
    def flipped(self) -> bool:
        before, after = self.verdicts
        if INVALID in (before, after):
            return False
        return (self.distance or 0) > self.room if self.scale else before != after

    @property
    def lost(self) -> bool:
        """Whether its answer can no longer be read."""
        return self.before.verdict is not None and self.after.verdict is None

    @property
    def direction(self) -> str:
        """Of a flip."""
        before, after = self.verdicts
        if self.scale:
            return "higher" if int(after) > int(before) else "lower"
        return f"{before} to {after}"


def pairs(run: Evaluation, task: str) -> dict[str, list[Pair]]:
    """By variant, in the order of perturbations.ALL. Raises UserError where the probe is not finished."""
    rows = [row for row in run.rows if row.task == task]
    if len(rows) != (wanted := run.identity.tasks[task].requests):
        what = f"{len(rows):,} of {wanted:,} requests on task {task} are answered"
        raise UserError(f"the probe is not finished: {what}", "run the same mtrl probe again: it continues")
    plain = {row.id: row for row in rows if not row.variant}
    choices = run.identity.tasks[task].choices
    scale = judge.is_scale(choices)
    near = int(NEAR * (int(choices[-1]) - int(choices[0]))) if scale else 0
    found: dict[str, list[Pair]] = {variant: [] for variant in perturbations.LEVELS}
    for row in rows:
        if row.variant in found:
            gone = perturbations.LEVELS[row.variant][0].expected == "look"
            found[row.variant].append(Pair(plain[row.id], row, scale, 0 if gone else near))
    return {variant: its for variant, its in found.items() if its}


def of_task(run: Evaluation, name: str, left_out: dict[str, str], unchanged: dict[str, list[str]]) -> TaskProbe:
    """`left_out` and `unchanged` are the Plan's. Raises UserError where the probe is not finished."""
    task = task_files.load(name, run.home)
    effects, by_variant = [], pairs(run, name)
    for variant, found in by_variant.items():
        of, level = perturbations.LEVELS[variant]
        effects.append(_effect(variant, of.name, of.levels[level], of.expected_of(task), found))
    plain = [row.verdict or INVALID for row in run.rows if row.task == name and not row.variant]
    constant = plain[0] if len(set(plain)) == 1 else None
    return TaskProbe(
        split=run.identity.tasks[name].split,
        rows=len(plain),
        looks=_looks(by_variant),
        constant=constant,
        left_out=left_out,
        effects=effects,
        unchanged=unchanged,
    )


def write(folder: Path, identity: Identity, found: dict[str, TaskProbe]) -> Path:
    """Writes `folder`/probe.json, the last of the probe's files."""
    assert identity.probe
    about = {
        "schema": 1,
        "judge": {"name": identity.name, "path": identity.path, "checkpoint": identity.checkpoint},
        "style": identity.style,
        **identity.probe.model_dump(),
        "tasks": {name: task.model_dump() for name, task in found.items()},
    }
    write_json(folder / FILE, about)
    return folder / FILE


def _effect(variant: str, name: str, level: str, expected: Expected, found: Sequence[Pair]) -> Effect:
    import numpy as np

    readable = [pair for pair in found if pair.before.verdict]
    flipped = [pair for pair in readable if pair.flipped]
    distances = [pair.distance for pair in readable if pair.distance is not None]
    before, after = (
        np.array([side.correct for side in sides], dtype=float)
        for sides in zip(*(pair[:2] for pair in found), strict=True)
    )
    return Effect(
        variant=variant,
        perturbation=name,
        level=level,
        expected=expected,
        n=len(found),
        readable=len(readable),
        clusters=len({pair.cluster for pair in readable}),
        flips=len(flipped),
        flip_rate=_rate(readable, [pair.flipped for pair in readable]),
        moves=dict(Counter(pair.direction for pair in flipped).most_common()),
        room=found[0].room,
        mean_move=sum(distances) / len(distances) if distances else None,
        unreadable=sum(pair.lost for pair in found),
        unreadable_rate=_rate(readable, [pair.lost for pair in readable]),
        accuracy_before=float(before.mean()),
        accuracy_after=float(after.mean()),
        accuracy_change=_change(after - before, [pair.cluster for pair in found]),
        invalid_before=sum(pair.before.verdict is None for pair in found),
        invalid_after=sum(pair.after.verdict is None for pair in found),
    )


def _rate(found: Sequence[Pair], hits: Sequence[bool]) -> Estimate:
    if not found:
        return Estimate(value=None, ci95=None)
    return Estimate(value=sum(hits) / len(hits), ci95=shares.interval(hits, [pair.cluster for pair in found]))


def _change(change: Any, clusters: Sequence[str]) -> Estimate:
    """The mean of numbers -1, 0 and 1. Where all are 0, a bootstrap has no width: then the interval is as far from 0 as
    the share of other numbers may be."""
    if not change.any():
        ends = shares.interval([False] * len(clusters), clusters)
        return Estimate(value=0.0, ci95=ends and [-ends[1], ends[1]])
    drawn = intervals.of_weights(lambda weights: weights @ change / weights.sum(axis=-1), clusters)
    return intervals.estimate(float(change.mean()), drawn)


def _looks(by_variant: Mapping[str, Sequence[Pair]]) -> Looks:
    names = [variant for variant, (one, _) in perturbations.LEVELS.items() if one.expected == "look"]
    readable = [[pair for pair in by_variant.get(name, ()) if pair.before.verdict] for name in names]
    flips = [_rate(found, [pair.flipped for pair in found]).ci95 for found in readable]
    if any(ends and ends[0] > FEW for ends in flips):
        return "looks"
    moves = [_rate(found, [pair.flipped or pair.lost for pair in found]).ci95 for found in readable]
    return "blind" if all(ends and ends[1] < FEW for ends in moves) else "unknown"
