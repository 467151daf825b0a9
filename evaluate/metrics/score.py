"""How well the verdicts of a score task agree with its labels. Both are integers, given as words in ascending order.

An invalid answer has no number, and none is invented for it: the numbers are of the valid answers alone. Next to them
are how many those are, and a worst case: each invalid answer gets the verdict that is farthest from its label (where
both ends are equally far, the end with the worse number), and of that and the number itself the worse one is taken.
For the error that is an upper bound; for the others it is a low value, not a proven minimum. What peers do: MMRB2's
scorer leaves invalid answers out, Pref-GRPO gives both sides of the pair half a win, and VisualQuality-R1's inference
code draws a number from 1 to 5.
"""

from __future__ import annotations

from typing import Any

from pydantic import NonNegativeInt

from mtrl.core.schema import Stored
from mtrl.evaluate.metrics.intervals import Estimate, estimate, ratio

NAMES = ("srcc", "plcc", "kendall", "kappa", "mae")  # rows of the arrays below


class Rated(Estimate):
    """Of the valid answers."""

    worst: float | None
    """With each invalid answer at the verdict farthest from its label. Equal to the value where none is invalid."""


class Score(Stored):
    """Verdicts against labels, both as numbers."""

    valid: NonNegativeInt
    """Items with a valid verdict."""
    srcc: Rated
    """Spearman's rank correlation; equal values share the mean of their ranks."""
    plcc: Rated
    """Pearson's correlation, without the logistic fit that some works on image quality put before it."""
    kendall: Rated
    """Kendall's tau-b."""
    kappa: Rated
    """Cohen's kappa with quadratic weights."""
    mae: Rated
    """Mean of |verdict - label|, in steps of the scale."""


def score(counts: Any, drawn: Any) -> Score:
    """Of a matrix (label x verdict, invalid last), an array [K, K + 1]. `drawn` has the `numbers` of its resamples, an
    array [5, resamples] or None."""
    import numpy as np

    values = values_of(counts)
    filled = numbers(np.stack([_filled(counts, end) for end in (0, len(counts) - 1)], axis=-1))
    valid, found = int(counts[:, :-1].sum()), {}
    for index, name in enumerate(NAMES):
        known = [value for value in (values[name], *filled[index].tolist()) if value is not None and value == value]
        found[name] = Rated(
            **dict(estimate(values[name], None if drawn is None else drawn[index])),
            worst=values[name] if valid == counts.sum() else (max if name == "mae" else min)(known, default=None),
        )
    return Score(valid=valid, **found)


def numbers(counts: Any) -> Any:
    """The numbers of NAMES of each matrix (label x verdict, invalid last) of an array [K, K + 1, n]: an array [5, n].

    NaN where a number is not defined.
    """
    import numpy as np

    valid, n, labels, verdicts = _margins(counts)
    steps = np.arange(len(valid))
    means = [ratio(steps @ of, n) for of in (labels, verdicts)]
    both, spread_x, spread_y = _products(valid, labels, verdicts, *(steps[:, None] - mean for mean in means))
    earlier = np.cumsum(valid, axis=0) - valid  # of lower labels
    lower = np.cumsum(earlier, axis=1)
    agreeing = (valid * (2 * lower - earlier - lower[:, -1:])).sum(axis=(0, 1))  # concordant less discordant pairs
    pairs, same_label, same_verdict = ((of * (of - 1)).sum(axis=0) / 2 for of in (n[None], labels, verdicts))
    return np.stack(
        [
            srcc(counts),
            _correlation(both, spread_x, spread_y),
            _correlation(agreeing, pairs - same_label, pairs - same_verdict),
            ratio(2 * both, spread_x + spread_y + n * (means[0] - means[1]) ** 2),
            ratio(np.einsum("ij...,ij->...", valid, abs(steps[:, None] - steps)), n),
        ]
    )


def srcc(counts: Any) -> Any:
    """Spearman's correlation of each matrix, as `numbers`."""
    import numpy as np

    valid, n, labels, verdicts = _margins(counts)
    midranks = (np.cumsum(of, axis=0) - (of + n) / 2 for of in (labels, verdicts))  # less their mean
    return _correlation(*_products(valid, labels, verdicts, *midranks))


def _margins(counts: Any) -> tuple[Any, Any, Any, Any]:
    """Without the invalid ones: the matrix, and how many items there are, with each label and with each verdict."""
    valid = counts[:, :-1].astype(float)
    return valid, valid.sum(axis=(0, 1)), valid.sum(axis=1), valid.sum(axis=0)


def _products(valid: Any, labels: Any, verdicts: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Sums of x * y, x * x and y * y over the items; x is a label's number, y a verdict's."""
    import numpy as np

    both = np.einsum("in,in->n", np.einsum("ijn,jn->in", valid, y), x)
    return both, (labels * x**2).sum(axis=0), (verdicts * y**2).sum(axis=0)


def _correlation(both: Any, x: Any, y: Any) -> Any:
    import numpy as np

    return ratio(both, np.sqrt(x * y))


def _filled(counts: Any, end: int) -> Any:
    """The matrix with its invalid answers at the verdict farthest from their label; `end` where both ends are."""
    last, found = len(counts) - 1, counts.copy()
    for label, invalid in enumerate(counts[:, -1]):
        found[label, end if 2 * label == last else last if 2 * label < last else 0] += invalid
    found[:, -1] = 0
    return found


def values_of(counts: Any) -> dict[str, float | None]:
    """The numbers of one matrix, by scipy and scikit-learn; of two items every correlation is 1 or -1, so None."""
    import numpy as np
    from scipy.stats import kendalltau, pearsonr, spearmanr
    from sklearn.metrics import cohen_kappa_score, mean_absolute_error

    steps = np.arange(len(counts))
    each = counts[:, :-1].ravel()
    labels, verdicts = np.repeat(steps.repeat(len(steps)), each), np.repeat(np.tile(steps, len(steps)), each)
    found: dict[str, float | None] = dict.fromkeys(NAMES)
    if len(labels) > 2 and np.ptp(labels) and np.ptp(verdicts):
        for name, of in (("srcc", spearmanr), ("plcc", pearsonr), ("kendall", kendalltau)):
            found[name] = float(of(labels, verdicts).statistic)
    if len(labels):
        found["mae"] = float(mean_absolute_error(labels, verdicts))
        if np.ptp(np.concatenate([labels, verdicts])):
            found["kappa"] = float(cohen_kappa_score(labels, verdicts, labels=steps, weights="quadratic"))
    return found
