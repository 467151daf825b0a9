"""95% percentile bootstrap of numbers that follow from counts, resampling clusters of items that are not independent.

Each item is in one of a few cells (label x verdict), so a cluster is a vector of counts, and clusters with equal
vectors are the same to every metric. Drawing K of K clusters is therefore one multinomial draw over the distinct
vectors: exact, and fast, since there are few of them. SciPy's `bootstrap` resamples single items and cannot keep a
cluster whole.

With one cluster there is no interval. With 5 to 30 clusters, intervals are too narrow (Cameron, Gelbach and Miller
2008), so the number of clusters is shown next to every interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

RESAMPLES = 10_000  # ours
FEW = 30  # clusters; an interval from fewer is rough
BLOCK = 4_000_000  # numbers drawn at a time, about 32 MB
SEED = 0


def resampled(cells: Any, clusters: Sequence[str], size: int, resamples: int = RESAMPLES, seed: int = SEED) -> Any:
    """Counts by cell of each resample, an array [resamples, size]; None for fewer than two clusters.

    `cells` has each item's cell (0 to size - 1), `clusters` its cluster.
    """
    import numpy as np

    names, place = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    if len(names) < 2:
        return None
    counts = np.zeros((len(names), size), dtype=np.int64)
    np.add.at(counts, (place, np.asarray(cells)), 1)
    kinds, times = np.unique(counts, axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    found = np.empty((resamples, size), dtype=np.int64)
    step = max(1, BLOCK // len(kinds))
    for start in range(0, resamples, step):
        end = min(start + step, resamples)
        found[start:end] = generator.multinomial(len(names), times / len(names), size=end - start) @ kinds
    return found


def macro_f1(counts: Any) -> Any:
    """Macro-F1 of each matrix (label x verdict, invalid last) of an array [..., K, K + 1]. F1 of an absent class is
    0."""
    import numpy as np

    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    sizes = counts.sum(axis=-1) + counts[..., :-1].sum(axis=-2)  # labels and verdicts of each class; F1 = 2 hits / size
    return np.divide(2 * hits, sizes, out=np.zeros(hits.shape), where=sizes > 0).mean(axis=-1)


def accuracy(counts: Any) -> Any:
    """Share of right verdicts of each matrix of an array [..., K, K + 1]."""
    import numpy as np

    return np.diagonal(counts, axis1=-2, axis2=-1).sum(axis=-1) / counts.sum(axis=(-1, -2))


def bounds(values: Any) -> list[float]:
    """The 2.5th and 97.5th percentile."""
    import numpy as np

    low, high = np.percentile(values, [2.5, 97.5])
    return [float(low), float(high)]
