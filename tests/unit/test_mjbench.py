import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtrl.config.kinds import Pair
from mtrl.core.errors import UserError
from mtrl.demo import releases
from tests.unit.releases_fixture import SHARED, run, task_with


def test_order_is_drawn_recorded_and_undoes(tmp_path: Path) -> None:
    releases.mjbench(tmp_path / "raw", labels=[(f"caption {n}", 0) for n in range(60)])
    card, rows = run(task_with("mjbench_alignment"), tmp_path / "raw", tmp_path / "data")
    assert 15 <= card["counts"]["test"]["1"] <= 45
    assert all(row.source["swapped"] == (row.answer == "2") for row in rows["test"])
    assert card["release_counts"]["test"] == {"1": 60, "2": 0}
    turned = rows["test"][0].swapped(Pair(images=[1, 2]))
    assert turned.images == rows["test"][0].images[::-1]
    assert turned.source["swapped"] != rows["test"][0].source["swapped"]


def test_duplicates_are_flagged_in_any_order(tmp_path: Path) -> None:
    releases.mjbench(tmp_path / "raw")
    card, rows = run(task_with("mjbench_alignment"), tmp_path / "raw", tmp_path / "data")
    assert card["duplicates"] == 1
    assert rows["test"][-1].source["duplicate_of"] == "alignment-00001"


def test_the_2025_layout_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "raw" / "mjbench" / "data" / "safety.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table({name: ["x"] for name in ("caption", "category", "subcategory", "model")}), file)
    with pytest.raises(UserError, match="2025 rewrite") as error:
        run(task_with("mjbench_safety"), tmp_path / "raw", tmp_path / "data")
    assert "4b9667374c71463f63ae663ddd88373d3ffc5ba9" in error.value.then
    with pytest.raises(UserError, match=r"no data/alignment\.parquet"):
        run(task_with("mjbench_alignment"), tmp_path / "raw", tmp_path / "data")


def test_real_quality_pairs(tmp_path: Path) -> None:
    file = SHARED / "mjbench_quality_objects" / "quality.parquet"
    if not file.exists():
        pytest.skip("needs shared/data")
    (tmp_path / "raw/mjbench/data").mkdir(parents=True)
    shutil.copy(file, tmp_path / "raw/mjbench/data/quality.parquet")
    card, rows = run(task_with("mjbench_quality"), tmp_path / "raw", tmp_path / "data")
    assert len(rows["test"]) == 100
    assert card["rejects"] == {}
    assert card["duplicates"] == 0
    assert {row.source["image0"] for row in rows["test"]} >= {"furniture_0.jpg"}


def test_real_labels(tmp_path: Path) -> None:
    """673 real captions and labels: 475 distinct questions, so 198 duplicates, and labels 595 to 78."""
    folder = SHARED / "mjbench_labels"
    if not folder.exists():
        pytest.skip("needs shared/data")
    axes = ("existence", "attributes", "actions", "spatial")
    entries = [entry for axis in axes for entry in json.loads((folder / f"alignment_{axis}_test.json").read_text())]
    names: dict[str, int] = {}
    order = [names.setdefault(entry[f"image{i}"], len(names)) for entry in entries for i in (0, 1)]
    draw = releases.blocks(6, 8)
    releases.mjbench(
        tmp_path / "raw", make=lambda n: draw(order[n]), labels=[(e["caption"], e["label"]) for e in entries]
    )
    card, _ = run(task_with("mjbench_alignment"), tmp_path / "raw", tmp_path / "data")
    assert card["release_counts"]["test"] == {"1": 595, "2": 78}
    assert card["duplicates"] == len(entries) - 475
