"""Numbers of one task from its prediction rows, and from nothing else. Fractions, not per cent.

An invalid answer is a third prediction: it counts against recall of its label, is never dropped and never flipped.
Everything that scikit-learn has is scikit-learn's. Of a pair, the headline numbers are of the seeded order.
"""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

from mtrl.config.tasks import INVALID
from mtrl.evaluate.metrics import intervals
from mtrl.evaluate.metrics.calibration import calibration
from mtrl.evaluate.metrics.pairwise import pairwise

SCHEMA = 2  # of metrics.json; 1 had `f1` in place of `per_class`, and intervals that knew no clusters


def of_task(rows: list[dict[str, Any]], choices: tuple[str, str]) -> dict[str, Any]:
    """All metrics of one task: those of `classification`, and

    lenient        macro_f1 and invalid_rate of the lenient parse
    one_class      the label, where all items have the same one: Macro-F1 then says nothing; else null
    baselines      what answering without looking gives
    calibration    see calibration.py; null where no answer has a confidence
    votes_curve    see `votes_curve`; null where each item was asked once
    pairwise       see pairwise.py; only where pairs were asked in both orders
    """
    items = voted(rows, "verdict")
    given = [row for row in items if row["order"] == "given"]
    lenient = classification([row for row in voted(rows, "lenient") if row["order"] == "given"], choices)
    labels = {row["label"] for row in given}
    result = {
        **classification(given, choices),
        **interval(given, choices),
        "lenient": {key: lenient[key] for key in ("macro_f1", "invalid_rate")},
        "one_class": next(iter(labels)) if len(labels) == 1 else None,
        "baselines": baselines(Counter(row["label"] for row in given), choices),
        "calibration": calibration(rows, choices),
        "votes_curve": votes_curve(rows, choices),
    }
    if any(row["order"] == "turned" for row in items):
        result["pairwise"] = pairwise(items)
    return result


def voted(rows: list[dict[str, Any]], verdict: str) -> list[dict[str, Any]]:
    """One row an item and order: the majority of its votes by the key `verdict`. A tie falls to the earlier vote."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: int(row["vote"])):
        groups.setdefault((row["id"], row["order"]), []).append(row)
    return [
        {**group[0], "verdict": Counter(r[verdict] or INVALID for r in group).most_common(1)[0][0]}
        for group in groups.values()
    ]


def classification(rows: list[dict[str, Any]], choices: tuple[str, str]) -> dict[str, Any]:
    """n, macro_f1, accuracy, kappa, invalid_rate, confusion[label][verdict], and per_class[choice]: precision, recall,
    f1 and support. kappa is null where labels and verdicts are all one value."""
    from sklearn.metrics import (
        accuracy_score,
        cohen_kappa_score,
        confusion_matrix,
        f1_score,
        precision_recall_fscore_support,
    )

    labels, verdicts = [row["label"] for row in rows], [row["verdict"] for row in rows]
    named = [*choices, INVALID]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns where kappa is 0 / 0, which is null here
        kappa = float(cohen_kappa_score(labels, verdicts, labels=named))
    by_class = precision_recall_fscore_support(labels, verdicts, labels=list(choices), zero_division=0)
    return {
        "n": len(rows),
        "macro_f1": float(f1_score(labels, verdicts, labels=list(choices), average="macro", zero_division=0)),
        "accuracy": float(accuracy_score(labels, verdicts)),
        "kappa": None if kappa != kappa else kappa,
        "invalid_rate": verdicts.count(INVALID) / len(rows),
        "per_class": {
            choice: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
            for choice, p, r, f, n in zip(choices, *by_class, strict=True)
        },
        "confusion": {
            label: dict(zip(named, map(int, counts), strict=True))
            for label, counts in zip(choices, confusion_matrix(labels, verdicts, labels=named)[:2], strict=True)
        },
    }


def cells(rows: list[dict[str, Any]], choices: tuple[str, str]) -> list[int]:
    """Each row's cell of the 2 x 3 matrix: 3 * label + verdict, invalid last."""
    named = [*choices, INVALID]
    return [3 * choices.index(row["label"]) + named.index(row["verdict"]) for row in rows]


def cluster(row: dict[str, Any]) -> str:
    """What the row is resampled with; a row that names no cluster stands alone."""
    return str(row.get("cluster") or row["id"])


def interval(rows: list[dict[str, Any]], choices: tuple[str, str]) -> dict[str, Any]:
    """clusters: how many there are; macro_f1_ci95: [low, high] by resampling them, null where there is only one."""
    names = [cluster(row) for row in rows]
    drawn = intervals.resampled(cells(rows, choices), names, 6)
    found = None if drawn is None else intervals.bounds(intervals.macro_f1(drawn.reshape(-1, 2, 3)))
    return {"clusters": len(set(names)), "macro_f1_ci95": found}


def baselines(labels: Counter[str], choices: tuple[str, str]) -> dict[str, dict[str, float]]:
    """macro_f1 and accuracy of always naming the commonest label (of these very labels: the best a constant can do), and
    for pairs of always naming the first image in the seeded order. Over both orders that one is right half the time."""
    constant = {"majority": max(choices, key=lambda choice: labels[choice])}
    if choices == ("1", "2"):
        constant["always_first"] = "1"
    total = max(1, sum(labels.values()))
    shares = {name: labels[choice] / total for name, choice in constant.items()}
    # one class is never named and has F1 0; the other has precision p and recall 1, so F1 2p / (1 + p)
    return {name: {"macro_f1": share / (1 + share), "accuracy": share} for name, share in shares.items()}


def votes_curve(rows: list[dict[str, Any]], choices: tuple[str, str]) -> list[dict[str, Any]] | None:
    """macro_f1 and invalid_rate of the majority of the first k votes, for k = 1 to all; None for one vote.

    Votes are drawn alike, so the first k are as good as any k of them; the curve is one such draw, not a mean.
    """
    last = max(int(row["vote"]) for row in rows)
    if last == 0:
        return None
    given = [row for row in rows if row["order"] == "given"]
    curve = []
    for k in range(1, last + 2):
        found = classification(voted([row for row in given if int(row["vote"]) < k], "verdict"), choices)
        curve.append({"votes": k, "macro_f1": found["macro_f1"], "invalid_rate": found["invalid_rate"]})
    return curve
