"""AGIN: naturalness, technical quality and rationality of AI-generated images. MOS_AGIN.csv and AGIN_512x512/.

The three tasks read the same rows, with the same ids, so that a split falls the same way for all three. A file that the
table names and the folder lacks stops the conversion: the release comes as one archive, so half of it is missing.

source:
  table: MOS_AGIN.csv
  images: AGIN_512x512       # the folder of the files that `filename` names
  prompt_in_name: true       # GUESS: <Model>_<promptset>_<n>.png with one <promptset>_<n> share a prompt (grouped protocol)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, below, need_columns, release_folder
from mtrl.converters.table import read_table
from mtrl.core.schema import Model, validate

SCORES = ("MOS_nat", "MOS_tech", "MOS_rat")


class Source(Model):
    table: str = "MOS_AGIN.csv"
    images: str = "AGIN_512x512"
    prompt_in_name: bool = True


def rows(task: Task, raw: Path) -> Iterator[Row]:
    source, folder, records = _records(task, raw)
    file = folder / source.table
    release_folder(folder, "", source.images)
    where = [f"{file}, row {number}" for number in range(1, len(records) + 1)]
    answers = task.verdicts(zip((record[task.label.column] for record in records), where, strict=True))
    for record, place, answer in zip(records, where, answers, strict=True):
        name = str(record["filename"] or "").strip()
        shared = re.fullmatch(r"[^_]+_([^_]+_\d+)", Path(name).stem) if source.prompt_in_name else None
        yield Row(
            id=name,
            images=(below(folder / source.images, name, place),),
            answer=answer,
            file=file,
            group=shared[1] if shared else "",
            source={column: record[column] for column in SCORES},
        )


def labels(task: Task, raw: Path) -> Iterator[tuple[str | None, dict[str, Any]]]:
    for record in _records(task, raw)[2]:
        yield None, record


def _records(task: Task, raw: Path) -> tuple[Source, Path, list[dict[str, Any]]]:
    source = validate(Source, task.source, f"recipes/tasks/{task.name}.yaml, source")
    folder = release_folder(raw, "agin", source.table)
    records = list(read_table(folder / source.table))
    need_columns(folder / source.table, set(records[0]) if records else set(), {"filename", *SCORES, task.label.column})
    return source, folder, records
