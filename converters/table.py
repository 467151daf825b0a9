"""The generic converter: a user's own table, or Hugging Face folder, with one or two image columns and a label column.

source:
  folder: mine              # below --raw, optional
  file: labels.csv          # .csv, .jsonl or .parquet; or a Hugging Face folder: parquet files, or images beside a
                            # metadata.csv / .jsonl / .parquet (also below train/, validation/, test/); "." is `folder`
  images: [image]           # columns that hold file names (or, in parquet, {bytes, path}); two for pairs
  image_folder: images      # where the file names are found, below the folder; default: beside the file
  fields: {caption: caption}  # what the prompt may use: name in the prompt -> column
  id: image                 # optional; default: the image's file name (of a pair both), with the row number where it recurs

In a Hugging Face folder a row also has the columns `image` (its file_name) and `split` (from the file's or folder's name),
unless it has its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtrl.config.tasks import SPLITS, Task
from mtrl.converters.base import Row, below, release_folder
from mtrl.converters.readers import csvfile, parquet
from mtrl.converters.readers.picture import Picture
from mtrl.core.errors import MtrlError, UserError, nearest
from mtrl.core.files import json_lines, read_bytes
from mtrl.core.schema import Model, validate

SPLIT_NAMES = {"train": "train", "validation": "val", "valid": "val", "val": "val", "dev": "val", "test": "test"}
TABLES = (".csv", ".jsonl", ".parquet")
LARGEST = 2**30  # bytes of a .csv


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
    taken: set[str] = set()
    for (file, where, record), answer in zip(records, answers, strict=True):
        split = str(record[task.split.column]).strip() if task.split.column else None
        if split is not None and split not in SPLITS:
            raise MtrlError(f"{where}: split {split!r} is not one of {', '.join(SPLITS)}")
        place = folder / source.image_folder if source.image_folder else file.parent
        pictures = tuple(_picture(record[column], place, where) for column in source.images)
        number = int(where.rpartition(" ")[2])
        shard = f"{file.parent.name}-{file.stem}" if len(files) > 1 else file.stem
        if source.id:
            name = str(record[source.id])
        elif any(p.name == parquet.unnamed(c, number) for p, c in zip(pictures, source.images, strict=True)):
            name = f"{shard}-{number:06d}"
        else:
            name = " ".join(_name(picture, place, folder / source.file) for picture in pictures)
            name += f" ({shard}, row {number})" if name in taken and len(files) > 1 else ""
            name += f" (row {number})" if name in taken else ""
            taken.add(name)
        yield Row(
            id=name,
            images=pictures,
            answer=answer,
            file=file,
            fields={name: str(record[column]) for name, column in source.fields.items()},
            split=split,
            group=str(record[task.split.group]) if task.split.group else "",
            source={"row": number},
        )


def _name(picture: Picture, place: Path, table: Path) -> str:
    """The file name as the table has it; in a Hugging Face folder, which may have one such folder per split, with it."""
    inside = picture.path is not None and place != table and place.is_relative_to(table)
    return os.path.normpath(place.relative_to(table) / picture.name if inside else picture.name)


def labels(task: Task, raw: Path) -> Iterator[tuple[str | None, dict[str, Any]]]:
    source, folder, files = _found(task, raw)
    wanted = [task.label.column, *([task.split.column] if task.split.column else [])]
    for file in files:
        for _, _, record in _records(file, folder / source.file, wanted):
            split = str(record[task.split.column]).strip() if task.split.column else None
            yield split, {name: value for name, value in record.items() if not isinstance(value, Picture | dict)}


def read_table(file: Path) -> Iterator[dict[str, Any]]:
    """The records of a table in order, images in parquet not yet read. Raises UserError for what its ending does not say."""
    kind = file.suffix.lower()
    if kind == ".parquet":
        yield from parquet.records(file)
    elif kind == ".csv":
        yield from csvfile.records(file, csvfile.decoded(file, read_bytes(file, limit=LARGEST)))
    elif kind == ".jsonl":
        if file.is_file():
            with file.open("rb") as stream:
                csvfile.check_encoding(file, stream.read(1024))
        for number, record in json_lines(file):
            if not isinstance(record, dict):
                raise UserError(f"{file}, line {number} is not a JSON object")
            yield record
    else:
        raise UserError(f"{file}: a table is .csv, .jsonl or .parquet")


def _found(task: Task, raw: Path) -> tuple[Source, Path, list[Path]]:
    """The settings, the release's folder, and its tables. Raises UserError."""
    source = validate(Source, task.source, f"recipes/tasks/{task.name}.yaml, source")
    _check_images(task, source)
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


def _check_images(task: Task, source: Source) -> None:
    """Raises UserError where source.images does not fit the task's kind."""
    wanted = 2 if task.kind == "pairwise" else 1
    if len(source.images) != wanted or len(set(source.images)) != wanted:
        told = "images" in source.model_fields_set
        raise UserError(
            f"recipes/tasks/{task.name}.yaml: source.images {'is' if told else 'is missing, so it is'} {source.images}, and a "
            f"{task.kind} task needs {'two columns, one for each image' if wanted == 2 else 'one column'}",
            "source: {images: [image_1, image_2]}, with your own two columns"
            if wanted == 2
            else "name one column; for a task that compares two images write kind: pairwise",
        )


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
