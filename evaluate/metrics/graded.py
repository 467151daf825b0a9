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

from mtrl.core.schema import Stored
from mtrl.evaluate.metrics import bootstrap
from mtrl.evaluate.metrics.bootstrap import Estimate, estimate, ratio


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


def graded(items: Sequence[Item]) -> Graded | None:
    """None where no item has a graded value, or there is nothing to compare them with."""
    known = [item for item in items if item.value is not None]
    labelled = [item for item in known if item.first is not None]
    scored = [item for item in known if item.score is not None]
    if not labelled and not scored:
        return None
    low_is_first = _low_is_first(scored)
    if low_is_first:
        scored = [item._replace(score=-item.score) for item in scored if item.score is not None]
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


def _low_is_first(scored: Sequence[Item]) -> bool:
    first, other = ([i.score for i in scored if i.first is label and i.score is not None] for label in (True, False))
    return bool(first and other) and sum(first) / len(first) < sum(other) / len(other)


def _of_labels(items: Sequence[Item]) -> list[Estimate]:
    """ROC AUC and average precision."""
    import numpy as np
    from sklearn.metrics import average_precision_score, roc_auc_score

    value = np.array([item.value for item in items])
    order = np.argsort(value)
    first = np.array([item.first for item in items])[order].astype(int)
    ends = _ends(value[order])

    def of(weights: Any) -> Any:
        shown, each = _sums(weights, ends)  # up to each value, and with it
        found, hits = _sums(weights * first, ends)
        n, all_hits = shown[:, -1], found[:, -1]
        below = all_hits * (n - all_hits)  # pairs of a hit and another item
        ranks = shown - (each + n[:, None]) / 2  # midranks less their mean
        auc = 0.5 + ratio((hits * ranks).sum(axis=1), below)
        precision = (all_hits[:, None] - found + hits) / np.maximum(1, n[:, None] - shown + each)  # from each value up
        return np.stack([auc, ratio((hits * precision).sum(axis=1), np.where(below > 0, all_hits, 0))])

    both = 0 < first.sum() < len(first)
    of_library = [float(f(first, value[order])) if both else None for f in (roc_auc_score, average_precision_score)]
    return _estimates(of_library, of, [items[n].unit for n in order])


def _of_scores(items: Sequence[Item]) -> list[Estimate]:
    """Spearman's and Pearson's correlation with the release's numbers."""
    import numpy as np
    from scipy.stats import pearsonr, spearmanr

    order = np.argsort([item.value for item in items])
    x, y = (np.array(of, dtype=float)[order] for of in zip(*((i.value, i.score) for i in items), strict=True))
    by_y = np.argsort(y)
    ends_x, ends_y = _ends(x), _ends(y[by_y])
    place_x, place_y = (np.unique(of, return_inverse=True)[1] for of in (x, y))
    centred = [(of - of.mean()) / (np.ptp(of) or 1) for of in (x, y)]  # of the size of 1, for exact sums
    sums = np.stack([np.ones_like(x), *centred, centred[0] ** 2, centred[1] ** 2, centred[0] * centred[1]]).T

    def of(weights: Any) -> Any:
        (ranks_x, spread_x), (ranks_y, spread_y) = _ranks(weights, ends_x), _ranks(weights[:, by_y], ends_y)
        weights = weights.astype(float)
        both = np.einsum("in,in,in->i", weights, ranks_x[:, place_x], ranks_y[:, place_y])
        n, sum_x, sum_y, xx, yy, xy = (weights @ sums).T
        below = np.sqrt(np.maximum(0, (n * xx - sum_x**2) * (n * yy - sum_y**2)))
        varied = spread_x * spread_y  # 0 where the values or the scores are all the same
        return np.stack([ratio(both, np.sqrt(varied)), ratio(n * xy - sum_x * sum_y, np.where(varied > 0, below, 0))])

    known = len(x) > 2 and np.ptp(x) and np.ptp(y)  # of two items a correlation is always 1 or -1
    of_library = [float(f(*centred).statistic) if known else None for f in (spearmanr, pearsonr)]
    return _estimates(of_library, of, [items[n].unit for n in order])


class _Pairs(NamedTuple):
    right: int
    pairs: int
    unit: str


def _pairs(items: Sequence[Item]) -> list[_Pairs]:
    """Of each group that has items whose scores differ."""
    groups: dict[str, list[Item]] = {}
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
    drawn = bootstrap.of_weights(of, units)
    return [estimate(value, None if drawn is None else drawn[index]) for index, value in enumerate(values)]


def _ends(ascending: Any) -> Any:
    """Where each distinct value ends."""
    import numpy as np

    return np.flatnonzero(np.append(np.diff(ascending), 1))


def _sums(weights: Any, ends: Any) -> tuple[Any, Any]:
    """The weight up to and of each distinct value, arrays [n, values]. `weights` are in ascending order of the value."""
    import numpy as np

    upto = np.cumsum(weights, axis=1)[:, ends]
    return upto, np.diff(upto, axis=1, prepend=0)


def _ranks(weights: Any, ends: Any) -> tuple[Any, Any]:
    """The midrank of each distinct value less the mean rank, and the sum of their squares over the items."""
    import numpy as np

    upto, each = _sums(weights, ends)
    ranks = upto - (each + upto[:, -1:]) / 2
    return ranks, np.einsum("in,in,in->i", each.astype(float), ranks, ranks)
