"""The lowest threshold on confidence above which verdicts are proven right often enough: fixed-sequence testing.

From the most confident row down, each threshold is tested by an exact binomial test of "the share of wrong verdicts
above it is more than alpha", at level delta; the first that does not pass ends the sequence. So the chance that the
verdicts above the result are wrong more often than alpha is at most delta (Learn then Test, arXiv 2110.01052; for
judges Trust or Escalate, arXiv 2407.18370). No correction for many thresholds is needed, since the order is fixed.

The sequence begins with the most confident third of the rows (ours), not with a few, where one error would end it. The
level is exact where the share of wrong verdicts does not fall again as the threshold falls below that third, and where
it falls and rises again no more than delta each time; simulations stay below delta there too.

The test needs independent rows. Of rows that are not (a cluster), one is drawn by its name, whatever its answer: those
rows are independent, and the result holds for a row of a new cluster, all clusters counting alike. Bounds over means
of clusters would use all rows, but with the sizes that clusters have, hundreds to one, they prove next to nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mtrl.config.kinds import OTHER
from mtrl.evaluate.metrics.prediction import Prediction

PART = 3  # the sequence begins with the most confident 1 / PART of the rows
POINTS = 200  # of a curve


@dataclass(frozen=True, slots=True)
class Item:
    """What a judge says of one item, a pair in both orders."""

    id: str
    unit: str
    """Items with the same one are not independent."""
    correct: bool
    confidence: float | None
    """Of a pair, the lower of its two orders. None where it is never decided, as `why` says."""
    why: str = ""
    """ "invalid", "orders differ" or "no confidence"."""


class Tested(NamedTuple):
    """A threshold and what it was found from: one row per cluster."""

    threshold: float | None
    """None where the first test did not pass; `decided`, `wrong` and `bound` are of that test then."""
    n: int
    """Rows."""
    decided: int
    """Of these, at or above the threshold."""
    wrong: int
    """Of the decided."""
    bound: float
    """The error above the threshold is at most this, with probability 1 - delta, by this test alone."""


class RiskPoint(NamedTuple):
    """Of the verdicts with at least some confidence: how many they are, and how many of them are wrong, as shares."""

    coverage: float
    error: float
    confidence: float


def items(rows: Iterable[Prediction]) -> list[Item]:
    """One per item, of one vote. Pairs have two rows, with the two sides swapped between them."""
    by_id: dict[str, dict[str, Prediction]] = {}
    for row in rows:
        by_id.setdefault(row.id, {})[row.order] = row
    return [_item(orders["given"], orders.get("turned")) for orders in by_id.values()]


def _item(given: Prediction, turned: Prediction | None) -> Item:
    both = [given] if turned is None else [given, turned]
    sure = [row.confidence for row in both if row.confidence is not None]
    why = ""
    if any(row.verdict is None for row in both):
        why = "invalid"
    elif turned and turned.verdict and given.verdict != OTHER[turned.verdict]:
        why = "orders differ"
    elif len(sure) < len(both):
        why = "no confidence"
    return Item(given.id, given.unit, given.correct, None if why else min(sure), why)


def independent(found: Iterable[Item]) -> list[Item]:
    """One item of each cluster, drawn by the cluster's name."""
    clusters: dict[str, list[Item]] = {}
    for item in found:
        clusters.setdefault(item.unit, []).append(item)
    return [
        its[0] if len(its) == 1 else random.Random(unit).choice(sorted(its, key=lambda item: item.id))
        for unit, its in clusters.items()
    ]


def fewest(alpha: float, delta: float) -> int:
    """The fewest rows that can prove anything: with no error among n, (1 - alpha)^n is at most delta."""
    return math.ceil(math.log(delta) / math.log1p(-alpha))


def threshold(rows: Sequence[Item], alpha: float, delta: float) -> Tested:
    """`rows` are independent, see above. Those without a confidence are never decided."""
    import numpy as np
    from scipy.stats import beta, binom

    sure, decided, wrong = _steps(rows)
    begin = int(np.searchsorted(decided, max(fewest(alpha, delta), len(rows) // PART)))
    if begin == len(decided):
        return Tested(None, len(rows), int(decided.max(initial=0)), int(wrong.max(initial=0)), 1.0)
    passed = binom.cdf(wrong[begin:], decided[begin:], alpha) <= delta
    found = begin + (len(passed) if passed.all() else int(np.argmin(passed))) - 1
    at = max(begin, found)
    k, n = int(wrong[at]), int(decided[at])
    bound = float(beta.ppf(1 - delta, k + 1, n - k)) if k < n else 1.0
    return Tested(float(sure[at]) if found >= begin else None, len(rows), n, k, bound)


def coverage(tested: Tested) -> list[float]:
    """The 95% interval of the share decided, by Clopper and Pearson."""
    from scipy.stats import binomtest

    found: Any = binomtest(tested.decided, tested.n).proportion_ci(0.95, "exact")
    return [float(found.low), float(found.high)]


def curve(found: Sequence[Item]) -> list[RiskPoint]:
    """Error over coverage, of all items, from the most confident on; at most POINTS points."""
    import numpy as np

    sure, decided, wrong = _steps(found)
    shown = np.unique(np.linspace(0, len(sure) - 1, min(len(sure), POINTS)).astype(int))
    return [RiskPoint(float(decided[k] / len(found)), float(wrong[k] / decided[k]), float(sure[k])) for k in shown]


def _steps(found: Iterable[Item]) -> tuple[Any, Any, Any]:
    """Three arrays: each different confidence, the highest first; how many items have at least that much; how many of
    those are wrong."""
    import numpy as np

    known = [(item.confidence, item.correct) for item in found if item.confidence is not None]
    below, place = np.unique([-sure for sure, _ in known], return_inverse=True)  # ascending, so of the negative
    wrong = np.bincount(place, [not right for _, right in known], len(below))
    return -below, np.cumsum(np.bincount(place, minlength=len(below))), np.cumsum(wrong)
