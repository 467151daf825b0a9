"""SeeTRUE: does the image match the text? SeeTRUE.csv and images.zip, which is read in place.

    image                             text                     label  original_dataset_id  dataset_source
    0_a=few_o=cat_s=indoor.png        A few cats are indoors.  1      12                   editbench

label 1: the text matches. (The texts and numbers here are made up.) An image that is missing in the zip or damaged,
and a row without a text, are rejected and counted in card.json. The data card asks for research use as a test set
only; the paper trains on it.

source:
  table: SeeTRUE.csv
  images: images.zip
  group: original_dataset_id   # GUESS: within one dataset_source, rows of one id share a source (grouped protocol)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, answers, release_folder, settings, table
from mtrl.converters.readers.archive import Archive
from mtrl.converters.readers.tables import Record
from mtrl.core.schema import Model

COLUMNS = {"image", "text", "original_dataset_id", "dataset_source"}


class Source(Model):
    table: str = "SeeTRUE.csv"
    images: str = "images.zip"
    group: str | None = "original_dataset_id"


def rows(task: Task, raw: Path) -> Iterator[Row]:
    source, records = settings(task, Source), _records(task, raw)
    folder = release_folder(raw, "seetrue", source.table)
    archive = Archive(release_folder(folder, "", source.images) / source.images)
    for record, answer in zip(records, answers(task, records), strict=True):
        name = str(record["image"] or "").strip()
        if ".jpg" not in name and ".png" not in name:
            name += ".png"  # as the authors' own loader does
        text, dataset = (str(record[column] or "").strip() for column in ("text", "dataset_source"))
        shared = str(record[source.group] or "").strip() if source.group else ""
        yield Row(
            id=f"seetrue-{record.number:05d}",
            images=(archive.picture(name),),
            answer=answer,
            file=record.file,
            fields={"caption": text},
            group=f"{dataset}/{shared}" if shared else "",
            source={"image": name, "dataset_source": dataset, "original_dataset_id": record["original_dataset_id"]},
            reject="" if text else "no text",
        )


def labels(task: Task, raw: Path) -> Iterator[Record]:
    for record in _records(task, raw):
        yield Record({"label": record["label"]}, record.file, record.number)


def _records(task: Task, raw: Path) -> list[Record]:
    source = settings(task, Source)
    wanted = COLUMNS | {task.label.column} | ({source.group} if source.group else set())
    return table(release_folder(raw, "seetrue", source.table) / source.table, wanted)
