"""GenAI-Bench: its converter, on generated releases in the real layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mtrl.config.kinds import OTHER
from mtrl.core.errors import MtrlError, UserError
from mtrl.demo import releases_pairs as releases
from mtrl.evaluate.metrics.classification import classification
from mtrl.evaluate.metrics.prediction import Voted
from tests.unit.releases_fixture import asked, run, task_with

SUBSETS = ("generation", "edition")


@pytest.mark.parametrize("subset", SUBSETS)
def test_votes_ties_and_order(subset: str, tmp_path: Path) -> None:
    votes = ["leftvote"] * 9 + ["rightvote"] * 7 + ["tievote"] * 2 + ["bothbad_vote"] * 4
    releases.genaibench(tmp_path / "raw", subset, votes=votes)
    task = task_with(f"genaibench_{subset}")
    card, rows = run(task, tmp_path / "raw", tmp_path / "data")
    assert card["release_counts"]["test"] == {"1": 9, "2": 7, "tie": 6} and card["rows_in_release"] == 22
    assert [row.id for row in rows["test"]] == [str(n) for n in range(22)]  # not the row of the split `test`
    assert [row.source["vote"] for row in rows["test"]] == votes
    assert [row.answer for row in rows["test"]][16:] == ["tie"] * 6
    assert {row.source["swapped"] for row in rows["test"]} == {True, False}
    for row in rows["test"][:16]:
        assert (row.answer == "1") == ((row.source["vote"] == "leftvote") != row.source["swapped"])
    assert len({row.group for row in rows["test"]}) == 11
    for orders in asked(task, tmp_path / "data").values():
        given, turned = orders["given"], orders["turned"]
        assert turned.label == OTHER[given.label]  # a tie stays one
        assert turned.images == (*given.images[:-2], *given.images[:-3:-1]) and given.images[-1] != given.images[-2]


@pytest.mark.parametrize("subset", SUBSETS)
def test_images_and_texts_come_from_their_row(subset: str, tmp_path: Path) -> None:
    releases.genaibench(tmp_path / "raw", subset, rows=10)
    task = task_with(f"genaibench_{subset}")
    _, rows = run(task, tmp_path / "raw", tmp_path / "data")
    draw, shared = releases.blocks(8), subset == "edition"
    for n, row in enumerate(rows["test"]):
        first = (2 + shared) * n
        want = [releases.encoded(draw(first + place), "JPEG", quality=95) for place in range(2 + shared)]
        if row.source["swapped"]:
            want[-2:] = want[:-3:-1]
        assert [(tmp_path / "data" / name).read_bytes() for name in row.images] == want
        told = {"instruction": "instruct_prompt", "source_caption": "source_prompt", "target_caption": "target_prompt"}
        said = {name: f"{column} {n // 2}" for name, column in (told if shared else {"caption": "prompt"}).items()}
        assert row.fields == said
        shown = asked(task, tmp_path / "data")[row.id]["given"].prompt if n == 0 else ""
        assert not shown or all(f'"{text}"' in shown for text in said.values())


def test_the_official_rule() -> None:
    """A=B is right for a tie and for two bad ones, and what cannot be read is wrong: the accuracy of three verdicts."""
    truth, said = ["1", "2", "tie", "tie", "1", "2"], ["1", "1", "tie", "2", "invalid", "2"]
    items = [Voted(str(n), "given", label, verdict) for n, (label, verdict) in enumerate(zip(truth, said, strict=True))]
    assert classification(items, ("1", "2", "tie")).accuracy == 3 / 6


def test_without_ties(tmp_path: Path) -> None:
    """As the comment in the YAML says."""
    releases.genaibench(tmp_path / "raw", rows=20)
    label: dict[str, Any] = {
        "column": "vote_type",
        "values": {"1": ["leftvote"], "2": ["rightvote"]},
        "conflicts": "keep",
    }
    label["drop"] = ["tievote", "bothbad_vote"]
    shared = {style: f"{style}/mmrb2_t2i.jinja" for style in ("sft", "rl")}
    task = task_with("genaibench_generation", tie=False, choices=(), label=label, prompts=shared)
    card, rows = run(task, tmp_path / "raw", tmp_path / "data")
    assert "There is no tie" in asked(task, tmp_path / "data")[rows["test"][0].id]["given"].prompt
    assert card["left_out"]["label.drop"] == 10 and len(rows["test"]) == 10
    assert {row.answer for row in rows["test"]} <= {"1", "2"}


def test_bad_rows(tmp_path: Path) -> None:
    task = task_with("genaibench_generation")
    (tmp_path / "raw/genaibench/image_generation").mkdir(parents=True)
    with pytest.raises(UserError, match=r"has no test_v1-\*.parquet"):
        run(task, tmp_path / "raw", tmp_path / "data")
    releases.genaibench(tmp_path / "raw", votes=["leftvote", "maybe"])
    with pytest.raises(MtrlError, match=r"row 2: label 'maybe' in column 'vote_type' is unknown"):
        run(task, tmp_path / "raw", tmp_path / "data")
    releases.genaibench(tmp_path / "raw")
    file = tmp_path / "raw/genaibench/image_generation/test_v1-00000-of-00001.parquet"
    pq.write_table(pq.read_table(file).drop(["left_image"]), file)
    with pytest.raises(UserError, match="has no column left_image"):
        run(task, tmp_path / "raw", tmp_path / "data")


def test_a_plan_to_train_on_it_says_what_it_is_for(tmp_path: Path, cli) -> None:  # type: ignore[no-untyped-def]
    releases.genaibench(tmp_path / "raw")
    run(task_with("genaibench_generation"), tmp_path / "raw", tmp_path / "data")
    sets = ["--model", "tiny", "--hardware", "cpu", "--tasks", "genaibench_generation", "--data", tmp_path / "data"]
    said = " ".join(cli("plan", "sft_unified", *sets).out.split())
    assert "genaibench_generation has no rows in train and val next: it is for mtrl eval; train on other tasks" in said
