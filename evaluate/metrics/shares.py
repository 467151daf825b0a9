"""The 95% interval of a share of items that are not independent, which also holds where the share is 0 or 1.

By Korn and Graubard (1998): the exact interval of Clopper and Pearson, for as many items as the clustered ones are
worth. A bootstrap has no width where nothing, or everything, is counted. SciPy computes.
"""

from __future__ import annotations

from collections.abc import Sequence


def interval(hits: Sequence[bool], clusters: Sequence[str]) -> list[float] | None:
    """[low, high] of the share of hits; None where there are fewer than two clusters. `clusters`: each item's."""
    import numpy as np
    from scipy.stats import beta, t

    names, place = np.unique(np.asarray(clusters), return_inverse=True)
    n, groups = len(hits), len(names)
    if groups < 2:
        return None
    values = np.asarray(hits, dtype=float)
    share = float(values.mean())
    spread = groups / (groups - 1) * float((np.bincount(place, weights=values - share) ** 2).sum()) / n**2
    worth = share * (1 - share) / spread if spread > 0 else groups  # all alike: a cluster tells as much as one item
    if n > groups:
        worth *= float((t.ppf(0.975, n - 1) / t.ppf(0.975, groups - 1)) ** 2)
    worth = min(worth, n)
    x = share * worth
    low = float(beta.ppf(0.025, x, worth - x + 1)) if x > 0 else 0.0
    high = float(beta.ppf(0.975, x + 1, worth - x)) if worth - x > 1e-9 else 1.0
    return [low, high]
