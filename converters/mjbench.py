"""MJ-Bench: which of two images is better? data/{alignment,safety,quality}.parquet of the pinned revision.

    caption                        image0           image1           label  info
    "A red cube on a blue sphere"  {bytes, path}    {bytes, path}    0      ""       (the caption here is made up)

label is the index of the better image, from 0. Nearly all labels are 0, so the order shown is drawn by id
(Sample.source["swapped"]). Several rows have the same pair; all but the first have source["duplicate_of"].

source:
  subset: alignment     # alignment, safety or quality
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, answers, need_columns, release_folder, settings
from mtrl.converters.readers import parquet
from mtrl.converters.readers.tables import read_table
from mtrl.core.errors import UserError
from mtrl.core.schema import Model

REVISION = "4b9667374c71463f63ae663ddd88373d3ffc5ba9"
COLUMNS = {"caption", "image0", "image1", "label", "info"}
REWRITE = {"category", "subcategory", "model"}


class Source(Model):
    subset: Literal["alignment", "safety", "quality"]


def rows(task: Task, raw: Path) -> Iterator[Row]:
    subset = settings(task, Source).subset
    name = f"data/{subset}.parquet"
    file = release_folder(raw, "mjbench", name) / name
    held = set(parquet.columns(file))
    fetch = f"download revision {REVISION} of MJ-Bench/MJ-Bench (mtrl fetch {task.name} --to raw)"
    if held & REWRITE:
        raise UserError(
            f"{file} is of MJ-Bench's 2025 rewrite (it has {', '.join(sorted(held & REWRITE))}): other pairs, "
            "every label 0, not what the paper measured on",
            fetch,
        )
    need_columns(file, held, COLUMNS, fetch)
    records = list(read_table(file))
    for record, answer in zip(records, answers(task, records), strict=True):
        yield Row(
            id=f"{subset}-{record.number:05d}",
            images=(record["image0"], record["image1"]),
            answer=answer,
            file=file,
            fields={"caption": str(record["caption"] or "").strip()},
            split="test",
            source={"info": record["info"] or "", "image0": record["image0"].name, "image1": record["image1"].name},
        )
