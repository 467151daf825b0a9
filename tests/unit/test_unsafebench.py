from pathlib import Path

import pytest

from mtrl.core.errors import MtrlError, UserError
from mtrl.demo import releases
from tests.unit.releases_fixture import run, task_with


def test_test_stays_whole_and_train_is_cut(tmp_path: Path) -> None:
    releases.unsafebench(tmp_path / "raw", shards=3)
    card, rows = run(task_with("unsafebench"), tmp_path / "raw", tmp_path / "data")
    assert [len(rows[s]) for s in ("train", "val", "test")] == [45, 5, 12]
    assert {row.id for row in rows["test"]} == {f"test-{n:06d}" for n in range(1, 13)}
    assert card["images"]["notes"] == {"mode P, which loaders convert to RGB": 2}


def test_grouped_drops_near_duplicates_of_test(tmp_path: Path) -> None:
    plain = releases.blocks(4)

    def make(number: int):  # type: ignore[no-untyped-def]  # the first test image is a train image, smaller
        return plain(7).resize((56, 56)) if number == 50 else plain(number)

    releases.unsafebench(tmp_path / "raw", make=make)
    card, rows = run(task_with("unsafebench"), tmp_path / "raw", tmp_path / "data", protocol="grouped")
    assert len(rows["test"]) == 12
    assert sum(card["release_counts"]["dropped"].values()) == 1
    assert "train-000008" not in {row.id for split in ("train", "val") for row in rows[split]}


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    folder = releases.unsafebench(tmp_path / "raw", labels=lambda split, n: "safe" if n == 3 else "Safe")
    with pytest.raises(MtrlError, match=r"row 4: label 'safe' in column 'safety_label' is unknown") as error:
        run(task_with("unsafebench"), tmp_path / "raw", tmp_path / "data")
    assert error.value.exit_code == 1
    releases.unsafebench(tmp_path / "raw")
    (folder / "data" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(UserError, match="has 1 of 2 train files"):
        run(task_with("unsafebench"), tmp_path / "raw", tmp_path / "data")
    (folder / "data" / "test-00000-of-00001.parquet").write_bytes(b"PAR1 no")
    (folder / "data" / "train-00000-of-00002.parquet").rename(folder / "data" / "train-0.parquet")
    with pytest.raises(UserError, match="is not readable as parquet"):
        run(task_with("unsafebench"), tmp_path / "raw", tmp_path / "data")
