"""The statistics of `mtrl study`: pure functions of numbers. The unit of inference is a training, by its seed.

A contrast has one row per unit and one column per caption: the weighted sum of the arms' right pairs. All arms and
seeds answer the same pairs, so a resample draws captions once, for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

EXACT = 1 << 20  # sign flips: all of them for up to 20 units, else this many drawn ones
MOST_SEEDS = 1000  # that a power calculation asks for
LEVEL = 0.95  # of an interval


def sign_flip(differences: Sequence[float]) -> float:
    """p of the two-sided test that each difference could as well have the other sign."""
    import numpy as np
    from scipy.stats import permutation_test

    if len(differences) < 2:  # scipy raises
        return 1.0
    found = permutation_test(
        (np.asarray(differences, float),),
        lambda drawn, axis: drawn.mean(axis=axis),
        permutation_type="samples",
        n_resamples=EXACT,
        batch=EXACT >> 4,
        vectorized=True,
        rng=0,
    )
    return float(found.pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    order, highest, adjusted = sorted(range(len(p)), key=p.__getitem__), 0.0, [0.0] * len(p)
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = highest
    return adjusted


def interval(
    contrast: Any, sizes: Any, groups: Sequence[str], resamples: int, seed: int = 0
) -> tuple[float, float] | None:
    """95% interval of the mean over units: a bootstrap over the units of each group, and then over captions.

    `contrast` is an array [units, captions], `sizes` the pairs of each caption, `groups` the base of each unit. None
    where a group has one unit. Percentiles of so few units are too narrow, so theirs are those of a t interval
    (Hesterberg 2015, The American Statistician 69:371, "expanded percentiles").
    """
    import numpy as np
    from scipy.stats import norm, t

    places = [np.flatnonzero(np.asarray(groups) == group) for group in dict.fromkeys(groups)]
    free = len(contrast) - len(places)
    if min(map(len, places)) < 2:
        return None
    generator, number = np.random.default_rng(seed), len(sizes)
    captions = generator.multinomial(number, np.full(number, 1 / number), size=resamples)
    values = captions @ np.asarray(contrast, float).T / (captions @ np.asarray(sizes))[:, None]
    units = np.concatenate(
        [place[generator.integers(0, len(place), (resamples, len(place)))] for place in places], axis=1
    )
    means = np.take_along_axis(values, units, axis=1).mean(axis=1)
    tail = norm.cdf(math.sqrt(len(contrast) / free) * t.ppf((1 - LEVEL) / 2, free))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def power(seeds: int, deviation: float, margin: float, alpha: float) -> float:
    """How likely a two-sided paired t test of `seeds` differences finds a mean of `margin`."""
    from scipy.stats import nct, t

    free, shift = seeds - 1, margin / deviation * math.sqrt(seeds)
    limit = t.ppf(1 - alpha / 2, free)
    return float(nct.sf(limit, free, shift) + nct.cdf(-limit, free, shift))


def seeds_for(deviation: float, margin: float, alpha: float, wanted: float) -> int:
    """The least number of seeds with this power: 2 to MOST_SEEDS, which may be too few."""
    enough = (n for n in range(2, MOST_SEEDS) if power(n, deviation, margin, alpha) >= wanted)
    return next(enough, MOST_SEEDS) if deviation else 2


def spearman(x: Sequence[float], y: Sequence[float], blocks: Sequence[str] | None = None) -> float | None:
    """Spearman's correlation; with `blocks`, of the ranks within each block, so that differences between blocks do
    not count. None where one of the two does not vary."""
    import numpy as np
    from scipy.stats import rankdata

    named = np.asarray(blocks or [""] * len(x))
    ranks = np.zeros((2, len(x)))
    for block in set(named.tolist()):
        inside = named == block
        for row, values in zip(ranks, (x, y), strict=True):
            ranked = rankdata(np.asarray(values, float)[inside])
            row[inside] = (ranked - ranked.mean()) / len(ranked)  # blocks of any size have ranks on one scale
    below = math.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float((ranks[0] * ranks[1]).sum() / below) if below else None
