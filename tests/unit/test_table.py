"""The generic converter over every shape of table and Hugging Face folder; the 25-line benchmark of docs/own-task.md."""

from __future__ import annotations

import csv
import sys
import types
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mtrl.converters
from mtrl.demo.releases import blocks, encoded
from mtrl.errors import UserError
from tests.conftest import ROOT
from tests.unit.releases_fixture import run, table_task

DRAW = blocks(3)
NINE = [(f"{n}.png", n % 2, ("train", "val", "test")[n % 3]) for n in range(9)]
LABEL = {"column": "label", "values": {"yes": ["1"], "no": ["0"]}}


def pictures(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for n, (name, _, _) in enumerate(NINE):
        (folder / name).write_bytes(encoded(DRAW(n), "PNG"))


def parquet(path: Path, rows: list[tuple[str, int, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": encoded(DRAW(int(name[0])), "PNG"), "path": name} for name, _, _ in rows]
    pq.write_table(pa.table({"image": cells, "label": [label for _, label, _ in rows]}), path)


@pytest.mark.parametrize(
    "kind", ["csv", "jsonl", "folder of parquet", "data/ of parquet", "metadata.csv", "metadata below splits"]
)
def test_every_shape(kind: str, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    source = {"file": "."}
    if kind in ("csv", "metadata.csv"):
        pictures(raw)
        source = {"file": "labels.csv" if kind == "csv" else "."}
        with (raw / ("labels.csv" if kind == "csv" else "metadata.csv")).open(
            "w", newline="", encoding="utf-8-sig"
        ) as file:
            csv.writer(file).writerows([["image" if kind == "csv" else "file_name", "label", "split"], *NINE])
    elif kind == "jsonl":
        pictures(raw)
        (raw / "l.jsonl").write_text("\n".join(f'{{"image": "{n}", "label": {v}, "split": "{s}"}}' for n, v, s in NINE))
        source = {"file": "l.jsonl"}
    elif kind == "metadata below splits":
        for split, folder in (("train", "train"), ("val", "validation"), ("test", "test")):
            pictures(raw / folder)
            own = [row[:2] for row in NINE if row[2] == split]
            with (raw / folder / "metadata.csv").open("w", newline="") as file:
                csv.writer(file).writerows([["file_name", "label"], *own])
    else:
        for split, word in (("train", "train"), ("val", "validation"), ("test", "test")):
            base = raw / "data" if "data/" in kind else raw
            parquet(base / f"{word}-00000-of-00001.parquet", [row for row in NINE if row[2] == split])
    task = table_task(tmp_path / "unused", [], source=source, split={"by": "column", "column": "split"})
    card, rows = run(task, raw, tmp_path / "data")
    assert [len(rows[split]) for split in ("train", "val", "test")] == [3, 3, 3]
    assert card["counts"] == {"train": {"yes": 1, "no": 2}, "val": {"yes": 2, "no": 1}, "test": {"yes": 1, "no": 2}}
    assert len({row.id for held in rows.values() for row in held}) == 9


def test_parquet_images_come_row_by_row_and_again(tmp_path: Path) -> None:
    from mtrl.converters import parquet as reading

    many = [(f"{n % 9}.png", n % 2, "") for n in range(50)]
    parquet(tmp_path / "a.parquet", many)
    records = list(reading.records(tmp_path / "a.parquet"))
    assert [record["image"].name for record in records] == [name for name, _, _ in many]
    want = [encoded(DRAW(n % 9), "PNG") for n in range(50)]
    assert [record["image"].read() for record in records] == want
    assert records[3]["image"].read() == want[3]  # back to the start
    assert records[44]["image"].read() == want[44]  # and over a gap


def test_rows_that_lack_something(tmp_path: Path) -> None:
    for record, said in (
        ({"image": "a.png"}, "no column 'label'"),
        ({"imgae": "a.png", "label": 1}, "Did you mean 'imgae'"),
    ):
        with pytest.raises(UserError, match=said):
            run(table_task(tmp_path / "raw", [record]), tmp_path / "raw", tmp_path / "data")
    (tmp_path / "raw" / "labels.jsonl").write_text("[1]\n")
    with pytest.raises(UserError, match="line 1 is no JSON object"):
        run(table_task(tmp_path / "other", []), tmp_path / "raw", tmp_path / "data")
    (tmp_path / "raw" / "empty").mkdir()
    with pytest.raises(UserError, match="holds neither parquet files nor metadata"):
        run(table_task(tmp_path / "other", [], source={"file": "empty"}), tmp_path / "raw", tmp_path / "data")


NEW_BENCHMARK = """
from collections.abc import Iterator
from pathlib import Path

from mtrl.converters.rows import Row, below, release_folder
from mtrl.converters.table import read_table
from mtrl.tasks import Task


def rows(task: Task, raw: Path) -> Iterator[Row]:
    folder = release_folder(raw, "mybench", "scores.csv")
    records = list(read_table(folder / "scores.csv"))
    places = [f"{folder}/scores.csv, row {n}" for n in range(1, len(records) + 1)]
    answers = task.verdicts(zip((r[task.label.column] for r in records), places, strict=True))
    for record, place, answer in zip(records, places, answers, strict=True):
        yield Row(
            id=record["name"],
            images=(below(folder / "pictures", record["name"], place),),
            answer=answer,
            file=folder / "scores.csv",
            fields={"caption": record["prompt"]},
        )
"""


def test_a_new_benchmark_in_25_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(NEW_BENCHMARK.strip().splitlines()) <= 25
    module = types.ModuleType("mtrl.converters.mybench")
    exec(NEW_BENCHMARK, module.__dict__)
    monkeypatch.setitem(sys.modules, "mtrl.converters.mybench", module)
    monkeypatch.setattr(mtrl.converters, "mybench", module, raising=False)
    pictures(tmp_path / "raw/mybench/pictures")
    with (tmp_path / "raw/mybench/scores.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["name", "prompt", "score"], *((name, f"p {name}", n) for n, (name, _, _) in enumerate(NINE))]
        )
    label = {"column": "score", "rule": {"when": ">= 5", "then": "yes"}}
    card, _ = run(
        table_task(tmp_path / "unused", [], converter="mybench", source={}, label=label),
        tmp_path / "raw",
        tmp_path / "data",
    )
    assert sum(counts["yes"] for counts in card["counts"].values()) == 4


def test_the_readme_shows_exactly_that() -> None:
    assert NEW_BENCHMARK.strip() in (ROOT / "docs" / "own-task.md").read_text(encoding="utf-8")
