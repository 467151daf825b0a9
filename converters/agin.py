"""AGIN: naturalness, technical quality and rationality of AI-generated images. MOS_AGIN.csv and AGIN_512x512/*.png.

    filename            MOS_nat  MOS_tech  MOS_rat
    Dreaml_coco_17.png  51.3     58.9      55.2        (higher is better; the numbers here are made up)

The three tasks read the same rows and give them the same ids, so a split is the same for all three. A file that the
table names and the folder lacks is an error: the release is one archive, so the copy is incomplete.

source:
  table: MOS_AGIN.csv
  images: AGIN_512x512       # the folder of the files that `filename` names
  prompt_in_name: true       # GUESS: <Model>_<promptset>_<n>.png of one <promptset>_<n> share a prompt (grouped)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, answers, below, release_folder, settings, table
from mtrl.converters.readers.tables import Record
from mtrl.core.schema import Model

SCORES = ("MOS_nat", "MOS_tech", "MOS_rat")


class Source(Model):
    table: str = "MOS_AGIN.csv"
    images: str = "AGIN_512x512"
    prompt_in_name: bool = True


def rows(task: Task, raw: Path) -> Iterator[Row]:
    source, records = settings(task, Source), list(labels(task, raw))
    folder = release_folder(raw, "agin", source.table)
    images = release_folder(folder, "", source.images) / source.images
    numbers = task.numbers(record[task.label.column] for record in records)
    for record, answer, number in zip(records, answers(task, records), numbers, strict=True):
        name = str(record["filename"] or "").strip()
        shared = re.fullmatch(r"[^_]+_([^_]+_\d+)", Path(name).stem) if source.prompt_in_name else None
        yield Row(
            id=name,
            images=(below(images, name, record.where),),
            answer=answer,
            file=record.file,
            group=shared[1] if shared else "",
            source={column: record[column] for column in SCORES},
            score=number,
        )


def labels(task: Task, raw: Path) -> Iterator[Record]:
    name = settings(task, Source).table
    yield from table(release_folder(raw, "agin", name) / name, {"filename", *SCORES, task.label.column})
