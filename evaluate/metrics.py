"""Numbers from predictions, nowhere else. Fractions, not per cent.

An invalid answer is a third prediction: it counts against recall of its label, is never dropped and never flipped.
"""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

INVALID = "invalid"
RESAMPLES = 10_000


def voted(rows: list[dict[str, Any]], verdict: str) -> list[dict[str, Any]]:
    """One row an item and order: the majority of its votes by the key `verdict`. A tie falls to the earlier vote."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: int(row["vote"])):
        groups.setdefault((row["id"], row["order"]), []).append(row)
    return [
        {**group[0], "verdict": Counter(r[verdict] or INVALID for r in group).most_common(1)[0][0]}
        for group in groups.values()
    ]


def of_task(rows: list[dict[str, Any]], choices: tuple[str, str]) -> dict[str, Any]:
    """All metrics of one task's prediction rows. Macro-F1, its interval and accuracy are of the strict parse."""
    items = voted(rows, "verdict")
    given = [row for row in items if row["order"] == "given"]
    result = classification(given, choices)
    lenient = [row for row in voted(rows, "lenient") if row["order"] == "given"]
    result["lenient"] = {k: v for k, v in classification(lenient, choices).items() if k in ("macro_f1", "invalid_rate")}
    if any(row["order"] == "turned" for row in items):
        result["pairwise"] = pairwise(items)
    return result


def classification(rows: list[dict[str, Any]], choices: tuple[str, str]) -> dict[str, Any]:
    """n, macro_f1, macro_f1_ci95, accuracy, kappa, invalid_rate, confusion[label][verdict] and f1 per class."""
    import numpy as np
    from sklearn.metrics import cohen_kappa_score, confusion_matrix, f1_score

    labels, verdicts = [row["label"] for row in rows], [row["verdict"] for row in rows]
    matrix = confusion_matrix(labels, verdicts, labels=[*choices, INVALID])[:2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kappa is undefined, and so null, where labels and verdicts are all one value
        kappa = float(cohen_kappa_score(labels, verdicts, labels=[*choices, INVALID]))
    per_class = f1_score(labels, verdicts, labels=list(choices), average=None, zero_division=0)
    return {
        "n": len(rows),
        "macro_f1": float(f1_score(labels, verdicts, labels=list(choices), average="macro", zero_division=0)),
        "macro_f1_ci95": macro_f1_interval(matrix),
        "accuracy": float(np.mean([a == b for a, b in zip(labels, verdicts, strict=True)])),
        "kappa": None if np.isnan(kappa) else kappa,
        "invalid_rate": verdicts.count(INVALID) / len(rows),
        "f1": dict(zip(choices, map(float, per_class), strict=True)),
        "confusion": {
            label: dict(zip([*choices, INVALID], map(int, counts), strict=True))
            for label, counts in zip(choices, matrix, strict=True)
        },
    }


def macro_f1_interval(matrix: Any, resamples: int = RESAMPLES, seed: int = 0) -> list[float]:
    """95% percentile bootstrap of Macro-F1 from a 2 x 3 confusion matrix (labels x verdicts and invalid).

    Resampling rows is resampling the matrix's cells by their shares, so all resamples are one multinomial draw.
    """
    import numpy as np

    counts = np.asarray(matrix, dtype=float)
    total = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(total, counts.ravel() / total, size=resamples).reshape(-1, 2, 3)
    hits = np.stack([drawn[:, 0, 0], drawn[:, 1, 1]], axis=1)
    sizes = drawn.sum(axis=2) + drawn[:, :, :2].sum(axis=1)  # labels and verdicts of each class; F1 = 2 hits / both
    f1 = np.divide(2 * hits, sizes, out=np.zeros_like(hits, dtype=float), where=sizes > 0)
    low, high = np.percentile(f1.mean(axis=1), [2.5, 97.5])
    return [float(low), float(high)]


def pairwise(items: list[dict[str, Any]]) -> dict[str, float]:
    """Of pairs asked in both orders: right in both, changed by the order, and how often the first image won."""
    pairs: dict[str, dict[str, dict[str, Any]]] = {}
    for row in items:
        pairs.setdefault(row["id"], {})[row["order"]] = row
    both = [(pair["given"], pair["turned"]) for pair in pairs.values() if len(pair) == 2]
    total = max(1, len(both))
    valid = [(a, b) for a, b in both if INVALID not in (a["verdict"], b["verdict"])]
    shown = [row["verdict"] for row in items if row["verdict"] != INVALID]
    return {
        "pairs": len(both),
        "consistent_accuracy": sum(all(r["verdict"] == r["label"] for r in pair) for pair in both) / total,
        "flip_rate": sum(a["verdict"] == b["verdict"] for a, b in valid) / max(1, len(valid)),
        "first_position_rate": shown.count("1") / max(1, len(shown)),
    }
