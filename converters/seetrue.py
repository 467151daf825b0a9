"""SeeTRUE: does the image match the text? SeeTRUE.csv and images.zip, which is read in place, never unpacked.

An image that the table names and the zip lacks, or holds damaged, costs its row, counted in card.json; a row without a
text too. The data card asks for research use as a test set only; the paper trains on it.

source:
  table: SeeTRUE.csv
  images: images.zip
  group: original_dataset_id   # GUESS: within one dataset_source, rows of one id share a source (grouped protocol)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, need_columns, release_folder
from mtrl.converters.readers.archive import Archive
from mtrl.converters.table import read_table
from mtrl.core.schema import Model, validate

COLUMNS = {"image", "text", "original_dataset_id", "dataset_source"}


class Source(Model):
    table: str = "SeeTRUE.csv"
    images: str = "images.zip"
    group: str | None = "original_dataset_id"


def rows(task: Task, raw: Path) -> Iterator[Row]:
    source, folder, records = _records(task, raw)
    file = folder / source.table
    archive = Archive(release_folder(folder, "", source.images) / source.images)
    where = [f"{file}, row {number}" for number in range(1, len(records) + 1)]
    answers = task.verdicts(zip((record[task.label.column] for record in records), where, strict=True))
    for number, (record, answer) in enumerate(zip(records, answers, strict=True), start=1):
        name = str(record["image"] or "").strip()
        if ".jpg" not in name and ".png" not in name:
            name += ".png"  # as the authors' own loader does
        text, dataset = (str(record[column] or "").strip() for column in ("text", "dataset_source"))
        shared = str(record[source.group] or "").strip() if source.group else ""
        yield Row(
            id=f"seetrue-{number:05d}",
            images=(archive.picture(name),),
            answer=answer,
            file=file,
            fields={"caption": text},
            group=f"{dataset}/{shared}" if shared else "",
            source={"image": name, "dataset_source": dataset, "original_dataset_id": record["original_dataset_id"]},
            reject="" if text else "no text",
        )


def labels(task: Task, raw: Path) -> Iterator[tuple[str | None, dict[str, Any]]]:
    for record in _records(task, raw)[2]:
        yield None, {"label": record["label"]}


def _records(task: Task, raw: Path) -> tuple[Source, Path, list[dict[str, Any]]]:
    source = validate(Source, task.source, f"recipes/tasks/{task.name}.yaml, source")
    folder = release_folder(raw, "seetrue", source.table)
    records = list(read_table(folder / source.table))
    wanted = COLUMNS | {task.label.column} | ({source.group} if source.group else set())
    need_columns(folder / source.table, set(records[0]) if records else set(), wanted)
    return source, folder, records
