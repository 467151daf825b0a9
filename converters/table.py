"""The generic converter: a user's own CSV, JSONL or parquet file with one or two image columns and a label column.

source:
  folder: mine              # below --raw, optional
  file: labels.csv          # .csv, .jsonl or .parquet
  images: [image]           # columns that hold file names (or, in parquet, {bytes, path}); two for pairs
  image_folder: images      # where the file names are found, below the folder; default: beside the file
  fields: {caption: caption}  # what the prompt may use: name in the prompt -> column
  id: image                 # optional; default: <file stem>-<row number>
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mtrl.converters.rows import Picture, Row, release_folder

from mtrl.errors import UserError, nearest
from mtrl.schema import Model, validate
from mtrl.tasks import SPLITS, Task


class Source(Model):
    file: str
    images: list[str] = ["image"]
    folder: str = ""
    image_folder: str = ""
    fields: dict[str, str] = {}
    id: str | None = None


def rows(task: Task, raw: Path) -> Iterator[Row]:
    source = validate(Source, task.source, f"recipes/tasks/{task.name}.yaml, source")
    folder = release_folder(raw, source.folder, source.file)
    file = folder / source.file
    pictures = folder / source.image_folder
    wanted = [*source.images, *source.fields.values(), task.label.column]
    wanted += [column for column in (source.id, task.split.column, task.split.group) if column]
    for number, record in enumerate(read_table(file), start=1):
        where = f"{file}, row {number}"
        for column in wanted:
            if record.get(column) is None:
                raise UserError(f"{where}: no column {column!r}." + nearest(column, record))
        split = str(record[task.split.column]).strip() if task.split.column else None
        if split is not None and split not in SPLITS:
            raise UserError(f"{where}: split {split!r} is not one of {', '.join(SPLITS)}")
        yield Row(
            id=str(record[source.id]) if source.id else f"{file.stem}-{number:06d}",
            images=tuple(_picture(record[column], pictures, where) for column in source.images),
            answer=task.verdict(record[task.label.column], where),
            file=file,
            fields={name: str(record[column]) for name, column in source.fields.items()},
            split=split,
            group=str(record[task.split.group]) if task.split.group else "",
            source={"row": number},
        )


def read_table(file: Path) -> Iterator[dict[str, Any]]:
    """The records of a table in order. Raises UserError for a file that is not what its ending says."""
    try:
        if file.suffix == ".csv":
            with file.open(encoding="utf-8-sig", newline="") as stream:
                yield from csv.DictReader(stream)
        elif file.suffix == ".jsonl":
            with file.open(encoding="utf-8") as stream:
                yield from (json.loads(line) for line in stream if line.strip())
        elif file.suffix == ".parquet":
            import pyarrow.parquet as pq

            for batch in pq.ParquetFile(file).iter_batches(batch_size=64):
                yield from batch.to_pylist()
        else:
            raise UserError(f"{file}: a table is .csv, .jsonl or .parquet")
    except (ValueError, csv.Error) as error:  # UnicodeDecodeError, JSONDecodeError and ArrowInvalid are ValueErrors
        raise UserError(f"{file} is not readable as {file.suffix.removeprefix('.')}: {error}") from None


def _picture(value: Any, folder: Path, where: str) -> Picture:
    if isinstance(value, dict):  # the parquet form {bytes, path}
        if value.get("bytes"):
            return Picture(str(value.get("path") or "image"), load=partial(bytes, value["bytes"]))
        value = value.get("path")
    name = str(value or "").strip()
    path = Path(os.path.normpath(folder / name))
    if not name or not path.is_relative_to(os.path.normpath(folder)):
        raise UserError(f"{where}: image {name!r} is not a file name below {folder}")
    return Picture(name, path=path)
