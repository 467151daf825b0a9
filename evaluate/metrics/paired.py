"""Two judges on the same items of one task: how far apart they are, and where they differ. Differences are B - A.

The interval is a paired bootstrap: every resample draws the same clusters for both, so what makes an item hard for
both cancels out in the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from mtrl.config.kinds import INVALID
from mtrl.config.samples import Order
from mtrl.core.errors import UserError
from mtrl.evaluate.metrics import intervals
from mtrl.evaluate.metrics.classification import Classification, cells, classification
from mtrl.evaluate.metrics.prediction import Prediction, Voted, voted

Kind = Literal["only_a", "only_b", "both_wrong"]  # who is right


@dataclass(frozen=True)
class Difference:
    """B - A of one number, as a fraction."""

    difference: float
    ci95: list[float] | None
    """95% interval [low, high]; None where there is one cluster."""


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
    # an item's cell is its label and both verdicts: K x (K + 1) x (K + 1), from which either judge's matrix is a sum
    wide = len(choices) + 1
    pairs = zip(cells(side_a, choices), cells(side_b, choices), strict=True)
    drawn = intervals.resampled([wide * a + b % wide for a, b in pairs], units, len(choices) * wide**2)
    found_a, found_b = classification(side_a, choices), classification(side_b, choices)
    right = [(a.correct, b.correct) for a, b in zip(side_a, side_b, strict=True)]
    only_a, only_b = right.count((True, False)), right.count((False, True))
    independent = len(set(units)) == len(units)

    def difference(a: float, b: float, of: Callable[[Any], Any]) -> Difference:
        if drawn is None:
            return Difference(b - a, None)
        counts = drawn.reshape(-1, len(choices), wide, wide)
        return Difference(b - a, intervals.bounds(of(counts.sum(axis=2)) - of(counts.sum(axis=3))))

    return Comparison(
        n=len(given),
        clusters=len(set(units)),
        one_class=side_a[0].label if len({item.label for item in side_a}) == 1 else None,
        a=found_a,
        b=found_b,
        macro_f1=difference(found_a.macro_f1, found_b.macro_f1, intervals.macro_f1),
        accuracy=difference(found_a.accuracy, found_b.accuracy, intervals.accuracy),
        both_right=right.count((True, True)),
        only_a=only_a,
        only_b=only_b,
        both_wrong=right.count((False, False)),
        mcnemar_p=float(binomtest(only_a, only_a + only_b).pvalue) if independent and only_a + only_b else None,
        disagreements=[_apart(all_a[k], all_b[k]) for k in shared if all_a[k].verdict != all_b[k].verdict],
    )


def _apart(a: Voted, b: Voted) -> Disagreement:
    kind: Kind = "only_a" if a.correct else "only_b" if b.correct else "both_wrong"
    a_says, b_says = (None if item.verdict == INVALID else item.verdict for item in (a, b))
    return Disagreement(a.id, a.order, kind, a.label, a_says, b_says)
