"""One task of a metrics.json with all that mtrl writes, for tests that change a part of it."""

from __future__ import annotations

from typing import Any

CLASS = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 1}
FLAT = {"macro_f1": 0.5, "accuracy": 0.5}


def task_metrics(**changes: Any) -> dict[str, Any]:
    return {
        "n": 10, "macro_f1": 0.5, "accuracy": 0.5, "kappa": 0.0, "invalid_rate": 0.0,
        "per_class": {"yes": CLASS, "no": CLASS}, "confusion": {}, "clusters": 10, "macro_f1_ci95": [0.4, 0.6],
        "lenient": {"macro_f1": 0.5, "invalid_rate": 0.0}, "baselines": {"majority": FLAT},
        "calibration": None, "votes_curve": None, "split": "test", "limit": None,
        **changes,
    }  # fmt: skip
