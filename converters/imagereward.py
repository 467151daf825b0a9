"""ImageRewardDB: how well does an image follow its prompt? metadata-<split>.parquet and images/<split>/<split>_<n>.zip.

Rows are those of the metadata, in its order, one an image; the splits are the release's. A zip that is missing stops the
conversion; the release is known to hold empty and undecodable images inside its zips, and those cost their rows.

source:
  config: 1k          # 1k (the paper's), 2k, 4k or 8k: train_1..train_{4, 8, 16, 32}; validation and test are the same
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, need_columns, release_folder
from mtrl.converters.readers.archive import Archive
from mtrl.converters.table import read_table
from mtrl.core.errors import UserError
from mtrl.core.schema import Model, validate

TRAIN_ZIPS = {"1k": 4, "2k": 8, "4k": 16, "8k": 32}
NAMES = {"train": "train", "validation": "val", "test": "test"}
RATINGS = ("image_text_alignment_rating", "fidelity_rating", "overall_rating", "rank")
COLUMNS = {"image_path", "prompt_id", "prompt", *RATINGS}


class Source(Model):
    config: Literal["1k", "2k", "4k", "8k"] = "1k"


def rows(task: Task, raw: Path) -> Iterator[Row]:
    folder, records = _records(task, raw)
    answers = task.verdicts((record[task.label.column], where) for _, where, record in records)
    zips = {str(PurePosixPath(record["image_path"]).parent) + ".zip" for _, _, record in records}
    if gone := sorted(name for name in zips if not (folder / name).is_file()):
        raise UserError(
            f"{folder} lacks {', '.join(gone[:4])} ({len(gone)} of {len(zips)} zip files)", "download the rest"
        )
    archive = cache(lambda name: Archive(folder / name))
    for (split, where, record), answer in zip(records, answers, strict=True):
        path = PurePosixPath(record["image_path"])
        yield Row(
            id=path.stem,
            images=(archive(f"{path.parent}.zip").picture(path.name),),
            answer=answer,
            file=folder / f"metadata-{split}.parquet",
            fields={"caption": str(record["prompt"]).strip()},
            split=NAMES[split],
            group=str(record["prompt_id"]),
            source={"where": where.rpartition("/")[2], "prompt_id": record["prompt_id"],
                    "classification": record.get("classification"), **{name: record[name] for name in RATINGS}},
        )  # fmt: skip


def labels(task: Task, raw: Path) -> Iterator[tuple[str | None, dict[str, Any]]]:
    for split, _, record in _records(task, raw)[1]:
        yield NAMES[split], {name: record[name] for name in RATINGS}


def _records(task: Task, raw: Path) -> tuple[Path, list[tuple[str, str, dict[str, Any]]]]:
    """(split, where, record) of every row of the configuration."""
    source = validate(Source, task.source, f"recipes/tasks/{task.name}.yaml, source")
    folder = release_folder(raw, "imagereward", "metadata-test.parquet")
    train = {f"images/train/train_{n}" for n in range(1, TRAIN_ZIPS[source.config] + 1)}
    found = []
    for split in NAMES:
        file = release_folder(folder, "", f"metadata-{split}.parquet") / f"metadata-{split}.parquet"
        for number, record in enumerate(read_table(file), start=1):
            if number == 1:
                need_columns(file, set(record), COLUMNS | {task.label.column})
            path = PurePosixPath(str(record["image_path"]))
            if path.is_absolute() or ".." in path.parts or len(path.parts) != 4 or path.parts[:2] != ("images", split):
                raise UserError(f"{file}, row {number}: image_path {str(path)!r} is not images/{split}/<zip>/<image>")
            if split != "train" or str(path.parent) in train:
                found.append((split, f"{file}, row {number}", record))
    return folder, found
