import zipfile
from pathlib import Path

import pytest

from mtrl.core.errors import MtrlError, UserError
from mtrl.demo import releases
from tests.unit.releases_fixture import run, task_with


def test_reads_inside_the_zip(tmp_path: Path) -> None:
    folder = releases.seetrue(tmp_path / "raw")
    card, rows = run(task_with("seetrue"), tmp_path / "raw", tmp_path / "data")
    assert [len(rows[s]) for s in ("train", "val", "test")] == [48, 6, 6]
    assert sorted(p.name for p in folder.iterdir()) == ["SeeTRUE.csv", "images.zip"]
    assert any("=" in row.source["image"] for row in rows["train"])
    assert card["leakage"]["caption"]["test_in_train"] > 0


def test_grouped_shares_no_caption(tmp_path: Path) -> None:
    releases.seetrue(tmp_path / "raw", rows=120, captions=40)
    card, rows = run(task_with("seetrue"), tmp_path / "raw", tmp_path / "data", protocol="grouped")
    assert set(card["leakage"]["caption"].values()) == {0}
    assert sum(map(len, rows.values())) == 120
    assert rows["test"] and rows["val"]
    assert card["protocol"] == "grouped"


def test_members_that_are_missing_damaged_climbing_or_doubtful_cost_their_rows(tmp_path: Path) -> None:
    folder = releases.seetrue(tmp_path / "raw", rows=6)
    good = releases.encoded(releases.blocks(9)(0), "PNG")
    table = "image,text,label,original_dataset_id,dataset_source\n"
    names = [
        "fine.png",
        "gone.png",
        "climbs.png",
        "twice.png",
        "nothing.png",
        "ümlaut=1.png",
        "untexted.png",
        "rotten.png",
    ]
    for name in names:
        table += f"{name},{'' if name == 'untexted.png' else 'a cat'},1,,x\n"
    (folder / "SeeTRUE.csv").write_text(table, encoding="utf-8")
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for name, data in {
            "images/fine.png": good,
            "../../climbs.png": good,
            "a/twice.png": good,
            "b/twice.png": good + b"x",
            "nothing.png": b"",
            "images/ümlaut=1.png": good,
            "untexted.png": good,
        }.items():
            archive.writestr(name, data)
        archive.writestr("rotten.png", b"R" * 100)
    whole = (folder / "images.zip").read_bytes()
    (folder / "images.zip").write_bytes(whole.replace(b"R" * 100, b"Q" * 100))
    card, rows = run(task_with("seetrue"), tmp_path / "raw", tmp_path / "data")
    assert sum(map(len, rows.values())) == 2
    assert card["rejects"] == {
        "damaged in images.zip": 1,
        "empty file": 1,
        "its name leads out of images.zip": 1,
        "no text": 1,
        "not in images.zip": 1,
        "several different members of images.zip have its name": 1,
    }
    assert not (tmp_path / "climbs.png").exists()


def test_labels_and_zip_must_be_whole(tmp_path: Path) -> None:
    folder = releases.seetrue(tmp_path / "raw", labels=[("a", 1), ("b", 2)])
    with pytest.raises(MtrlError, match=r"SeeTRUE.csv, row 2: label '2'") as error:
        run(task_with("seetrue"), tmp_path / "raw", tmp_path / "data")
    assert error.value.exit_code == 1
    (folder / "images.zip").write_bytes((folder / "images.zip").read_bytes()[:200])
    with pytest.raises(UserError, match="not a complete zip"):
        run(task_with("seetrue"), tmp_path / "raw", tmp_path / "data")
