"""The generic converter: a user's own table, or Hugging Face folder, with one or two image columns and a label column.

source:
  folder: mine              # below --raw, optional
  file: labels.csv          # .csv, .jsonl or .parquet; or a Hugging Face folder: parquet files, or images beside a
                            # metadata.csv / .jsonl / .parquet (also below train/, validation/, test/); "." is `folder`
  images: [image]           # columns that hold file names (or, in parquet, {bytes, path}); two for pairs
  image_folder: images      # where the file names are found, below the folder; default: beside the file
  fields: {caption: caption}  # what the prompt may use: name in the prompt -> column
  id: image                 # optional; default: <file stem>-<row number>

In a Hugging Face folder a row also has the columns `image` (its file_name) and `split` (from the file's or folder's name),
unless it has its own.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtrl.converters import parquet
from mtrl.converters.rows import Picture, Row, below, release_folder
from mtrl.errors import MtrlError, UserError, nearest
from mtrl.schema import Model, validate
from mtrl.tasks import SPLITS, Task

SPLIT_NAMES = {"train": "train", "validation": "val", "valid": "val", "val": "val", "dev": "val", "test": "test"}
TABLES = (".csv", ".jsonl", ".parquet")


class Source(Model):
    file: str
    images: list[str] = ["image"]
    folder: str = ""
    image_folder: str = ""
    fields: dict[str, str] = {}
    id: str | None = None


def rows(task: Task, raw: Path) -> Iterator[Row]:
    source, folder, files = _found(task, raw)
    wanted = [*source.images, *source.fields.values(), task.label.column]
    wanted += [column for column in (source.id, task.split.column, task.split.group) if column]
    records = [record for file in files for record in _records(file, folder / source.file, wanted)]
    answers = task.verdicts((record[task.label.column], where) for _, where, record in records)
    for (file, where, record), answer in zip(records, answers, strict=True):
        split = str(record[task.split.column]).strip() if task.split.column else None
        if split is not None and split not in SPLITS:
            raise MtrlError(f"{where}: split {split!r} is not one of {', '.join(SPLITS)}")
        pictures = folder / source.image_folder if source.image_folder else file.parent
        number = int(where.rpartition(" ")[2])
        prefix = f"{file.parent.name}-{file.stem}" if len(files) > 1 else file.stem
        yield Row(
            id=str(record[source.id]) if source.id else f"{prefix}-{number:06d}",
            images=tuple(_picture(record[column], pictures, where) for column in source.images),
            answer=answer,
            file=file,
            fields={name: str(record[column]) for name, column in source.fields.items()},
            split=split,
            group=str(record[task.split.group]) if task.split.group else "",
            source={"row": number},
        )


def labels(task: Task, raw: Path) -> Iterator[tuple[str | None, dict[str, Any]]]:
    source, folder, files = _found(task, raw)
    wanted = [task.label.column, *([task.split.column] if task.split.column else [])]
    for file in files:
        for _, _, record in _records(file, folder / source.file, wanted):
            split = str(record[task.split.column]).strip() if task.split.column else None
            yield split, {name: value for name, value in record.items() if not isinstance(value, Picture | dict)}


def read_table(file: Path) -> Iterator[dict[str, Any]]:
    """The records of a table in order, images in parquet not yet read. Raises UserError for what its ending does not say."""
    try:
        if file.suffix == ".csv":
            with file.open(encoding="utf-8-sig", newline="") as stream:
                yield from csv.DictReader(stream)
        elif file.suffix == ".jsonl":
            with file.open(encoding="utf-8") as stream:
                for number, line in enumerate(stream, start=1):
                    if line.strip():
                        try:
                            record = json.loads(line)
                        except json.JSONDecodeError as error:
                            raise ValueError(f"line {number}: {error.msg}") from None
                        if not isinstance(record, dict):
                            raise ValueError(f"line {number} is no JSON object")
                        yield record
        elif file.suffix == ".parquet":
            yield from parquet.records(file)
        else:
            raise UserError(f"{file}: a table is .csv, .jsonl or .parquet")
    except (ValueError, csv.Error) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise UserError(f"{file} is not readable as {file.suffix.removeprefix('.')}: {error}") from None


def _found(task: Task, raw: Path) -> tuple[Source, Path, list[Path]]:
    """The settings, the release's folder, and its tables. Raises UserError."""
    source = validate(Source, task.source, f"recipes/tasks/{task.name}.yaml, source")
    folder = release_folder(raw, source.folder, source.file)
    place = folder / source.file
    if not place.is_dir():
        return source, folder, [place]
    nested = [place, *(place / name for name in (*SPLIT_NAMES, "data"))]
    files = [inner / f"metadata{ending}" for inner in nested for ending in TABLES]
    files = [file for file in files if file.is_file()]
    files = files or sorted({*place.glob("*.parquet"), *(place / "data").glob("*.parquet")})
    if not files:
        raise UserError(f"{place} holds neither parquet files nor metadata.csv, .jsonl or .parquet beside images")
    return source, folder, files


def _records(file: Path, place: Path, wanted: list[str]) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """(file, where, record) of every row. Raises UserError for a row that lacks a column, MtrlError for an empty label."""
    named = [word for word in re.split(r"[-_.\d]+", file.stem) if word in SPLIT_NAMES]
    named = named or [part for part in file.parts[len(place.parts) : -1] if part in SPLIT_NAMES]
    for number, record in enumerate(read_table(file), start=1):
        where = f"{file}, row {number}"
        if place.is_dir():
            record.setdefault("image", record.get("file_name"))
            record.setdefault("split", SPLIT_NAMES[named[0]] if named else "train")
        for column in wanted:
            if column not in record:
                raise UserError(f"{where}: no column {column!r}." + nearest(column, map(str, record)))
            if record[column] is None:
                raise UserError(f"{where}: nothing stands in column {column!r}", f"mend {file}, or take the row out")
        yield file, where, record


def _picture(value: Any, folder: Path, where: str) -> Picture:
    if isinstance(value, Picture):  # a parquet cell: {bytes, path}
        return value
    if isinstance(value, dict):
        value = value.get("path")
    return below(folder, str(value or "").strip(), where)
