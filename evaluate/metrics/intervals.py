"""95% percentile bootstrap that resamples clusters of items that are not independent.

Where a metric follows from counts of cells (label x verdict), a cluster is a vector of counts, and clusters with equal
vectors are the same to it: `of_counts` draws how often each distinct vector occurs, which is exact and fast. Where it
does not, `of_weights` draws how often each cluster occurs. SciPy's `bootstrap` resamples single items and cannot keep
a cluster whole.

With one cluster there is no interval. With 5 to 30 clusters, intervals are too narrow (Cameron, Gelbach and Miller
2008), so the number of clusters is shown next to every interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mtrl.core.schema import Stored

RESAMPLES = 10_000  # ours
OF_WEIGHTS = 1_000  # resamples where every item is weighted anew; ours
BLOCK = 2_000_000  # numbers of an array of counts that are held at a time, 16 MB
IN_CACHE = 100_000  # the same of weights, which are passed over often
OFTEN = 10  # clusters of a kind: from here a binomial draw is faster than drawing them one by one
UNDEFINED = 0.01  # of the resamples; ours
FEW = 30  # clusters; an interval from fewer is rough
SEED = 0


class Estimate(Stored):
    """A number with its interval."""

    value: float | None
    """None where it is not defined: too few items, or all labels or all verdicts are the same."""
    ci95: list[float] | None
    """95% interval [low, high] by resampling clusters. None where there is one cluster, or where more than 1% of the
    resamples have no number (an interval of the others would be of a selection)."""


def of_counts(
    of: Callable[..., Any],
    cells: Sequence[Any],
    size: int,
    clusters: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Any:
    """`of`'s numbers of each resample, an array [..., resamples]; None for fewer than two clusters.

    `cells` has, for each table of counts, every item's cell (0 to size - 1). `of` gets the tables, arrays [size, some
    resamples], and returns an array [..., some resamples].
    """
    import numpy as np
    from scipy.sparse import csr_array

    place, number = _places(clusters)
    if number < 2:
        return None
    flat = np.concatenate([np.asarray(one) + size * index for index, one in enumerate(cells)])
    rows = np.tile(place, len(cells))
    counts = csr_array((np.ones(len(flat), np.int64), (rows, flat)), shape=(number, size * len(cells)))  # sums equals
    kinds: dict[bytes, list[int]] = {}
    for row, (start, end) in enumerate(zip(counts.indptr, counts.indptr[1:], strict=False)):
        key = counts.indices[start:end].tobytes() + counts.data[start:end].tobytes()
        kinds.setdefault(key, []).append(row)
    table = counts[[rows[0] for rows in kinds.values()]].T.tocsr()
    times = np.array([len(rows) for rows in kinds.values()])
    step = max(1, BLOCK // max(len(times), size * len(cells)))
    found = [
        of(*np.split(table @ np.ascontiguousarray(drawn.T), len(cells)))
        for drawn in _drawn(times, step, resamples, seed)
    ]
    return np.concatenate(found, axis=-1)


def of_weights(of: Callable[[Any], Any], clusters: Sequence[str]) -> Any:
    """As of_counts; `of` gets how often each item is drawn, arrays [some resamples, items]."""
    import numpy as np

    place, number = _places(clusters)
    if number < 2:
        return None
    blocks = _drawn(np.ones(number, np.int64), max(1, IN_CACHE // len(place)), OF_WEIGHTS, SEED)
    return np.concatenate([of(drawn[:, place]) for drawn in blocks], axis=-1)


def bounds(values: Any) -> list[float] | None:
    """The 2.5th and 97.5th percentile of the numbers of the resamples; NaN is a resample without one."""
    import numpy as np

    missing = np.isnan(values)
    if missing.mean() > UNDEFINED:
        return None
    low, high = np.percentile(values[~missing], [2.5, 97.5])
    return [float(low), float(high)]


def estimate(value: float | None, drawn: Any) -> Estimate:
    """`drawn` has the number of each resample; None where there are none."""
    return Estimate(value=value, ci95=None if value is None or drawn is None else bounds(drawn))


def ratio(above: Any, below: Any) -> Any:
    """above / below; NaN where `below` is 0."""
    import numpy as np

    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _places(clusters: Sequence[str]) -> tuple[Any, int]:
    """Each item's number of its cluster, and how many there are. They are in the order of their names."""
    import numpy as np

    number = {name: index for index, name in enumerate(sorted(set(clusters)))}
    return np.fromiter((number[name] for name in clusters), np.int64, len(clusters)), len(number)


def _drawn(times: Any, step: int, resamples: int, seed: int) -> Iterator[Any]:
    """How often each kind of cluster is drawn; there are `times` of each: arrays [up to `step` resamples, kinds]."""
    import numpy as np

    generator, total = np.random.default_rng(seed), int(times.sum())
    often = times >= OFTEN
    rest = np.repeat(np.arange(len(times)), np.where(often, 0, times))  # the kind of each of the other clusters
    shares = [*times[often] / total, len(rest) / total]
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        together = generator.multinomial(total, shares, size=size)
        drawn = np.zeros((size, len(times)), np.int64)
        drawn[:, often] = together[:, :-1]
        for row, more in zip(drawn, together[:, -1] if len(rest) else (), strict=False):
            row += np.bincount(rest[generator.integers(0, len(rest), more, dtype=np.int32)], minlength=len(times))
        yield drawn
