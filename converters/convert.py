"""The conversion of one task: release rows -> checked images and splits -> samples, exports, and last the card.

Every step is deterministic, so a conversion that was killed is simply run again: stored images are found in place, and
the card, written last, says that all the rest is whole.
"""

from __future__ import annotations

import hashlib
import importlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from mtrl.converters import exports, images, splits
from mtrl.converters.rows import Picture, Row

from mtrl import __version__, prompting, samples
from mtrl.errors import MtrlError, UserError
from mtrl.files import sha256_file, write_json
from mtrl.samples import Sample
from mtrl.tasks import SPLITS, Task

WINDOW = 512  # rows in flight between reading, decoding and writing


def reader(task: Task) -> Callable[[Task, Path], Iterator[Row]]:
    """The `rows` function of the task's converter. Raises UserError for a converter that does not exist."""
    try:
        module = importlib.import_module(f"mtrl.converters.{task.converter}")
    except ModuleNotFoundError:
        module = None
    if not hasattr(module, "rows"):
        raise UserError(f"recipes/tasks/{task.name}.yaml: there is no converter {task.converter!r} (converters/*.py)")
    return module.rows  # type: ignore[no-any-return, union-attr]


def convert(
    task: Task,
    raw: Path,
    data: Path,
    limit: int | None = None,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Converts one task into `data`/<task>/ and returns its card. `limit` keeps the first so many rows of each split.

    `tick` gets (rows done, rows in all). Raises UserError for a release that is not as expected, MtrlError for a full disk.
    """
    found = list(reader(task)(task, raw))
    if not found:
        raise UserError(f"task {task.name}: the release in {raw} has no rows")
    _refuse_twins(task, found)
    _refuse_missing(task, found)
    placed: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for row, split in zip(found, splits.assign(found, task.split), strict=True):
        placed[split].append(row)
    folder = data / task.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").unlink(missing_ok=True)  # from here until the end the task is not converted
    rejects: Counter[str] = Counter()
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        tick(done, len(found))

    counts: dict[str, dict[str, int]] = {}
    seen: dict[str, dict[str, set[str]]] = {"image": {}, "caption": {}}
    try:
        for split, rows in placed.items():
            kept = list(islice(_samples(task, rows, split, data, rejects, one_more), limit))
            counts[split] = {verdict: sum(s.answer == verdict for s in kept) for verdict in task.choices}
            seen["image"][split] = {name for s in kept for name in s.images}
            seen["caption"][split] = {text for s in kept for text in s.fields.values()}
            samples.write(samples.path_of(data, task.name, split), kept)
            exports.write_sft(folder / f"sft_{split}.json", task, kept)
            exports.write_rl(folder / f"rl_{split}.parquet", task, kept, data)
    except OSError as error:
        raise MtrlError(
            f"task {task.name}: writing to {data} failed: {error.strerror or error}", "make room, then run it again"
        ) from error
    card = {
        "task": task.name,
        "mtrl": __version__,
        "counts": counts,
        "rows_in_release": len(found),
        "rejects": dict(sorted(rejects.items())),
        "limit": limit,
        "label": task.label.model_dump(),
        "split": task.split.model_dump(),
        "inputs": {file.name: sha256_file(file) for file in sorted({row.file for row in found})},
        "prompts": {style: prompting.sha256(task, style) for style in prompting.STYLES},
        "leakage": {kind: _shared(by_split) for kind, by_split in seen.items()},
    }
    write_json(folder / "card.json", card)
    exports.register(data)
    return card


def _samples(
    task: Task, rows: list[Row], split: str, data: Path, rejects: Counter[str], tick: Callable[[], None]
) -> Iterator[Sample]:
    """Stores each row's images, on all cores, and yields its sample in order; rejected rows are counted."""

    def place(row: Row) -> tuple[str, ...] | images.Rejected:
        try:
            return tuple(images.store(picture, data) for picture in row.images)
        except images.Rejected as reason:
            return reason

    with ThreadPoolExecutor() as pool:
        for row, stored in _windowed(pool, place, rows):
            tick()
            if isinstance(stored, images.Rejected):
                rejects[str(stored)] += 1
                continue
            fields = {name: prompting.escape(text) for name, text in row.fields.items()}
            sample = Sample(row.id, task.name, task.kind, stored, fields, row.answer, split, row.group, row.source)
            yield sample.turned() if task.kind == "pairwise" and _coin(row.id) else sample


def _windowed(pool: ThreadPoolExecutor, work: Callable[[Row], Any], rows: Iterable[Row]) -> Iterator[tuple[Row, Any]]:
    source = iter(rows)
    while window := list(islice(source, WINDOW)):
        yield from zip(window, pool.map(work, window), strict=True)


def _coin(identifier: str) -> bool:
    """A fair coin that always falls the same way for one id: releases put the better image first far too often."""
    return hashlib.sha256(identifier.encode()).digest()[0] % 2 == 1


def _refuse_twins(task: Task, rows: list[Row]) -> None:
    twins = [identifier for identifier, times in Counter(row.id for row in rows).items() if times > 1]
    if twins:
        raise UserError(
            f"task {task.name}: {len(twins)} ids stand more than once, the first is {twins[0]!r}",
            f"leave source.id out of recipes/tasks/{task.name}.yaml, and rows are numbered",
        )


def _refuse_missing(task: Task, rows: list[Row]) -> None:
    pictures: list[tuple[Row, Picture]] = [(row, picture) for row in rows for picture in row.images]
    gone = [(row, p) for row, p in pictures if p.path is not None and not p.path.is_file()]
    if gone:
        row, picture = gone[0]
        raise UserError(
            f"task {task.name}: {len(gone)} of {len(pictures)} images are not there; the first is {picture.path}, of row {row.id}",
            f"bring the files back, or take these rows out of {row.file}",
        )


def _shared(by_split: dict[str, set[str]]) -> dict[str, int]:
    """How many distinct images (or texts) of test and of val stand in train too, and of test in val."""
    pairs = (("test", "train"), ("val", "train"), ("test", "val"))
    return {f"{one}_in_{other}": len((by_split[one] & by_split[other]) - {""}) for one, other in pairs}
