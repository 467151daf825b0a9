"""ImageRewardDB: how well does an image follow its prompt? metadata-<split>.parquet and images/<split>/<split>_<n>.zip.

    image_path                              images/train/train_1/<uuid>.webp
    prompt_id, prompt, classification       000864-0061, "a painting of ... 8 k ", People
    image_text_alignment_rating             4       1 to 7, 7 is best; fidelity_rating 4, overall_rating 3
    rank                                    5       of the images of one prompt, 1 is best

One row per image, in the order of the metadata; the splits are the release's. A zip that is missing is an error. The
release's zips have some empty and undecodable images: their rows are rejected and counted in card.json.

source:
  config: 1k          # 1k (the paper's), 2k, 4k or 8k: train_1..train_{4, 8, 16, 32}; validation and test are the same
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Literal

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, answers, release_folder, settings, table
from mtrl.converters.readers.archive import Archive
from mtrl.converters.readers.tables import Record
from mtrl.core.errors import UserError
from mtrl.core.schema import Model

TRAIN_ZIPS = {"1k": 4, "2k": 8, "4k": 16, "8k": 32}
NAMES = {"train": "train", "validation": "val", "test": "test"}
RATINGS = ("image_text_alignment_rating", "fidelity_rating", "overall_rating", "rank")
COLUMNS = {"image_path", "prompt_id", "prompt", *RATINGS}


class Source(Model):
    config: Literal["1k", "2k", "4k", "8k"] = "1k"


def rows(task: Task, raw: Path) -> Iterator[Row]:
    folder, records = _folder(raw), _records(task, raw)
    given = answers(task, records)
    numbers = task.numbers(record[task.label.column] for record in records)
    zips = {str(PurePosixPath(record["image_path"]).parent) + ".zip" for record in records}
    if gone := sorted(name for name in zips if not (folder / name).is_file()):
        raise UserError(
            f"{folder} lacks {', '.join(gone[:4])} ({len(gone)} of {len(zips)} zip files)", "download the rest"
        )
    archive = cache(lambda name: Archive(folder / name))
    for record, answer, number in zip(records, given, numbers, strict=True):
        path = PurePosixPath(record["image_path"])
        about = {"where": f"{record.file.name}, row {record.number}", "prompt_id": record["prompt_id"]}
        about |= {"classification": record.get("classification"), **{name: record[name] for name in RATINGS}}
        yield Row(
            id=path.stem,
            images=(archive(f"{path.parent}.zip").picture(path.name),),
            answer=answer,
            file=record.file,
            fields={"caption": str(record["prompt"]).strip()},
            split=record.split,
            group=str(record["prompt_id"]),
            source=about,
            score=number,
        )


def labels(task: Task, raw: Path) -> Iterator[Record]:
    for record in _records(task, raw):
        yield Record({name: record[name] for name in RATINGS}, record.file, record.number, record.split)


def _folder(raw: Path) -> Path:
    return release_folder(raw, "imagereward", "metadata-test.parquet")


def _records(task: Task, raw: Path) -> list[Record]:
    """The rows of the configuration, with their splits. Raises UserError for an image_path that is not as above."""
    config, folder = settings(task, Source).config, _folder(raw)
    train = {f"images/train/train_{n}" for n in range(1, TRAIN_ZIPS[config] + 1)}
    found = []
    for name, split in NAMES.items():
        file = release_folder(folder, "", f"metadata-{name}.parquet") / f"metadata-{name}.parquet"
        for record in table(file, COLUMNS | {task.label.column}, split):
            path = PurePosixPath(str(record["image_path"]))
            if path.is_absolute() or ".." in path.parts or len(path.parts) != 4 or path.parts[:2] != ("images", name):
                raise UserError(f"{record.where}: image_path {str(path)!r} is not images/{name}/<zip>/<image>")
            if name != "train" or str(path.parent) in train:
                found.append(record)
    return found
