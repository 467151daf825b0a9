"""UnsafeBench: does the image show unsafe content? A Hugging Face folder, data/train-*.parquet and data/test-*.parquet.

The release has no ids: rows are numbered over the shards of a split. Its `category` says what an image was searched by,
also for safe ones; it is kept in `source` and is no label. The release's train rows are the task's train and val.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, need_columns, release_folder
from mtrl.converters.readers import parquet
from mtrl.core.errors import UserError
from mtrl.core.schema import Model, validate


class Source(Model):
    """No settings."""


def rows(task: Task, raw: Path) -> Iterator[Row]:
    records = _records(task, raw)
    answers = task.verdicts((record[task.label.column], where) for _, where, _, record in records)
    for (split, where, file, record), answer in zip(records, answers, strict=True):
        yield Row(
            id=f"{split}-{where.rpartition(' ')[2]:0>6}",
            images=(record["image"],),
            answer=answer,
            file=file,
            split=None if split == "train" else split,
            source={"category": record["category"], "source": record["source"], "text": record.get("text") or ""},
        )


def labels(task: Task, raw: Path) -> Iterator[tuple[str | None, dict[str, Any]]]:
    for split, _, _, record in _records(task, raw):
        yield None if split == "train" else split, {task.label.column: record[task.label.column]}


def _records(task: Task, raw: Path) -> list[tuple[str, str, Path, dict[str, Any]]]:
    """(split, where, shard, record); images are not read yet."""
    validate(Source, task.source, f"recipes/tasks/{task.name}.yaml, source")
    folder = release_folder(raw, "unsafebench", "data") / "data"
    found = []
    for split in ("train", "test"):
        shards = sorted(folder.glob(f"{split}-*.parquet"))
        if not shards:
            held = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
            raise UserError(f"no {split}-*.parquet in {folder}; it holds: {held}", "mtrl fetch unsafebench --out raw")
        if "-of-" in (last := shards[-1].stem) and int(last.rpartition("-")[2]) != len(shards):
            raise UserError(
                f"{folder} holds {len(shards)} of {int(last.rpartition('-')[2])} {split} shards", "download the rest"
            )
        number = 0
        for shard in shards:
            wanted = {"image", "category", "source", task.label.column}
            need_columns(shard, set(parquet.columns(shard)), wanted)
            for record in parquet.records(shard):
                number += 1
                found.append((split, f"{shard}, row {number}", shard, record))
    return found
