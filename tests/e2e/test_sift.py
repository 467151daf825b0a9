"""Wrong labels planted in the demo's tables are found by the votes of a judge that was trained on them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.long
def test_planted_wrong_labels_are_listed_and_few_right_ones(tmp_path: Path) -> None:
    home = tmp_path / "planted"
    command = [sys.executable, ROOT / "tests" / "benchmarks" / "bench_suspects.py", "--out", home]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-2000:]
    planted = {(task, row) for task, rows in json.loads((home / "planted.json").read_text()).items() for row in rows}
    with (home / "sift" / "suspects.csv").open(newline="", encoding="utf-8") as file:
        listed = {(row["task"], row["id"]) for row in csv.DictReader(file)}
    hits = len(planted & listed)
    assert len(planted) == 50 and hits >= 0.6 * len(planted) and hits >= 0.8 * len(listed)
    assert (home / "sift" / "suspects.html").stat().st_size > 10_000
