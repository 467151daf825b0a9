"""A user's own table, or Hugging Face folder: image columns and a label column. The converter of most tasks.

    image,label,caption
    rooms/a1.jpg,good,"A large, open room"

source:
  folder: mine              # below --raw, optional
  file: labels.csv          # .csv, .jsonl, .parquet or .json; or a Hugging Face folder: parquet files, or images next
                            # to a metadata.csv, .jsonl or .parquet (also below train/, validation/, test/); "." is
                            # `folder`
  images: [image]           # columns of file names (or, in parquet, of {bytes, path}), as many as the task's `images`
  image_folder: images      # where the file names are found, below the folder; default: next to the file
  fields: {caption: caption}  # what the prompt may use: name in the prompt -> column
  id: image                 # optional; default: the image's file name (of a pair both), with its row if it recurs

In a Hugging Face folder a row also has the columns `image` (its file_name) and `split` (from the file's or folder's
name), unless it has its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtrl.config.tasks import SPLITS, Task
from mtrl.converters.annotators import labelled
from mtrl.converters.base import Row, below, release_folder, settings
from mtrl.converters.readers import parquet
from mtrl.converters.readers.picture import Picture
from mtrl.converters.readers.tables import Record, read_table
from mtrl.core.errors import MtrlError, UserError, nearest
from mtrl.core.schema import Model

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
    source = _source(task)
    folder = release_folder(raw, source.folder, source.file)
    place = folder / source.file
    wanted = [*source.images, *source.fields.values(), *task.label.required]
    wanted += [column for column in (source.id, task.split.column, task.split.group) if column]
    records = list(_records(place, wanted))
    several = len(_files(place)) > 1
    taken: set[str] = set()
    for item in labelled(task, records, source.images, source.fields):
        record = item.record
        split = _split(task, record)
        if split is not None and split not in SPLITS:
            raise MtrlError(f"{record.where}: split {split!r} is not one of {', '.join(SPLITS)}")
        home = folder / source.image_folder if source.image_folder else record.file.parent
        pictures = tuple(_picture(record[column], home, record.where) for column in source.images)
        shard = f"{record.file.parent.name}-{record.file.stem}" if several else record.file.stem
        if source.id:
            name = str(record[source.id])
        elif any(p.name == parquet.unnamed(c, record.number) for p, c in zip(pictures, source.images, strict=True)):
            name = f"{shard}-{record.number:06d}"
        else:
            name = " ".join(_name(picture, home, place) for picture in pictures)
            name += f" ({shard}, row {record.number})" if name in taken and several else ""
            name += f" (row {record.number})" if name in taken else ""
            taken.add(name)
        yield Row(
            id=name,
            images=pictures,
            answer=item.answer,
            file=record.file,
            fields={name: str(record[column]) for name, column in source.fields.items()},
            split=split,
            group=str(record[task.split.group]) if task.split.group else "",
            source={"row": record.number},
            score=item.score,
            annotators=item.annotators,
        )


def labels(task: Task, raw: Path) -> Iterator[Record]:
    source = _source(task)
    wanted = [*task.label.required, *([task.split.column] if task.split.column else [])]
    for record in _records(release_folder(raw, source.folder, source.file) / source.file, wanted):
        cells = {name: value for name, value in record.items() if not isinstance(value, Picture | dict | list)}
        yield Record(cells, record.file, record.number, _split(task, record))


def _split(task: Task, record: Record) -> str | None:
    return str(record[task.split.column]).strip() if task.split.column else None


def _name(picture: Picture, home: Path, place: Path) -> str:
    """The file name as the table has it; in a Hugging Face folder with the folder, one per split."""
    inside = home != place and picture.path is not None and home.is_relative_to(place)
    return os.path.normpath(home.relative_to(place) / picture.name if inside else picture.name)


def _source(task: Task) -> Source:
    """Raises UserError where source.images or source.fields do not fit what the task asks, too."""
    source = settings(task, Source)
    wanted, yaml = task.images, f"recipes/tasks/{task.name}.yaml"
    if len(source.images) != wanted or len(set(source.images)) != wanted:
        told = "images" in source.model_fields_set
        raise UserError(
            f"{yaml}: source.images {'is' if told else 'is missing, so it is'} {source.images}, and a {task.kind} task "
            + (f"with {wanted} images per row needs as many columns" if wanted > 1 else "needs one column"),
            f"source: {{images: [{', '.join(f'image_{n + 1}' for n in range(wanted))}]}}, with your own columns"
            if wanted > 1
            else "name one column; for a task that compares two images write kind: pairwise",
        )
    if gone := [name for name in (task.pair.fields if task.pair else []) if name not in source.fields]:
        raise UserError(
            f"{yaml}: pair.fields names {gone[0]!r}, which source.fields does not have",
            f"source: {{fields: {{{gone[0]}: column}}}}, with your own column",
        )
    return source


def _files(place: Path) -> list[Path]:
    """The file itself, or the tables of a Hugging Face folder. Raises UserError where there are none."""
    if not place.is_dir():
        return [place]
    nested = [place, *(place / name for name in (*SPLIT_NAMES, "data"))]
    files = [inner / f"metadata{ending}" for inner in nested for ending in TABLES]
    files = [file for file in files if file.is_file()]
    files = files or sorted({*place.glob("*.parquet"), *(place / "data").glob("*.parquet")})
    if not files:
        raise UserError(f"{place} has neither parquet files nor images with a metadata.csv, .jsonl or .parquet")
    return files


def _records(place: Path, wanted: list[str]) -> Iterator[Record]:
    """Every row. Raises UserError for a row that lacks a column, or has nothing in it."""
    for file in _files(place):
        named = [word for word in re.split(r"[-_.\d]+", file.stem) if word in SPLIT_NAMES]
        named = named or [part for part in file.parts[len(place.parts) : -1] if part in SPLIT_NAMES]
        for record in read_table(file):
            if place.is_dir():
                record.setdefault("image", record.get("file_name"))
                record.setdefault("split", SPLIT_NAMES[named[0]] if named else "train")
            for column in wanted:
                if column not in record:
                    known = nearest(column, map(str, record))
                    raise UserError(f"{record.where}: no column {column!r}.{known}", "correct it in the task's YAML")
                if record[column] is None:
                    raise UserError(f"{record.where}: column {column!r} is empty", f"fix {file}, or remove the row")
            yield record


def _picture(value: Any, folder: Path, where: str) -> Picture:
    if isinstance(value, Picture):  # a parquet cell: {bytes, path}
        return value
    if isinstance(value, list):
        raise UserError(f"{where}: the cell has a list of {len(value)} images, and one was expected")
    if isinstance(value, dict):
        value = value.get("path")
    return below(folder, str(value or "").strip(), where)
