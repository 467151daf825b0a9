"""What stops a conversion, or is warned of: labels that disagree, one verdict only, splits and files that are not as
said.
"""

from __future__ import annotations

import csv
import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mtrl.config import datacard, tasks
from mtrl.converters.base import Row
from mtrl.converters.checks.converted import examine
from mtrl.converters.pipeline import counts as findings
from mtrl.converters.pipeline.accept import accepted
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import read_json
from mtrl.demo.releases import blocks, encoded
from tests.unit.releases_fixture import hashes, run, table_task

DRAW = blocks(5)
PAIR = {"kind": "pairwise", "name": "mjbench_quality", "source": {"file": "labels.jsonl", "images": ["a", "b"]}}


def labels(how: str | None, pair: bool = False) -> dict[str, Any]:
    values = {"1": ["0"], "2": ["1"]} if pair else {"yes": [1], "no": [0]}
    return {"column": "label", "values": values, **({"conflicts": how} if how else {})}


def pictures(folder: Path, count: int = 4) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number}.png").write_bytes(encoded(DRAW(number), "PNG"))
    (folder / "copy of 0.png").write_bytes((folder / "0.png").read_bytes())
    return folder


# 0.png and its copy: yes, no, no; 1.png no; 2.png yes; 3.png yes
ROWS = [{"image": "0.png", "label": 1}, {"image": "1.png", "label": 0}, {"image": "copy of 0.png", "label": 0},
        {"image": "2.png", "label": 1}, {"image": "0.png", "label": 0}, {"image": "3.png", "label": 1}]  # fmt: skip


def kept(rows: dict[str, list[Any]]) -> dict[str, str]:
    return {row.id: row.answer for held in rows.values() for row in held}


def test_one_image_labelled_both_ways(tmp_path: Path) -> None:
    raw = pictures(tmp_path / "raw")
    with pytest.raises(UserError) as error:
        run(table_task(raw, ROWS), raw, tmp_path / "data")
    assert "rows that ask the same (same images, same fields) have both labels, in 1 cases" in str(error.value)
    for row in ("row 0.png is yes", "row copy of 0.png is no", "row 0.png (row 5) is no"):
        assert row in str(error.value)
    assert "conflicts: drop" in error.value.then and "conflicts: majority" in error.value.then
    undisputed = {"1.png": "no", "2.png": "yes", "3.png": "yes"}
    card, rows = run(table_task(raw, ROWS, label=labels("drop")), raw, tmp_path / "data")
    assert kept(rows) == undisputed
    assert card["left_out"] == {"label.conflicts": 3} and card["conflicts"] == 3 and card["rows_in_release"] == 6
    card, rows = run(table_task(raw, ROWS, label=labels("majority")), raw, tmp_path / "data")
    assert kept(rows) == {**undisputed, "copy of 0.png": "no", "0.png (row 5)": "no"}
    assert card["left_out"] == {"label.conflicts": 1}
    card, rows = run(table_task(raw, ROWS[:4], label=labels("majority")), raw, tmp_path / "data")
    assert kept(rows) == {"1.png": "no", "2.png": "yes"}, "one against one is no majority"
    task = table_task(raw, ROWS, label=labels("keep"))
    card, rows = run(task, raw, tmp_path / "data")
    assert len(kept(rows)) == 6 and card["left_out"] == {} and card["conflicts"] == 3
    assert "3 rows ask what another row asks" in "".join(check.text for check in examine(task, tmp_path / "data"))


def test_another_caption_is_another_question(tmp_path: Path) -> None:
    raw = pictures(tmp_path / "raw")
    source = {"file": "labels.jsonl", "fields": {"caption": "text"}}
    rows = [{"image": "0.png", "text": "a", "label": 1}, {"image": "0.png", "text": "b", "label": 0}]
    run(table_task(raw, rows, source=source, name="seetrue"), raw, tmp_path / "data")
    rows[1]["text"] = "a"
    with pytest.raises(UserError, match="both labels"):
        run(table_task(raw, rows, source=source, name="seetrue"), raw, tmp_path / "data")


@pytest.mark.parametrize(("second", "label", "disputed"), [
    (("0.png", "1.png"), 0, False), (("0.png", "1.png"), 1, True),
    (("1.png", "0.png"), 1, False), (("1.png", "0.png"), 0, True),
])  # fmt: skip
def test_a_pair_is_one_question_in_both_orders(
    second: tuple[str, str], label: int, disputed: bool, tmp_path: Path
) -> None:
    raw = pictures(tmp_path / "raw")
    rows = [{"a": "0.png", "b": "1.png", "label": 0}, {"a": second[0], "b": second[1], "label": label}]
    task = table_task(raw, rows, **PAIR, label=labels(None, pair=True))
    if not disputed:
        assert run(task, raw, tmp_path / "data")[0]["conflicts"] == 0
    else:
        with pytest.raises(UserError, match="both labels"):
            run(task, raw, tmp_path / "data")


def test_labels_across_splits_conflict_too(tmp_path: Path) -> None:
    raw = pictures(tmp_path / "raw")
    rows = [{"image": "0.png", "label": 1, "part": "train"}, {"image": "copy of 0.png", "label": 0, "part": "test"}]
    with pytest.raises(UserError, match="both labels"):
        run(table_task(raw, rows, split={"column": "part"}), raw, tmp_path / "data")


def test_the_papers_tasks_keep_every_row() -> None:
    """Their published counts are of all rows; the conversions of whole releases are in test_labels and test_convert."""
    assert {task.label.conflicts for task in tasks.load_all()} == {"keep"}
    assert {task.label.rule.ties for task in tasks.load_all() if task.converter == "agin" and task.label.rule} == {
        "first"
    }


def test_a_column_alone_is_used(tmp_path: Path) -> None:
    raw = pictures(tmp_path / "raw")
    parts = ["test", "train", "val", "test"]
    rows = [{"image": f"{n}.png", "label": n % 2, "part": part} for n, part in enumerate(parts)]
    card, found = run(table_task(raw, rows, split={"column": "part"}), raw, tmp_path / "data")
    assert {split: {row.id for row in held} for split, held in found.items()} == {
        "train": {"1.png"}, "val": {"2.png"}, "test": {"0.png", "3.png"}}  # fmt: skip
    assert card["split"]["by"] == "column"
    for split, said in (
        ({"column": "part", "by": "random"}, "split.column part would be ignored"),
        ({"column": "part", "seed": 3}, "split.seed would be ignored"),
        ({"column": "part", "parts": {"train": 0.5, "test": 0.5}}, "split.parts would be ignored"),
        ({"column": "part", "by": "column", "official": ["test"]}, "split.official would be ignored"),
    ):
        with pytest.raises(UserError, match=said):
            table_task(raw, rows, split=split)
    left = table_task(raw, rows, split={"column": "part", "official": ["test"], "parts": {"train": 0.5, "val": 0.5}})
    _, found = run(left, raw, tmp_path / "data")
    assert {row.id for row in found["test"]} == {"0.png", "3.png"} and len(found["train"]) == len(found["val"]) == 1


def test_splits_that_cannot_be_honoured(tmp_path: Path) -> None:
    raw = pictures(tmp_path / "raw")
    rows = [
        {"image": f"{n}.png", "label": n % 2, "part": part, "shot": "s"} for n, part in enumerate(("train", "test"))
    ]
    for split, said in (
        (
            {"column": "part", "group": "shot"},
            r"split.group is 'shot', and 1 of its 1 values .*'s' is in train \(row 0.png\)",
        ),
        ({"official": ["test"], "parts": {"train": 0.5, "val": 0.5}}, "split.official names test, and no row"),
        ({"column": "part", "official": ["val"], "parts": {"train": 1.0}}, "split.official names val, and no row"),
    ):
        with pytest.raises(UserError, match=said) as error:
            run(table_task(raw, rows, split=split), raw, tmp_path / "data")
        assert error.value.then
    grouped = table_task(raw, rows, split={"column": "part", "group": "shot", "protocol": "grouped"})
    assert run(grouped, raw, tmp_path / "data")[0]["release_counts"]["dropped"] == {"yes": 0, "no": 1}


def test_one_verdict_is_warned_of(tmp_path: Path, cli) -> None:  # type: ignore[no-untyped-def]
    raw = pictures(tmp_path / "raw")
    rows = [{"image": f"{n}.png", "label": 1, "part": ("train", "test")[n % 2]} for n in range(4)]
    task = table_task(raw, rows, split={"column": "part"})
    run(task, raw, tmp_path / "data")
    for found in (
        findings.of_card(task.name, datacard.read(tmp_path / "data", task.name)),
        examine(task, tmp_path / "data"),
    ):
        warned = [check.text for check in found if check.level == "warning" and "every row of" in check.text]
        assert [text.partition(":")[2].split(",")[0] for text in warned] == [
            " every row of train is 'yes'", " every row of test is 'yes'"]  # fmt: skip


def test_left_out_rows_are_counted(tmp_path: Path, cli, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "raw")
    for style, ending in (("sft", "Answer yes or no."), ("rl", "<think>why</think><answer>yes or no</answer>")):
        (tmp_path / "prompts" / style).mkdir(parents=True)
        (tmp_path / "prompts" / style / "rated.jinja").write_text(f"<image> Good? {ending}")
    file = tmp_path / "recipes/tasks/rated.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("title: t\ncapability: quality\nsource: {file: r.csv}\nsplit: {parts: {train: 0.5, val: 0.5}}\n"
                    "label: {column: stars, values: {yes: [4, 5], no: [1, 2]}, drop: [3]}\n")  # fmt: skip
    with (tmp_path / "raw/r.csv").open("w", newline="") as table:
        csv.writer(table).writerows([["image", "stars"], *((f"{n}.png", n + 2) for n in range(4)), ["gone.png", 3]])
    done = cli("convert", "rated", "--raw", "raw")
    assert done.code == 0 and "2 of 5 rows are left out by label.drop" in done.out, done.err
    card = read_json(tmp_path / "data/rated/card.json")
    assert card["left_out"] == {"label.drop": 2} and card["rows_in_release"] == 5
    assert sum(sum(counts.values()) for counts in card["counts"].values()) == 3
    assert "nothing has changed" in cli("convert", "rated", "--raw", "raw").out
    file.write_text(file.read_text().replace(", drop: [3]", ""))
    done = cli("convert", "rated", "--raw", "raw")
    assert done.code == 1 and "2 of 5 rows have a label without a meaning: '3' (2 rows)" in done.err
    assert "label.drop" in done.err and "a judge answers yes or no" in done.err


@pytest.mark.parametrize("kind", ["wrong folder", "backslashes"])
def test_images_that_are_elsewhere(kind: str, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    pictures(raw / "mine/photos/all")
    name = "all/{}.png" if kind == "wrong folder" else "photos\\all\\{}.png"
    source = {"folder": "mine", "file": "labels.jsonl", "image_folder": "pics" if kind == "wrong folder" else ""}
    task = table_task(raw / "mine", [{"image": name.format(n), "label": n % 2} for n in range(3)], source=source)
    with pytest.raises(UserError, match="3 of 3 images are missing") as error:
        run(task, raw, tmp_path / "data")
    if kind == "wrong folder":
        assert "3 of the first 3 are in" in error.value.then and "image_folder: photos under source" in error.value.then
    else:
        assert "backslashes" in error.value.then and "labels.jsonl" in error.value.then


def test_a_failed_conversion_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, data = pictures(tmp_path / "raw"), tmp_path / "data"
    good = [{"image": f"{n}.png", "label": n % 2} for n in range(4)]
    task = table_task(raw, good)
    run(task, raw, data)
    before = hashes(data)

    def nothing_changed() -> None:
        assert hashes(data) == before
        assert not [check for check in examine(task, data) if check.level == "error"]

    bad = [*good, {"image": "copy of 0.png", "label": 1}]
    with pytest.raises(UserError, match="both labels"):  # seen when all images are read
        run(table_task(raw, bad), raw, data)
    nothing_changed()
    table_task(raw, good)
    with (raw / "labels.jsonl").open("a") as file:
        file.write('{"image": "1.png", "label": "\\ud800"}\n')
    with pytest.raises(UserError, match=r"labels.jsonl, line 5 .*surrogate"):
        run(task, raw, data)
    nothing_changed()
    table_task(raw, good[:3])
    replace = os.replace

    def full(source: Path, to: Path) -> None:
        if "rl_test" in str(to):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, to)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(MtrlError, match="No space left"):
            run(task, raw, data)
    nothing_changed()
    assert run(task, raw, data)[0]["rows_in_release"] == 3


@pytest.mark.parametrize("score", [float("nan"), float("inf"), "4.5", True, 10**400])
def test_a_score_that_is_no_number_is_the_converters_error(score: Any, tmp_path: Path) -> None:
    task = table_task(pictures(tmp_path / "raw"), ROWS)
    row = Row("7", (), "yes", tmp_path / "labels.jsonl", score=score)
    with pytest.raises(UserError, match=r"row 7 has the score .*, not a number"):
        accepted(task, [row], tmp_path)
    assert accepted(task, [replace(row, score=4)], tmp_path).rows
