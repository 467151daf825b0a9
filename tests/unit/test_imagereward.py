import json
import uuid
from pathlib import Path

import pytest

from mtrl.core.errors import UserError
from mtrl.demo import releases
from tests.unit.releases_fixture import SHARED, run, task_with


def test_configuration_and_official_splits(tmp_path: Path) -> None:
    folder = releases.imagereward(tmp_path / "raw")
    small, rows = run(task_with("imagereward"), tmp_path / "raw", tmp_path / "data")
    assert {row.source["where"].split("-")[1].split(".")[0] for row in rows["val"]} == {"validation"}
    full, more = run(task_with("imagereward", source={"config": "2k"}), tmp_path / "raw", tmp_path / "data")
    assert small["rows_in_release"] < full["rows_in_release"]
    assert len(rows["test"]) == len(more["test"])
    assert all(
        (row.source["image_text_alignment_rating"] >= 6) == (row.answer == "yes") for r in more.values() for row in r
    )
    (folder / "images/test/test_2.zip").unlink()
    with pytest.raises(UserError, match=r"lacks images/test/test_2.zip \(1 of"):
        run(task_with("imagereward"), tmp_path / "raw", tmp_path / "data")


def test_grouped_keeps_the_official_test_whole(tmp_path: Path) -> None:
    texts = [f"prompt {n % 20}" for n in range(24)]  # the last four prompts, of test, stand in train too
    releases.imagereward(tmp_path / "raw", texts=texts)
    task = task_with("imagereward", source={"config": "2k"})
    paper, before = run(task, tmp_path / "raw", tmp_path / "data")
    assert paper["leakage"]["caption"]["test_in_train"] == 4
    card, rows = run(task, tmp_path / "raw", tmp_path / "data", protocol="grouped")
    assert [row.id for row in rows["test"]] == [row.id for row in before["test"]]
    assert set(card["leakage"]["caption"].values()) == {0}
    assert sum(card["release_counts"]["dropped"].values()) == len(before["train"]) - len(rows["train"]) > 0


def test_real_prompts(tmp_path: Path) -> None:
    """The 466 prompts of the release's test set, as captions: 10 are not ASCII, 3 stand twice, one has 927 letters."""
    file = SHARED / "imagereward" / "test.json"
    if not file.exists():
        pytest.skip("needs shared/data")
    entries = json.loads(file.read_text())
    assert sum(len(entry["generations"]) for entry in entries) == 2720
    assert all(uuid.UUID(Path(name).stem) for entry in entries for name in entry["generations"])
    prompts = [entry["prompt"] for entry in entries]
    folder = releases.imagereward(
        tmp_path / "raw", {"train": 1, "validation": 1, "test": 466}, make=releases.blocks(1, 8),
        texts=["", " ", *prompts], zips={"train": 1, "validation": 1, "test": 2},
    )  # fmt: skip
    assert len(list(folder.glob("images/test/*.zip"))) == 2
    card, rows = run(task_with("imagereward"), tmp_path / "raw", tmp_path / "data")
    captions = {row.fields["caption"] for row in rows["test"]}
    assert {prompt.strip() for prompt in prompts if "<" not in prompt} <= captions
    assert card["rejects"] == {}
