"""How well a judge's graded values order the items: its probability of the first choice, or its expected score.

Against the label: ROC AUC and average precision. Against the release's own number (a mean opinion score, a rating):
Spearman's and Pearson's correlation, and within a group the share of pairs in the right order. An item without a graded
value (an invalid answer, or one whose tokens do not show it) is in none of these; how many there are is next to them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from pydantic import NonNegativeInt, PositiveInt

from mtrl.config.kinds import is_pair
from mtrl.core.schema import Stored
from mtrl.evaluate.metrics import intervals
from mtrl.evaluate.metrics.intervals import Estimate, estimate, ratio
from mtrl.evaluate.metrics.prediction import Prediction


class Item(NamedTuple):
    """What is known of one item."""

    value: float | None
    """The judge's graded value."""
    first: bool | None = None
    """Whether the label is the first choice; None where there are not two choices."""
    score: float | None = None
    """The release's own number."""
    group: str = ""
    """The items of one group are compared in pairs; "": with none."""
    unit: str = ""
    """What an interval resamples."""


class Graded(Stored):
    """Graded values against labels and the release's numbers. What does not apply is None."""

    n: PositiveInt
    """Items with a graded value."""
    missing: NonNegativeInt
    """Items without one, which the numbers leave out."""
    auc: Estimate | None
    """Area under the ROC curve: the probability that an item of the first choice has the higher value. Two choices."""
    average_precision: Estimate | None
    """Of finding the items of the first choice. Two choices."""
    srcc: Estimate | None
    """Spearman's rank correlation with the release's number."""
    plcc: Estimate | None
    """Pearson's correlation with the release's number, without a logistic fit before it."""
    pair_accuracy: Estimate | None
    """Of the pairs of one group whose release numbers differ, those whose values are in the same order. Equal values
    are wrong, as in ImageReward's test.py."""
    pairs: NonNegativeInt
    """How many such pairs there are."""
    low_is_first: bool
    """Whether low numbers of the release have the label of the first choice, as ranks do: then the numbers are negated
    here."""


def items_of(rows: Sequence[Prediction], choices: tuple[str, ...]) -> list[Item]:
    """One per item in the given order; its value is the mean over its votes that have one."""
    values: dict[str, list[float]] = {}
    first: dict[str, Prediction] = {}
    for row in rows:
        if row.order == "given":
            first.setdefault(row.id, row)
            if (value := row.graded(choices)) is not None:
                values.setdefault(row.id, []).append(value)
    return [
        Item(
            value=round(sum(values[name]) / len(values[name]), 12) if name in values else None,  # as many digits
            first=row.label == choices[0] if len(choices) == 2 else None,
            score=row.score,
            group="" if is_pair(choices) else row.group,
            unit=row.cluster or name,
        )
        for name, row in first.items()
    ]


def graded(items: Sequence[Item]) -> Graded | None:
    """None where no item has a graded value, or there is nothing to compare them with."""
    known = [item for item in items if item.value is not None]
    labelled = [item for item in known if item.first is not None]
    low_is_first = _low_is_first(known)
    sign = -1 if low_is_first else 1
    scored = [
        _Scored(item.value, sign * item.score, item.group, item.unit)
        for item in known
        if item.value is not None and item.score is not None
    ]
    if not labelled and not scored:
        return None
    pairs = _pairs(scored)
    auc, average_precision = _of_labels(labelled) if labelled else (None, None)
    srcc, plcc = _of_scores(scored) if scored else (None, None)
    return Graded(
        n=len(known),
        missing=len(items) - len(known),
        auc=auc,
        average_precision=average_precision,
        srcc=srcc,
        plcc=plcc,
        pair_accuracy=_of_pairs(pairs) if pairs else None,
        pairs=sum(of.pairs for of in pairs),
        low_is_first=low_is_first,
    )


class _Scored(NamedTuple):
    """An item with a value and a score."""

    value: float
    score: float
    group: str
    unit: str


def _low_is_first(items: Sequence[Item]) -> bool:
    first, other = ([i.score for i in items if i.first is label and i.score is not None] for label in (True, False))
    return bool(first and other) and sum(first) / len(first) < sum(other) / len(other)


def _of_labels(items: Sequence[Item]) -> list[Estimate]:
    """ROC AUC and average precision."""
    import numpy as np
    from sklearn.metrics import average_precision_score, roc_auc_score

    value = np.array([item.value for item in items])
    order = np.argsort(value)
    value, first = value[order], np.array([item.first for item in items])[order]
    hits = np.flatnonzero(first)  # items of the first choice
    (lower, upper), lower_hits = _range(value, value[hits]), _range(value[hits], value[hits])[0]

    def of(weights: Any) -> Any:
        of_hits, ranks, upto = weights[:, hits], _ranks(weights, lower, upper), _upto(weights)
        n, all_hits = upto[:, -1:], of_hits.sum(axis=1)
        others = all_hits * (n[:, 0] - all_hits)
        auc = 0.5 + ratio((of_hits * ranks).sum(axis=1), 2 * others)
        precision = (all_hits[:, None] - _upto(of_hits)[:, lower_hits]) / np.maximum(1, n - upto[:, lower])
        return np.stack([auc, ratio((of_hits * precision).sum(axis=1), np.where(others > 0, all_hits, 0))])

    both = 0 < len(hits) < len(first)
    of_library = [float(f(first, value)) if both else None for f in (roc_auc_score, average_precision_score)]
    return _estimates(of_library, of, [items[n].unit for n in order])


def _of_scores(items: Sequence[_Scored]) -> list[Estimate]:
    """Spearman's and Pearson's correlation with the release's numbers."""
    import numpy as np
    from scipy.stats import pearsonr, spearmanr

    order = np.argsort([item.value for item in items])
    x, y = (np.array(of, dtype=float)[order] for of in zip(*((i.value, i.score) for i in items), strict=True))
    by_y = np.argsort(y)
    of_x, of_y = _range(x, x), _range(y[by_y], y)
    centred = [(of - of.mean()) / (np.ptp(of) or 1) for of in (x, y)]  # of the size of 1, for exact sums
    sums = np.stack([np.ones_like(x), *centred, centred[0] ** 2, centred[1] ** 2, centred[0] * centred[1]]).T

    def of(weights: Any) -> Any:
        ranks = _ranks(weights, *of_x), _ranks(weights[:, by_y], *of_y)
        weights = weights.astype(float)
        both, spread_x, spread_y = (
            np.einsum("in,in,in->i", weights, ranks[a], ranks[b]) for a, b in ((0, 1), (0, 0), (1, 1))
        )
        varied = spread_x * spread_y  # 0 where the values or the scores are all the same
        n, sum_x, sum_y, xx, yy, xy = (weights @ sums).T
        below = np.sqrt(np.maximum(0, (n * xx - sum_x**2) * (n * yy - sum_y**2)))
        return np.stack([ratio(both, np.sqrt(varied)), ratio(n * xy - sum_x * sum_y, np.where(varied > 0, below, 0))])

    known = len(x) > 2 and np.ptp(x) and np.ptp(y)  # of two items a correlation is always 1 or -1
    of_library = [float(f(*centred).statistic) if known else None for f in (spearmanr, pearsonr)]
    return _estimates(of_library, of, [items[n].unit for n in order])


class _Pairs(NamedTuple):
    """The pairs of one group."""

    right: int
    pairs: int
    unit: str


def _pairs(items: Sequence[_Scored]) -> list[_Pairs]:
    """Of each group that has items whose scores differ."""
    groups: dict[str, list[_Scored]] = {}
    for item in items:
        if item.group:
            groups.setdefault(item.group, []).append(item)
    found = []
    for group in groups.values():
        right = pairs = 0
        below: list[float] = []  # values of the items with a lower score, ascending
        for _, level in groupby(sorted((i.score, i.value) for i in group), key=lambda pair: pair[0]):
            values = [value for _, value in level]
            right += sum(bisect_left(below, value) for value in values)
            pairs += len(below) * len(values)
            for value in values:
                insort(below, value)
        if pairs:
            found.append(_Pairs(right, pairs, group[0].unit))  # a group is within one cluster
    return found


def _of_pairs(found: Sequence[_Pairs]) -> Estimate:
    import numpy as np

    right, pairs, units = zip(*found, strict=True)
    counts = np.array([right, pairs])
    return _estimates([sum(right) / sum(pairs)], lambda weights: ratio(*(counts @ weights.T))[None], units)[0]


def _estimates(values: Sequence[float | None], of: Callable[[Any], Any], units: Sequence[str]) -> list[Estimate]:
    drawn = intervals.of_weights(of, units)
    return [estimate(value, None if drawn is None else drawn[index]) for index, value in enumerate(values)]


def _range(ascending: Any, values: Any) -> tuple[Any, Any]:
    """How many of the ascending numbers are below each value, and how many are not above it."""
    import numpy as np

    return np.searchsorted(ascending, values, "left"), np.searchsorted(ascending, values, "right")


def _upto(weights: Any) -> Any:
    """The weight of the first k items, for k = 0 to all: arrays [n, items + 1]."""
    import numpy as np

    found = np.zeros((len(weights), weights.shape[1] + 1), np.int64)
    np.cumsum(weights, axis=1, out=found[:, 1:])
    return found


def _ranks(weights: Any, lower: Any, upper: Any) -> Any:
    """Twice the midranks less their mean, of values with these ranges among the items: arrays [n, values]."""
    upto = _upto(weights)
    return (upto[:, lower] + upto[:, upper] - upto[:, -1:]).astype(float)
