"""What may become a cell of Table 2 or 3: the whole test split, one greedy answer an item."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mtrl import tables
from mtrl.evaluate import metrics


def result(**task: object) -> dict:
    cell = {"macro_f1": 0.5, "macro_f1_ci95": [0.4, 0.6], "invalid_rate": 0.0, "split": "test", "limit": None}
    cell["confusion"] = {"yes": {"yes": 150, "no": 150, "invalid": 0}, "no": {"yes": 50, "no": 50, "invalid": 0}}
    return {"schema": metrics.SCHEMA, "method": "zero_shot", "checkpoint": "m", "votes": 1, "seetrue": {**cell, **task}}


def write(folder: Path, content: dict) -> None:
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(content))


@pytest.mark.parametrize("odd", [{"split": "train"}, {"limit": 20}])
def test_a_part_is_no_cell_and_is_named(tmp_path: Path, odd: dict) -> None:
    write(tmp_path / "whole", result(macro_f1=0.7, macro_f1_ci95=[0.6, 0.75]))
    write(tmp_path / "part", result(**odd))
    found = tables.results(2, tmp_path)
    cell = found.rows["Off-the-shelf"][found.columns.index("seetrue")]
    assert cell.startswith("70.00 [60.0, 75.0]") and "paper 80.01 (-10.01)*" in cell
    assert any("part" in line for line in found.passed_over)


def test_votes_are_no_cell(tmp_path: Path) -> None:
    write(tmp_path / "votes", {**result(), "votes": 5})
    assert tables.results(2, tmp_path).rows["Off-the-shelf"][0].startswith("-")


def test_the_mean_needs_every_column(tmp_path: Path) -> None:
    write(tmp_path / "one", result())
    found = tables.results(2, tmp_path)
    assert found.rows["Off-the-shelf"][-1] == "-\npaper 67.31"
    assert [round(float(cells[-1].split("paper ")[1]), 2) for cells in found.rows.values()] == [
        67.31,
        78.23,
        79.91,
        79.90,
        79.74,
    ]
