"""AGIQA-3K and KonIQ-10k: opinion scores of a release that the table converter reads."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from mtrl.core.errors import MtrlError
from mtrl.demo import releases_texts as releases
from tests.unit.releases_fixture import run, task_with


def test_agiqa_scores_are_rounded_and_kept(tmp_path: Path) -> None:
    folder = releases.agiqa(tmp_path / "raw")
    with (folder / "data.csv").open(newline="") as file:
        table = {row["name"]: row for row in csv.DictReader(file)}
    for name, column in (("agiqa_quality", "mos_quality"), ("agiqa_alignment", "mos_align")):
        card, rows = run(task_with(name), tmp_path / "raw", tmp_path / "data")
        found = {row.id: row for held in rows.values() for row in held}
        assert set(found) == set(table) and card["rejects"] == {}
        for key, row in found.items():
            assert row.score == float(table[key][column])
            assert abs(int(row.answer) - row.score) <= 0.5 and 0 <= int(row.answer) <= 5
        groups = [{row.group for row in held} for held in rows.values()]
        assert all(groups) and sum(map(len, groups)) == 10  # no prompt is in two splits


def test_both_tasks_of_agiqa_split_alike(tmp_path: Path) -> None:
    releases.agiqa(tmp_path / "raw")
    one, other = (
        run(task_with(f"agiqa_{name}"), tmp_path / "raw", tmp_path / "data")[1] for name in ("quality", "alignment")
    )
    assert {key: [row.id for row in held] for key, held in one.items()} == {
        key: [row.id for row in held] for key, held in other.items()
    }


def test_the_prompt_is_in_the_alignment_task_alone(tmp_path: Path) -> None:
    releases.agiqa(tmp_path / "raw")
    _, rows = run(task_with("agiqa_alignment"), tmp_path / "raw", tmp_path / "data")
    assert rows["train"][0].fields["caption"].startswith("statue number ")
    _, rows = run(task_with("agiqa_quality"), tmp_path / "raw", tmp_path / "data")
    assert rows["train"][0].fields == {}


def test_koniq_is_from_1_to_5(tmp_path: Path) -> None:
    releases.koniq(tmp_path / "raw")
    card, rows = run(task_with("koniq"), tmp_path / "raw", tmp_path / "data")
    assert {row.score: row.answer for row in rows["test"]} == {1.0: "1", 2.5: "3", 3.914: "4", 4.31: "4"}
    assert not rows["train"] and not rows["val"] and card["rejects"] == {}
    assert rows["test"][0].id == "10004473376.jpg"


def test_koniqs_other_scale_is_an_error(tmp_path: Path) -> None:
    """MOS_zscore, and the MOS of koniq10k_distributions_sets.csv, are from 0 to 100."""
    releases.koniq(tmp_path / "raw")
    other = task_with("koniq", label={"column": "MOS_zscore", "round": "nearest"})
    with pytest.raises(MtrlError, match=r"row 1: score 0 .* is not from 1 to 5"):
        run(other, tmp_path / "raw", tmp_path / "data")
