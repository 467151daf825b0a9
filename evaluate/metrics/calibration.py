"""Whether a judge is as sure as it is right: ECE and Brier score of the answers that carry a confidence."""

from __future__ import annotations

from typing import Any

BINS = 15  # equal widths over 0 to 1: Guo et al. 2017 (arXiv 1706.04599)


def calibration(rows: list[dict[str, Any]], choices: tuple[str, str]) -> dict[str, Any] | None:
    """None where no answer has a confidence; else of the n answers that have one, each order and vote by itself:

    ece     sum over the bins of n_bin / n * |accuracy - mean confidence|; a bin is (low, high]
    brier   mean of (P(first choice) - [label is the first choice]) squared, by scikit-learn; 0 is perfect, 0.25 a coin
    bins    those that hold an answer: low, high, n, mean confidence, accuracy

    A confidence is of the verdict, so it lies below 0.5 only where sampling, or the text before it, went against it.
    """
    import numpy as np
    from sklearn.metrics import brier_score_loss

    known = [row for row in rows if row.get("confidence") is not None and row["verdict"] is not None]
    if not known:
        return None
    sure = np.array([row["confidence"] for row in known], dtype=float)
    right = np.array([row["verdict"] == row["label"] for row in known])
    first = np.array([row["verdict"] == choices[0] for row in known])
    truth = np.array([row["label"] == choices[0] for row in known])
    edges = np.linspace(0, 1, BINS + 1)
    place = np.searchsorted(edges[1:-1], sure)
    bins = [
        {
            "low": float(edges[index]),
            "high": float(edges[index + 1]),
            "n": int(inside.sum()),
            "confidence": float(sure[inside].mean()),
            "accuracy": float(right[inside].mean()),
        }
        for index in range(BINS)
        if (inside := place == index).any()
    ]
    return {
        "n": len(known),
        "ece": sum(b["n"] * abs(b["accuracy"] - b["confidence"]) for b in bins) / len(known),
        "brier": float(brier_score_loss(truth.astype(int), np.where(first, sure, 1 - sure), pos_label=1)),
        "bins": bins,
    }
