"""The share of images whose true verdict is one of interest: a judge's verdicts on all of them, labels of a few.

`ppi` is PPI++ (Angelopoulos, Duchi, Zrnic 2023, arXiv 2311.01453) with the power tuning of the package ppi_py.
`rogan_gladen` corrects the share of the verdicts by sensitivity and specificity (Rogan and Gladen 1978). `of_labels` is
the share of the labels.

Standard errors are linearized and by cluster: what the images of a cluster add to an estimate is summed, then squared.
With every image its own cluster that is ppi_py's formula. Normal intervals are too narrow where few labels differ from
their verdicts (0 wide where none does), so an interval has pseudo-labels: one for each pair of label and verdict, as in
Agresti and Coull 1998 for a share and Lang and Reiczigel 2014 for sensitivity and specificity. Each weighs as much as
an average cluster of labels. The estimate itself has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pydantic import Field

from mtrl.core.schema import Stored
from mtrl.evaluate.metrics.prediction import Fraction

Z = 1.959963984540054  # of a 95% interval of the normal distribution
PSEUDO = ((1, 1), (1, 0), (0, 1), (0, 0))  # (label, verdict) of the pseudo-labels


class Share(Stored):
    """A share with its interval, both clipped to [0, 1]."""

    value: Fraction
    ci95: list[Fraction] = Field(min_length=2, max_length=2)
    formula: float
    """The value before it was clipped."""


class RoganGladen(NamedTuple):
    share: Share
    sensitivity: float
    """Of the images whose label is of interest, the share whose verdict is too."""
    specificity: float
    """Of the other images, the share whose verdict is not."""


class Linear(NamedTuple):
    """An estimate and its standard error, before any clipping."""

    value: float
    error: float
    tuning: float = 0.0
    """PPI++'s lambda: 0 is the labels alone, 1 counts on every verdict."""


@dataclass(frozen=True)
class Sample:
    """Numpy arrays, of the same length where they belong together. The same numbers, from 0, mean the same clusters."""

    labels: Any
    """Of each labelled image: 1 where its label is of interest, else 0."""
    verdicts: Any
    """Of each labelled image: 1 where its verdict is of interest, else 0."""
    clusters: Any
    """Of each labelled image: the number of its cluster."""
    rest: Any
    """The verdicts on the images of the set without a label."""
    rest_clusters: Any
    every: Any
    """The verdicts on all images of the set; labelled images can be others."""
    every_clusters: Any
    weights: Any = None
    """Of the labelled images; None: 1 each."""

    @property
    def weight(self) -> Any:
        import numpy as np

        return np.ones(len(self.labels)) if self.weights is None else self.weights

    def with_pseudo(self) -> Sample:
        import numpy as np

        top = max(numbers.max() for numbers in (self.clusters, self.rest_clusters, self.every_clusters))
        each = len(self.labels) / len(np.unique(self.clusters))
        labels, verdicts = np.array(PSEUDO, float).T
        return replace(
            self,
            labels=np.concatenate([self.labels, labels]),
            verdicts=np.concatenate([self.verdicts, verdicts]),
            clusters=np.concatenate([self.clusters, top + 1 + np.arange(len(PSEUDO))]),
            weights=np.concatenate([self.weight, np.full(len(PSEUDO), each)]),
        )


def ppi(sample: Sample) -> tuple[Share, float]:
    """PPI++ and its lambda. Both parts need an image."""
    plain = power_tuned(sample)
    return _share(plain.value, power_tuned(sample.with_pseudo())), plain.tuning


def of_labels(sample: Sample) -> Share:
    import numpy as np

    def mean(one: Sample) -> Linear:
        value = float(np.average(one.labels, weights=one.weight))
        return Linear(value, _error(one.clusters, one.weight * (one.labels - value) / one.weight.sum()))

    return _share(mean(sample).value, mean(sample.with_pseudo()))


def rogan_gladen(sample: Sample) -> RoganGladen | str:
    """Or why there is none."""
    import numpy as np

    if len(np.unique(sample.labels)) < 2:
        return "it needs labels of both kinds"
    plain, sensitivity, specificity = _corrected(sample)
    if sensitivity + specificity <= 1:
        return (
            f"sensitivity {100 * sensitivity:.1f}% and specificity {100 * specificity:.1f}% add up to 100% or less: by "
            "these labels the verdicts say nothing"
        )
    padded, *_ = _corrected(sample.with_pseudo())
    share = _share(plain.value, padded)
    if share.ci95[0] == share.ci95[1]:  # both bounds clipped at one side
        return (
            f"the formula gives {100 * plain.value:.1f}%, and no share from 0% to 100% is in its interval: the judge"
            " errs at other rates on the set than on the labelled images"
        )
    return RoganGladen(share, sensitivity, specificity)


def unlike(sample: Sample) -> float:
    """How probable it is that the verdicts of a random sample differ that much from the others (two-sided p).

    By the pooled normal test, with clusters for images, so never too small.
    """
    import numpy as np

    sizes = len(np.unique(sample.clusters)), len(np.unique(sample.rest_clusters))
    pooled = np.concatenate([sample.verdicts, sample.rest]).mean()
    spread = pooled * (1 - pooled) * sum(1 / size for size in sizes)
    return math.erfc(abs(sample.verdicts.mean() - sample.rest.mean()) / math.sqrt(2 * spread)) if spread else 1.0


def power_tuned(sample: Sample) -> Linear:
    """PPI++ as in ppi_py's ppi_mean_ci, for any numbers as labels and verdicts, but by cluster."""
    import numpy as np

    labels, verdicts, rest, weight = sample.labels, sample.verdicts, sample.rest, sample.weight
    part = weight / weight.sum()
    together = np.cov(labels, verdicts, aweights=part, ddof=0)[0, 1]
    every = np.concatenate([verdicts, rest])
    spread = np.cov(every, aweights=np.concatenate([weight, np.ones(len(rest))]), ddof=0)
    spread *= (weight.sum() + len(rest)) / (weight.sum() + len(rest) - 1)
    tuning = float(np.clip(together / ((1 + weight.sum() / len(rest)) * spread), 0, 1)) if spread > 0 else 0.0
    rectified = labels - tuning * verdicts
    rectifier, mean = part @ rectified, rest.mean()
    added = np.concatenate([part * (rectified - rectifier), tuning * (rest - mean) / len(rest)])
    error = _error(np.concatenate([sample.clusters, sample.rest_clusters]), added)
    return Linear(float(tuning * mean + rectifier), error, tuning)


def _corrected(sample: Sample) -> tuple[Linear, float, float]:
    """Rogan and Gladen's share, sensitivity and specificity."""
    import numpy as np

    labels, verdicts, weight, every = sample.labels, sample.verdicts, sample.weight, sample.every
    yes, no = weight * (labels == 1), weight * (labels == 0)
    sensitivity, specificity = (yes @ verdicts) / yes.sum(), (no @ (1 - verdicts)) / no.sum()
    better = sensitivity + specificity - 1
    if better <= 0:
        return Linear(0.0, 0.0), float(sensitivity), float(specificity)
    value = (every.mean() + specificity - 1) / better
    at = float(np.clip(value, 0, 1))
    of_set = (every - every.mean()) / len(every)
    of_rates = (1 - at) * no * (1 - verdicts - specificity) / no.sum() - at * yes * (verdicts - sensitivity) / yes.sum()
    error = _error(
        np.concatenate([sample.every_clusters, sample.clusters]), np.concatenate([of_set, of_rates]) / better
    )
    return Linear(float(value), error), float(sensitivity), float(specificity)


def _error(clusters: Any, added: Any) -> float:
    """The standard error of an estimate that is the sum of `added`, plus a constant."""
    import numpy as np

    return float(np.sqrt((np.bincount(clusters, weights=added) ** 2).sum()))


def _share(value: float, padded: Linear) -> Share:
    low, high = (padded.value + side * Z * padded.error for side in (-1, 1))
    clipped = [min(1.0, max(0.0, bound)) for bound in (value, min(low, value), max(high, value))]
    return Share(value=clipped[0], ci95=clipped[1:], formula=value)
