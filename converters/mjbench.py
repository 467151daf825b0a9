"""MJ-Bench: which of two images is better? data/{alignment,safety,quality}.parquet of the pinned revision.

label counts from 0: the index of the preferred image. Nearly all labels are 0, so the order shown is drawn by id
(Sample.source["swapped"]). Several rows hold the same pair; all but the first carry source["duplicate_of"].

source:
  subset: alignment     # alignment, safety or quality
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, need_columns, release_folder
from mtrl.converters.readers import parquet
from mtrl.core.errors import UserError
from mtrl.core.schema import Model, validate

REVISION = "4b9667374c71463f63ae663ddd88373d3ffc5ba9"
COLUMNS = {"caption", "image0", "image1", "label", "info"}
REWRITE = {"category", "subcategory", "model"}


class Source(Model):
    subset: Literal["alignment", "safety", "quality"]


def rows(task: Task, raw: Path) -> Iterator[Row]:
    source = validate(Source, task.source, f"recipes/tasks/{task.name}.yaml, source")
    name = f"data/{source.subset}.parquet"
    file = release_folder(raw, "mjbench", name) / name
    held = set(parquet.columns(file))
    fetch = f"download revision {REVISION} of MJ-Bench/MJ-Bench (mtrl fetch {task.name} --out raw)"
    if held & REWRITE:
        raise UserError(
            f"{file} is of MJ-Bench's 2025 rewrite (it has {', '.join(sorted(held & REWRITE))}): other pairs, every label 0,"
            " not what the paper measured on",
            fetch,
        )
    need_columns(file, held, COLUMNS, fetch)
    records = list(parquet.records(file))
    places = [f"{file}, row {number}" for number in range(1, len(records) + 1)]
    answers = task.verdicts(zip((record[task.label.column] for record in records), places, strict=True))
    for number, (record, answer) in enumerate(zip(records, answers, strict=True), start=1):
        yield Row(
            id=f"{source.subset}-{number:05d}",
            images=(record["image0"], record["image1"]),
            answer=answer,
            file=file,
            fields={"caption": str(record["caption"] or "").strip()},
            split="test",
            source={"info": record["info"] or "", "image0": record["image0"].name, "image1": record["image1"].name},
        )
