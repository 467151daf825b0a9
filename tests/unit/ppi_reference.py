"""What the package ppi_py computes on its own examples; its numbers are in ppi_reference.json.

    python3 -m venv ppi && ppi/bin/pip install ppi-python==0.2.3
    ppi/bin/python tests/unit/ppi_reference.py forest_badmodel.npz > tests/unit/ppi_reference.json

forest_badmodel.npz is in examples/baselines/ of https://github.com/aangelopoulos/ppi_py; its labels and predictions are
0 and 1, so the counts say all. The package is not a dependency of the tests: it brings gdown and statsmodels, and
turns off every warning of the process that imports it.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any

import numpy as np

OURS: list[tuple[dict[str, int], dict[str, int]]] = [  # judges, whose lambda is between 0 and 1
    ({"1 1": 104, "1 0": 16, "0 1": 24, "0 0": 56}, {"1": 3422, "0": 1378}),
    ({"1 1": 9, "1 0": 2, "0 1": 3, "0 0": 86}, {"1": 120, "0": 780}),
]


def of_its_tests(name: str) -> tuple[Any, Any, Any]:
    """(labels, predictions for them, predictions for the others), as its tests/test_mean.py draws them."""
    draw = np.random.RandomState(0)
    if name == "test_ppi_mean_pointestimate":
        labels = draw.normal(0, 1, 100)
        return labels, labels + 2, np.ones(10000) * 2
    if name == "test_ppi_mean_ci":
        return draw.normal(0, 1, 10000), draw.normal(-2, 1, 10000), draw.normal(-2, 1, 10000)
    assert name == "test_conformal_mean_ci"  # with sigma 1 for its 10, so that lambda is not near 0
    labels = draw.normal(10, 1, 1000)
    predicted = labels + draw.normal(0, 1, 1000) + 5
    return labels, predicted, draw.normal(10, 1, 10000) + draw.normal(0, 1, 10000) + 5


def of_counts(labelled: dict[str, int], rest: dict[str, int]) -> tuple[Any, Any, Any]:
    """The same from counts: {"label verdict": number}, {"verdict": number}."""
    pairs = np.repeat([[float(part) for part in key.split()] for key in labelled], list(labelled.values()), axis=0)
    return pairs[:, 0], pairs[:, 1], np.repeat([float(key) for key in rest], list(rest.values()))


def _counts(*columns: Any) -> dict[str, int]:
    return dict(Counter(" ".join(str(int(value)) for value in row) for row in zip(*columns, strict=True)))


def main() -> None:
    from ppi_py import ppi_mean_ci, ppi_mean_pointestimate

    def numbers(labels: Any, predicted: Any, others: Any) -> dict[str, Any]:
        low, high = ppi_mean_ci(labels, predicted, others, alpha=0.05)
        return {
            "value": np.ravel(ppi_mean_pointestimate(labels, predicted, others)).item(),
            "ci95": [np.ravel(low).item(), np.ravel(high).item()],
        }

    names = ("test_ppi_mean_pointestimate", "test_ppi_mean_ci", "test_conformal_mean_ci")
    cases: list[dict[str, Any]] = [{"test": name, **numbers(*of_its_tests(name))} for name in names]
    for labelled, rest in OURS:
        cases.append({"labelled": labelled, "rest": rest, **numbers(*of_counts(labelled, rest))})
    forest = np.load(sys.argv[1])
    for n in np.linspace(50, 500, 10).astype(int):  # as in its notebook forest_badmodel.ipynb
        order = np.random.RandomState(0).permutation(len(forest["Y"]))
        labels, predicted, others = forest["Y"][order[:n]], forest["Yhat"][order[:n]], forest["Yhat"][n:]
        labelled, rest = _counts(labels, predicted), _counts(others)
        cases.append({"labelled": labelled, "rest": rest, **numbers(*of_counts(labelled, rest))})
    print("[\n" + ",\n".join(map(json.dumps, cases)) + "\n]")


if __name__ == "__main__":
    main()
