"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599): probabilities to the power of 1 / T, adding up to 1 again.

T is fitted on one half of the clusters, drawn by seed, and ECE and Brier score are measured on the other. The order of
confidences stays, of two choices exactly, so a threshold on the recorded confidence needs no scaling.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import PositiveFloat, PositiveInt

from mtrl.core.schema import Stored
from mtrl.evaluate.metrics.calibration import calibration, shares
from mtrl.evaluate.metrics.prediction import Fraction, Prediction

SEED = 0
RANGE = (0.05, 50.0)  # of T
LEAST = 1e-12  # probabilities are recorded to 12 digits


class Scaling(Stored):
    """What a temperature does to the confidence of rows that it was not fitted on."""

    temperature: PositiveFloat
    """Above 1: the judge is surer than it is right."""
    fitted_on: PositiveInt
    """Answers."""
    measured_on: PositiveInt
    """Answers, of other clusters."""
    ece: Fraction
    """As recorded."""
    ece_scaled: Fraction
    brier: Fraction
    brier_scaled: Fraction

    @property
    def helps(self) -> bool:
        return self.ece_scaled < self.ece and self.brier_scaled <= self.brier


def scaling(rows: Sequence[Prediction], choices: tuple[str, ...]) -> Scaling | None:
    """None where fewer than two clusters have an answer with a confidence, and where the half to fit on has no wrong
    answer, or no right one: the best T is then 0 or infinite."""
    known = [row for row in rows if row.confidence is not None and row.verdict is not None]
    clusters = sorted({row.unit for row in known})
    if len(clusters) < 2:
        return None
    random.Random(SEED).shuffle(clusters)
    half = set(clusters[: len(clusters) // 2])
    fitted = [row for row in known if row.unit in half]
    held_out = [row for row in known if row.unit not in half]
    if len({row.correct for row in fitted}) < 2:
        return None
    found = fit(fitted, choices)
    before = calibration(held_out, choices)
    after = calibration(scaled(held_out, choices, found), choices)
    assert before and after
    return Scaling(
        temperature=found,
        fitted_on=len(fitted),
        measured_on=len(held_out),
        ece=before.ece,
        ece_scaled=after.ece,
        brier=before.brier,
        brier_scaled=after.brier,
    )


def fit(rows: Sequence[Prediction], choices: tuple[str, ...]) -> float:
    """The T with the highest likelihood of the labels."""
    import numpy as np
    from scipy.optimize import minimize_scalar

    logs = _logs(rows, choices)
    label = np.array([choices.index(row.label) for row in rows])

    def loss(log_t: float) -> float:
        return float(-np.log(np.maximum(_softmax(logs / np.exp(log_t))[np.arange(len(label)), label], LEAST)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(RANGE), method="bounded").x))


def scaled(rows: Sequence[Prediction], choices: tuple[str, ...], temperature: float) -> list[Prediction]:
    """The rows with the confidence, and the probabilities where they have some, of this temperature."""
    made = []
    for row, new in zip(rows, _softmax(_logs(rows, choices) / temperature).tolist(), strict=True):
        found = dict(zip(choices, new, strict=True))
        sure = min(1.0, found[row.verdict or ""])
        made.append(replace(row, confidence=sure, probabilities=found if row.probabilities else None))
    return made


def _logs(rows: Sequence[Prediction], choices: tuple[str, ...]) -> Any:
    import numpy as np

    return np.log(np.maximum(np.array([shares(row, choices) for row in rows], dtype=float), LEAST))


def _softmax(logs: Any) -> Any:
    import numpy as np

    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
