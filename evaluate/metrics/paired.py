"""Two judges on the same items of one task: how far apart they are, and where they differ. Differences are B - A.

The interval is a paired bootstrap: every resample draws the same clusters for both, so what makes an item hard for
both cancels out in the difference.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from mtrl.config.kinds import INVALID
from mtrl.config.samples import Order
from mtrl.core.errors import UserError
from mtrl.evaluate.metrics.classification import (
    Classification,
    accuracy,
    classification,
    macro_f1,
    resampled,
    table,
)
from mtrl.evaluate.metrics.intervals import estimate
from mtrl.evaluate.metrics.prediction import Prediction, Voted, voted
from mtrl.evaluate.metrics.score import srcc, values_of
from mtrl.reward_plugins.judge import is_scale

Kind = Literal["only_a", "only_b", "both_wrong"]  # who is right
MACRO_F1, SRCC = "Macro-F1", "SRCC"


@dataclass(frozen=True)
class Difference:
    """B - A of one number, as a fraction."""

    difference: float
    ci95: list[float] | None
    """95% interval [low, high]; None where there is one cluster, or where too many resamples have no number."""


@dataclass(frozen=True)
class Headline:
    """The number by which two judges are compared."""

    name: str
    """SRCC of a score task, else Macro-F1."""
    a: float
    b: float
    between: Difference


@dataclass(frozen=True)
class Disagreement:
    """An item, in one order, to which the two gave different verdicts."""

    id: str
    order: Order
    kind: Kind
    """Who is right; both wrong are wrong in different ways."""
    label: str
    a: str | None
    """A's verdict; None where it is invalid."""
    b: str | None


@dataclass(frozen=True)
class Comparison:
    """One task. Counts and rates are of the items that both answered, in the given order."""

    n: int
    """Items that both answered."""
    clusters: int
    """Clusters of items that are not independent."""
    one_class: str | None
    """The label, where all items have the same one: Macro-F1 is meaningless then."""
    a: Classification
    b: Classification
    macro_f1: Difference
    accuracy: Difference
    both_right: int
    only_a: int
    """Items that only A has right."""
    only_b: int
    both_wrong: int
    mcnemar_p: float | None
    """McNemar's exact test of only_a against only_b, which takes items to be independent.

    None where items share clusters, or only_a and only_b are 0.
    """
    disagreements: list[Disagreement]
    """Where the verdicts differ, in both orders."""
    srcc: Headline | None = None
    """Of a score task, over the items to which both gave a valid verdict; None where one of the two has none."""

    @property
    def headline(self) -> Headline:
        return self.srcc or Headline(MACRO_F1, self.a.macro_f1, self.b.macro_f1, self.macro_f1)


def compare(rows_a: Iterable[Prediction], rows_b: Iterable[Prediction], choices: tuple[str, ...]) -> Comparison:
    """After each judge's own majority vote. Raises UserError if no item has answers of both."""
    from scipy.stats import binomtest

    all_a, all_b = ({(item.id, item.order): item for item in voted(rows)} for rows in (rows_a, rows_b))
    shared = [key for key in all_a if key in all_b]
    given = [key for key in shared if key[1] == "given"]
    if not given:
        raise UserError("the two have no sample in common that both answered", "finish both with mtrl eval")
    side_a, side_b = [all_a[key] for key in given], [all_b[key] for key in given]
    units = [a.cluster or b.unit for a, b in zip(side_a, side_b, strict=True)]  # equal, unless one records none
    both_valid = _both_valid(side_a, side_b) if is_scale(choices) else ()
    drawn = resampled([side_a, side_b, *both_valid], units, choices, _differences)
    found_a, found_b = classification(side_a, choices), classification(side_b, choices)
    right = [(a.correct, b.correct) for a, b in zip(side_a, side_b, strict=True)]
    only_a, only_b = right.count((True, False)), right.count((False, True))
    independent = len(set(units)) == len(units)

    def difference(row: int, a: float, b: float) -> Difference:
        return Difference(b - a, estimate(b - a, None if drawn is None else drawn[row]).ci95)

    rated = [value for side in both_valid if (value := values_of(table(side, choices))["srcc"]) is not None]
    return Comparison(
        n=len(given),
        clusters=len(set(units)),
        one_class=side_a[0].label if len({item.label for item in side_a}) == 1 else None,
        a=found_a,
        b=found_b,
        macro_f1=difference(0, found_a.macro_f1, found_b.macro_f1),
        accuracy=difference(1, found_a.accuracy, found_b.accuracy),
        both_right=right.count((True, True)),
        only_a=only_a,
        only_b=only_b,
        both_wrong=right.count((False, False)),
        mcnemar_p=float(binomtest(only_a, only_a + only_b).pvalue) if independent and only_a + only_b else None,
        disagreements=[_apart(all_a[k], all_b[k]) for k in shared if all_a[k].verdict != all_b[k].verdict],
        srcc=Headline(SRCC, rated[0], rated[1], difference(2, rated[0], rated[1])) if len(rated) == 2 else None,
    )


def _both_valid(side_a: list[Voted], side_b: list[Voted]) -> tuple[list[Voted], list[Voted]]:
    """Both sides, where an answer also counts as invalid if the other judge's is: so that both have the same items."""
    valid = [INVALID not in (a.verdict, b.verdict) for a, b in zip(side_a, side_b, strict=True)]
    found_a, found_b = (
        [item if both else replace(item, verdict=INVALID) for item, both in zip(side, valid, strict=True)]
        for side in (side_a, side_b)
    )
    return found_a, found_b


def _differences(a: Any, b: Any, valid_a: Any = None, valid_b: Any = None) -> Any:
    """B - A in each resample: of Macro-F1, of accuracy, and of a scale's SRCC."""
    import numpy as np

    rows = [macro_f1(b) - macro_f1(a), accuracy(b) - accuracy(a)]
    if valid_a is not None:
        rows.append(srcc(valid_b) - srcc(valid_a))
    return np.stack(rows)


def _apart(a: Voted, b: Voted) -> Disagreement:
    kind: Kind = "only_a" if a.correct else "only_b" if b.correct else "both_wrong"
    a_says, b_says = (None if item.verdict == INVALID else item.verdict for item in (a, b))
    return Disagreement(a.id, a.order, kind, a.label, a_says, b_says)
