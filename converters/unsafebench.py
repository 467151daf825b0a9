"""UnsafeBench: does the image show unsafe content? A Hugging Face folder, data/train-*.parquet and data/test-*.parquet.

    image            safety_label  category  source   text
    {bytes, path}    Unsafe        Violence  Laion5B  ""

The release has no ids: rows are numbered per split, over its files. `category` says what an image was searched by,
also for safe images, and is no label; it is kept in `source`. The release's train rows are the task's train and val.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, answers, need_columns, release_folder, settings
from mtrl.converters.readers import parquet
from mtrl.converters.readers.tables import Record, read_table
from mtrl.core.errors import UserError
from mtrl.core.schema import Model


class Source(Model):
    """No settings."""


def rows(task: Task, raw: Path) -> Iterator[Row]:
    records = list(_records(task, raw))
    numbers = {split: count(1) for split in ("train", "test")}
    for record, answer in zip(records, answers(task, records), strict=True):
        split = record.split or "train"
        yield Row(
            id=f"{split}-{next(numbers[split]):06d}",
            images=(record["image"],),
            answer=answer,
            file=record.file,
            split=record.split,
            source={"category": record["category"], "source": record["source"], "text": record.get("text") or ""},
        )


def labels(task: Task, raw: Path) -> Iterator[Record]:
    for record in _records(task, raw):
        yield Record({task.label.column: record[task.label.column]}, record.file, record.number, record.split)


def _records(task: Task, raw: Path) -> Iterator[Record]:
    """Every row of train, then of test. Raises UserError for a file that is missing."""
    settings(task, Source)
    folder = release_folder(raw, "unsafebench", "data") / "data"
    for split in ("train", "test"):
        files = sorted(folder.glob(f"{split}-*.parquet"))
        if not files:
            held = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
            raise UserError(f"no {split}-*.parquet in {folder}; it has: {held}", "mtrl fetch unsafebench --to raw")
        if "-of-" in (last := files[-1].stem) and int(last.rpartition("-")[2]) != len(files):
            raise UserError(
                f"{folder} has {len(files)} of {int(last.rpartition('-')[2])} {split} files", "download the rest"
            )
        for file in files:
            need_columns(file, set(parquet.columns(file)), {"image", "category", "source", task.label.column})
            yield from read_table(file, None if split == "train" else split)
