"""Whether a judge is as sure as it is right: ECE and Brier score of the answers that have a confidence."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import NonNegativeInt, PositiveInt

from mtrl.core.schema import Stored
from mtrl.evaluate.metrics.prediction import Fraction, Prediction

BINS = 15  # equal widths over 0 to 1: Guo et al. 2017 (arXiv 1706.04599)


class Bin(Stored):
    """The answers with a confidence in (low, high]."""

    low: Fraction
    high: Fraction
    n: NonNegativeInt
    """Answers."""
    confidence: Fraction
    """Their mean confidence."""
    accuracy: Fraction
    """The share that is right."""


class Calibration(Stored):
    """Of the answers that have a confidence, each order and vote by itself."""

    n: PositiveInt
    """Answers."""
    ece: Fraction
    """Expected calibration error: sum over the bins of n_bin / n * |accuracy - mean confidence|."""
    brier: Fraction
    """Half the sum over the choices of (P(choice) - [label is the choice])^2, as a mean over the answers; 0 is perfect.
    Of two choices, which is (P(first) - [label is first])^2, a coin has 0.25."""
    bins: list[Bin]
    """Those that hold an answer."""


def calibration(rows: Iterable[Prediction], choices: tuple[str, ...]) -> Calibration | None:
    """None where no answer has a confidence.

    A confidence is of the verdict, so it is below 0.5 only where sampling, or the text before it, went against it.
    """
    import numpy as np

    known = [row for row in rows if row.confidence is not None and row.verdict is not None]
    if not known:
        return None
    sure = np.array([row.confidence for row in known], dtype=float)
    right = np.array([row.correct for row in known])
    given = np.array([shares(row, choices) for row in known], dtype=float)
    truth = np.array([[row.label == choice for choice in choices] for row in known])
    edges = np.linspace(0, 1, BINS + 1)
    place = np.searchsorted(edges[1:-1], sure)
    bins = [
        Bin(
            low=float(edges[index]),
            high=float(edges[index + 1]),
            n=int(inside.sum()),
            confidence=float(sure[inside].mean()),
            accuracy=float(right[inside].mean()),
        )
        for index in range(BINS)
        if (inside := place == index).any()
    ]
    return Calibration(
        n=len(known),
        ece=sum(b.n * abs(b.accuracy - b.confidence) for b in bins) / len(known),
        brier=float(((given - truth) ** 2).sum(axis=1).mean() / 2),
        bins=bins,
    )


def shares(row: Prediction, choices: tuple[str, ...]) -> list[float]:
    """P of each choice, of an answer with a confidence."""
    if row.probabilities:
        return [row.probabilities[choice] for choice in choices]
    sure = row.confidence or 0.0
    return [sure if choice == row.verdict else 1 - sure for choice in choices]
