"""How the verdicts of one task match its labels. An invalid answer is one more verdict: wrong and
never dropped.

scikit-learn computes; rates are fractions.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt

from mtrl.config.kinds import INVALID, is_pair
from mtrl.core.schema import Stored
from mtrl.evaluate.metrics import intervals
from mtrl.evaluate.metrics.prediction import Fraction, Voted

Interval = Annotated[list[Fraction], Field(min_length=2, max_length=2)]


class ClassScores(Stored):
    """One verdict as the class that is to be found."""

    precision: Fraction
    """Of the items with this verdict, those that have this label."""
    recall: Fraction
    """Of the items with this label, those that got this verdict."""
    f1: Fraction
    """Harmonic mean of both; 0 where it is 0 / 0."""
    support: NonNegativeInt
    """Items with this label."""


class Classification(Stored):
    """Verdicts against labels."""

    n: PositiveInt
    """Items."""
    macro_f1: Fraction
    """Mean of the F1 of all choices: `f1_score(labels=choices, average="macro", zero_division=0)`."""
    accuracy: Fraction
    """Share of right verdicts."""
    kappa: Annotated[float, Field(ge=-1, le=1)] | None
    """Cohen's kappa; None where labels and verdicts are all one value."""
    invalid_rate: Fraction
    """Share of answers that cannot be read."""
    per_class: dict[str, ClassScores]
    """By verdict."""
    confusion: dict[str, dict[str, NonNegativeInt]]
    """Items by label, then by verdict, with the invalid ones last."""


class Baseline(Stored):
    """What a constant answer gets."""

    macro_f1: Fraction
    accuracy: Fraction


def classification(items: Sequence[Voted], choices: tuple[str, ...]) -> Classification:
    from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, precision_recall_fscore_support

    named, counts = [*choices, INVALID], table(items, choices)
    cells = [(label, verdict) for label in choices for verdict in named]
    labels, verdicts = zip(*cells, strict=True)
    weights = counts.ravel()  # a cell has as many items as that: scikit-learn need not see each
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns where kappa is 0 / 0, which is None here
        kappa = float(cohen_kappa_score(labels, verdicts, labels=named, sample_weight=weights))
    about: dict[str, Any] = {"labels": list(choices), "zero_division": 0, "sample_weight": weights}
    by_class = precision_recall_fscore_support(labels, verdicts, **about)
    return Classification(
        n=len(items),
        macro_f1=float(f1_score(labels, verdicts, average="macro", **about)),
        accuracy=float(accuracy_score(labels, verdicts, sample_weight=weights)),
        kappa=None if kappa != kappa else kappa,
        invalid_rate=int(counts[:, -1].sum()) / len(items),
        per_class={
            choice: ClassScores(precision=float(p), recall=float(r), f1=float(f), support=int(n))
            for choice, p, r, f, n in zip(choices, *by_class, strict=True)
        },
        confusion={
            label: dict(zip(named, row, strict=True)) for label, row in zip(choices, counts.tolist(), strict=True)
        },
    )


def cells(items: Sequence[Voted], choices: tuple[str, ...]) -> Any:
    """Each item's cell of the matrix label x verdict, invalid last, counted row by row: of K choices K x (K + 1)."""
    import numpy as np

    place = {verdict: index for index, verdict in enumerate([*choices, INVALID])}
    return np.array([len(place) * place[item.label] + place[item.verdict] for item in items])


def table(items: Sequence[Voted], choices: tuple[str, ...]) -> Any:
    """The number of items in each cell, an array [K, K + 1]."""
    import numpy as np

    size = len(choices)
    return np.bincount(cells(items, choices), minlength=size * (size + 1)).reshape(size, size + 1)


def resampled(
    sides: Sequence[Sequence[Voted]], units: Sequence[str], choices: tuple[str, ...], of: Callable[..., Any]
) -> Any:
    """`of`'s numbers of each resample, see intervals.of_counts. `of` gets the matrix of each of the `sides`, which are
    one judge's items or those of two: an array [K, K + 1, some resamples]."""
    size = len(choices)
    return intervals.of_counts(
        lambda *tables: of(*(counts.reshape(size, size + 1, -1) for counts in tables)),
        [cells(items, choices) for items in sides],
        size * (size + 1),
        units,
    )


def macro_f1(counts: Any) -> Any:
    """Macro-F1 of each matrix of an array [K, K + 1, n]. F1 of an absent class is 0."""
    import numpy as np

    hits = np.diagonal(counts).T
    sizes = counts.sum(axis=1) + counts[:, :-1].sum(axis=0)  # labels and verdicts of each class; F1 = 2 hits / size
    return np.divide(2 * hits, sizes, out=np.zeros(hits.shape), where=sizes > 0).mean(axis=0)


def accuracy(counts: Any) -> Any:
    """Share of right verdicts of each matrix of an array [K, K + 1, n]."""
    import numpy as np

    return np.trace(counts) / counts.sum(axis=(0, 1))


def baselines(labels: Counter[str], choices: tuple[str, ...]) -> dict[str, Baseline]:
    """ "majority": always the most frequent label (of these very labels: the best that a constant answer can do).

    "always_first", for pairs: always the first image in the seeded order; over both orders it is right half the time.
    """
    constant = {"majority": max(choices, key=lambda choice: labels[choice])}
    if is_pair(choices):
        constant["always_first"] = "1"
    total = max(1, sum(labels.values()))
    shares = {name: labels[choice] / total for name, choice in constant.items()}
    # all other classes are never named and have F1 0; this one has precision p and recall 1, so F1 2p / (1 + p)
    of = len(choices)
    return {name: Baseline(macro_f1=2 * share / (1 + share) / of, accuracy=share) for name, share in shares.items()}
