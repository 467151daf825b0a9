"""The generic converter over every shape of table and Hugging Face folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtrl.config.tasks import Task
from mtrl.converters.readers.tables import read_table
from mtrl.core.errors import MtrlError, UserError
from mtrl.demo.releases import blocks, encoded
from mtrl.evaluate import image_items as items
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
    "kind", ["csv", "jsonl", "json", "folder of parquet", "data/ of parquet", "metadata.csv", "metadata below splits"]
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
    elif kind == "json":
        pictures(raw)
        (raw / "l.json").write_text(json.dumps([{"image": n, "label": v, "split": s} for n, v, s in NINE]))
        source = {"file": "l.json"}
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
    from mtrl.converters.readers import parquet as reading

    many = [(f"{n % 9}.png", n % 2, "") for n in range(50)]
    parquet(tmp_path / "a.parquet", many)
    records = list(reading.records(tmp_path / "a.parquet"))
    assert [record["image"].name for record in records] == [name for name, _, _ in many]
    want = [encoded(DRAW(n % 9), "PNG") for n in range(50)]
    assert [record["image"].read() for record in records] == want
    assert records[3]["image"].read() == want[3]  # back to the start
    assert records[44]["image"].read() == want[44]  # and over a gap


def test_parquet_images_of_a_list_come_row_by_row(tmp_path: Path) -> None:
    from mtrl.converters.readers import parquet as reading

    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [
        [{"bytes": encoded(DRAW(10 * n + place), "PNG"), "path": f"{n}-{place}.png" if place else None}
         for place in range(n % 4)]
        for n in range(20)
    ]  # fmt: skip
    cells[12] = None  # no list is an empty one
    alone = [{"bytes": encoded(DRAW(n), "PNG"), "path": f"{n}.png"} for n in range(20)]
    held = pa.table({"pair": pa.array(cells, pa.list_(struct)), "one": pa.array(alone, struct), "n": list(range(20))})
    pq.write_table(held, tmp_path / "a.parquet")
    assert reading.columns(tmp_path / "a.parquet") == {"pair": True, "one": True, "n": False}
    records = list(reading.records(tmp_path / "a.parquet"))
    assert [len(record["pair"]) for record in records] == [len(cell or ()) for cell in cells]
    assert [picture.name for picture in records[3]["pair"]] == ["pair 1 of row 4", "3-1.png", "3-2.png"]
    for n in (0, 3, 19, 7):
        assert [picture.read() for picture in records[n]["pair"]] == [struct["bytes"] for struct in cells[n]]
        assert records[n]["one"].read() == alone[n]["bytes"]
    task = table_task(tmp_path, [], source={"file": "a.parquet", "images": ["pair"]}, label={
        "column": "n", "rule": {"when": ">= 1", "then": "yes"}})  # fmt: skip
    with pytest.raises(UserError, match=r"a.parquet, row 1: the cell has a list of 0 images, and one was expected"):
        run(task, tmp_path, tmp_path / "data")


def test_rows_that_lack_something(tmp_path: Path) -> None:
    for record, said in (
        ({"image": "a.png"}, "no column 'label'"),
        ({"imgae": "a.png", "label": 1}, "Did you mean 'imgae'"),
    ):
        with pytest.raises(UserError, match=said):
            run(table_task(tmp_path / "raw", [record]), tmp_path / "raw", tmp_path / "data")
    (tmp_path / "raw" / "labels.jsonl").write_text("[1]\n")
    with pytest.raises(UserError, match="line 1 is not a JSON object"):
        run(table_task(tmp_path / "other", []), tmp_path / "raw", tmp_path / "data")
    for text in ('{"image": "a.png"}', "[1]"):
        (tmp_path / "raw" / "labels.json").write_text(text)
        with pytest.raises(UserError, match=r"labels\.json is not a list of JSON objects"):
            run(table_task(tmp_path / "other", [], source={"file": "labels.json"}), tmp_path / "raw", tmp_path / "data")
    (tmp_path / "raw" / "empty").mkdir()
    with pytest.raises(UserError, match="has neither parquet files nor images with a metadata"):
        run(table_task(tmp_path / "other", [], source={"file": "empty"}), tmp_path / "raw", tmp_path / "data")


def ids(task: Task, raw: Path, data: Path) -> set[str]:
    return {row.id for held in run(task, raw, data)[1].values() for row in held}


def test_an_id_is_the_file_name(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    pictures(raw / "images/deep")
    names = ["deep/0.png", "./deep/1.png", "deep/2.png", "deep/1.png"]
    task = table_task(
        raw,
        [{"image": name, "label": "1"} for name in names],
        source={"file": "labels.jsonl", "image_folder": "images"},
    )
    assert ids(task, raw, tmp_path / "data") == {"deep/0.png", "deep/1.png", "deep/2.png", "deep/1.png (row 4)"}
    pairs = table_task(
        raw,
        [{"a": "deep/0.png", "b": "deep/1.png", "label": "a"}],
        kind="pairwise",
        label={"column": "label", "values": {1: ["a"], 2: ["b"]}},
        name="mjbench_quality",
        source={"file": "labels.jsonl", "image_folder": "images", "images": ["a", "b"]},
    )
    assert ids(pairs, raw, tmp_path / "data") == {"deep/0.png deep/1.png"}


def test_ids_of_a_hugging_face_folder(tmp_path: Path) -> None:
    for split in ("train", "test"):
        pictures(tmp_path / "raw" / split)
        with (tmp_path / "raw" / split / "metadata.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["file_name", "label"], *(row[:2] for row in NINE[:2])])
    task = table_task(tmp_path / "unused", [], source={"file": "."}, split={"column": "split"})
    assert ids(task, tmp_path / "raw", tmp_path / "data") == {
        f"{split}/{n}.png" for split in ("train", "test") for n in (0, 1)
    }
    for shard in ("train-00000-of-00001", "test-00000-of-00001"):
        parquet(tmp_path / "shards/data" / f"{shard}.parquet", NINE[:2])
    assert ids(task, tmp_path / "shards", tmp_path / "two") == {
        "0.png",
        "1.png",
        "0.png (data-train-00000-of-00001, row 1)",
        "1.png (data-train-00000-of-00001, row 2)",
    }
    cells = [{"bytes": encoded(DRAW(n), "PNG"), "path": None} for n in range(2)]
    pq.write_table(pa.table({"image": cells, "label": [0, 1]}), tmp_path / "bare.parquet")
    bare = table_task(tmp_path / "unused", [], source={"file": "bare.parquet"})
    assert ids(bare, tmp_path, tmp_path / "three") == {"bare-000001", "bare-000002"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "image,caption,label\na.png,A large, open living room,yes\n",
            r"labels.csv, row 1 \(line 2\) has 4 cells, and the header has 3 columns .*comma in a text without quotes",
        ),
        ("image,label,caption\na.png,yes,A large, open living room\n", r"row 1 \(line 2\) has 4 cells"),
        (
            "image,label,caption,,\na.png,yes,A large, open,\n",
            r"row 1 \(line 2\) has 5 cells, and the header has 3 columns",
        ),
        (
            'image,caption,label\na.png,"two\nlines",1\nb.png,x\n',
            r"row 2 \(line 4\) has 2 cells.*a line break in a text",
        ),
        ("image,label,label\na.png,1,0\n", r"labels.csv, line 1: the header names column 'label' twice"),
        (
            "image;label\na.png;1\n",
            r"labels.csv, line 1: the columns are separated by semicolons, not commas: image;label",
        ),
        ("image\tlabel\na.png\t1\n", "the columns are separated by tabs"),
        ('image,caption,label\na.png,"never closed,1\n', r"row 1 \(line 2\): unexpected end of data"),
        ('image,caption,label\na.png,"a" b,1\n', r"row 1 \(line 2\): .* expected after"),
    ],
)
def test_a_csv_that_is_not_one_table(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(UserError, match=said) as error:
        list(read_table(tmp_path / "labels.csv"))
    assert error.value.then
    with pytest.raises(UserError, match=said):  # a judge's table is read by the same reader
        items.read([tmp_path / "labels.csv"], "unsafebench", "sft", {})


def test_a_csv_as_spreadsheets_leave_it(tmp_path: Path) -> None:
    (tmp_path / "a.CSV").write_bytes(b"\xef\xbb\xbfimage,label,,\r\na.png,1,,\r\n\r\nb.png,0,,\r\n")
    assert list(read_table(tmp_path / "a.CSV")) == [{"image": "a.png", "label": "1"}, {"image": "b.png", "label": "0"}]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1252"])
def test_an_encoding_is_named(ending: str, encoding: str, tmp_path: Path) -> None:
    file = tmp_path / f"labels.{ending}"
    file.write_text(
        '{"image": "é.png", "label": 1}\n' if ending == "jsonl" else "image,label\né.png,1\n", encoding=encoding
    )
    with pytest.raises(UserError, match=r"is UTF-16 text" if encoding != "cp1252" else r"line \d.* is not .*UTF-8"):
        list(read_table(file))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"image": "a.png", "label": 1, "label": 0}', "'label' is given twice"),
        ('{"image": "a.png", "label": "\\ud800"}', "surrogate"),
        ('{"image": "a.png", "label": ' + "[" * 10_000 + "]" * 10_000 + "}", "nested deeper"),
        ('{"image": "a.png", "label": ' + "9" * 5_000 + "}", "integer"),
    ],
)
def test_a_hostile_line_is_one_line_of_error(line: str, said: str, tmp_path: Path) -> None:
    task = table_task(tmp_path, [])
    (tmp_path / "labels.jsonl").write_text('\ufeff{"image": "a.png", "label": 1}\n' + line + "\n")
    with pytest.raises(UserError, match=rf"labels.jsonl, line 2 .*{said}") as error:
        run(task, tmp_path, tmp_path / "data")
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_a_hostile_cell_is_one_line_of_error(tmp_path: Path) -> None:
    task = table_task(
        tmp_path, [], source={"file": "labels.csv"}, label={"column": "label", "rule": {"when": ">= 1", "then": "yes"}}
    )
    for cell in ("9" * 5_000, "[" * 10_000, "x" * 200_000):
        (tmp_path / "labels.csv").write_text(f"image,label\na.png,{cell}\n")
        with pytest.raises(MtrlError) as error:
            run(task, tmp_path, tmp_path / "data")
        assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_parquet_columns_of_one_name(tmp_path: Path) -> None:
    column = pa.array(["1"])
    pq.write_table(pa.Table.from_arrays([column, column], ["label", "label"]), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a.parquet has two columns 'label'"):
        list(read_table(tmp_path / "a.parquet"))


def test_columns_that_do_not_fit_the_kind(tmp_path: Path) -> None:
    label = {"column": "label", "values": {"1": ["a"], "2": ["b"]}}
    for images, said in (
        (None, r"source.images is missing, so it is \['image'\]"),
        (["image"], r"source.images is \['image'\]"),
    ):
        source = {"file": "labels.jsonl", **({"images": images} if images else {})}
        task = table_task(tmp_path, [], kind="pairwise", label=label, source=source)
        with pytest.raises(UserError, match=said + ", and a pairwise task with 2 images per row needs as many columns"):
            run(task, tmp_path, tmp_path / "data")
    task = table_task(tmp_path, [], source={"file": "labels.jsonl", "images": ["a", "b"]})
    with pytest.raises(UserError, match="a pointwise task needs one column"):
        run(task, tmp_path, tmp_path / "data")
