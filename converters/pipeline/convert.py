"""The conversion of one task: release rows -> checked images -> splits -> samples, exports, and last the card.

Labels are read first, then each image once, in the release's order. Every step is deterministic, so a conversion that
was killed is simply run again: stored images are found in place. The files of a task are written next to an earlier
conversion's, which stays whole until they replace it; the card comes last and says that all the rest is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mtrl import __version__
from mtrl.config import datacard, prompting
from mtrl.config.datacard import DataCard
from mtrl.config.labels import CONFLICTS
from mtrl.config.samples import Sample
from mtrl.config.tasks import SPLITS, Task
from mtrl.converters.base import Row
from mtrl.converters.pipeline import accept, exports, images, release, repeats, splits, store, unchanged
from mtrl.converters.pipeline.counts import count
from mtrl.converters.pipeline.repeats import Item
from mtrl.converters.readers.picture import Rejected
from mtrl.core.errors import MtrlError, UserError, remedy
from mtrl.core.files import LARGE, read_json, sweep, write_json
from mtrl.core.locks import held

NEW = ".new"
Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Converted:
    card: DataCard
    unchanged: bool
    """The conversion that was there is what this one would have made."""


def convert(
    task: Task,
    raw: Path,
    data: Path,
    limit: int | None = None,
    tick: Tick = lambda done, total: None,
    protocol: str | None = None,
    links: bool = False,
    waiting: Callable[[], None] = lambda: None,
) -> Converted:
    """Converts one task into `data`/<task>/, unless it is there already. `limit`: the first N rows of each split.

    `tick` gets (rows done, rows in all). `links`: stored images are hard links to the release's files. Conversions of
    one task into one folder exclude each other, on whatever host they run: `waiting` is called once before this one
    waits. Raises UserError for a release that is not as expected, MtrlError for a bad label or a full disk.
    """
    if protocol:
        task = task.model_copy(update={"split": task.split.model_copy(update={"protocol": protocol})})
    try:
        rows = release.rows(task, raw)
        if not rows:
            raise UserError(f"task {task.name}: the release in {raw} has no rows")
        tables = unchanged.tables(rows)
        made_from = unchanged.inputs(task, raw, data, rows, tables, limit, links)
        if card := unchanged.unchanged(task, data, made_from):
            exports.register(data)
            return Converted(card, True)
        accepted = accept.accepted(task, rows, raw)
        _try_prompts(task, accepted.rows[0])
        with held(data / task.name / ".convert.lock", waiting) as waited:
            if waited and (card := unchanged.unchanged(task, data, made_from)):
                return Converted(card, True)  # made by the conversion that was waited for
            with _begun(data, task) as staging:
                keep = store.Store(data, _known(data), task.orient, links, staging)
                card = _write(task, accepted, tables, keep, limit, tick)
            exports.register(data)
            unchanged.record(task, data, made_from)
    except OSError as error:
        raise MtrlError(
            f"task {task.name}: writing to {data} failed: {error.strerror or error}"
            + (f" ({error.filename})" if error.filename else ""),
            remedy(error, "run it again"),
        ) from error
    return Converted(card, False)


@contextlib.contextmanager
def _begun(data: Path, task: Task) -> Iterator[Path]:
    """Removes what a killed conversion left, and what this one leaves.

    Yields the folder where this conversion writes its images first: other tasks' conversions share all of images/.
    """
    folder, staging = data / task.name, data / "images" / f".{task.name}"
    sweep(folder)
    for place in (staging, folder / NEW):
        shutil.rmtree(place, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
    finally:
        for place in (staging, folder / NEW):
            shutil.rmtree(place, ignore_errors=True)


def _replace(made: Path, folder: Path) -> None:
    """Moves the files of `made` into `folder`, the card last. Only from here until then is the task not converted."""
    for name in (datacard.INPUTS, datacard.FILE):
        (folder / name).unlink(missing_ok=True)
    for file in sorted(made.iterdir(), key=lambda file: file.name == datacard.FILE):
        os.replace(file, folder / file.name)


def _write(
    task: Task, accepted: accept.Accepted, tables: dict[Path, str], keep: store.Store, limit: int | None, tick: Tick
) -> DataCard:
    rows, data = accepted.rows, keep.data
    new = data / task.name / NEW  # a data folder of its own, until all is written
    grouped = task.split.protocol == "grouped"
    places = [] if grouped else splits.assign(rows, task.split)
    if not grouped:
        accept.parted(task, rows, places)
    outcomes = _outcomes(rows, places, keep, limit, tick)
    rejected = {rows[index].id: str(reason) for index, reason in outcomes.items() if isinstance(reason, Rejected)}
    good = {index: stored for index, stored in outcomes.items() if not isinstance(stored, Rejected)}
    if not good:
        reasons = ", ".join(sorted(set(rejected.values())))
        raise MtrlError(
            f"task {task.name}: every one of {len(outcomes)} rows is rejected: {reasons}", "look at the release"
        )
    if grouped:
        seen = [[(s.name, s.decoded.fingerprint) for s in good.get(index, ())] for index in range(len(rows))]
        places = splits.assign(rows, task.split, seen)
    items = [Item(rows[index], places[index], stored, task.pair) for index, stored in good.items()]
    disputed = repeats.conflicts(items)
    left_out = repeats.settled(task, items, disputed)
    first = repeats.duplicates(items)
    kept = {split: [n for n, item in enumerate(items) if item.split == split and n not in left_out][:limit]
            for split in SPLITS}  # fmt: skip
    counts, annotated = {}, accepted.agreement is not None
    for split, numbers in kept.items():
        made = (_sample(task, items[n], first.get(n)) for n in numbers)
        counts[split] = dict.fromkeys(task.choices, 0) | exports.write_split(new, task, split, made, data, annotated)
    numbers = [n for split in SPLITS for n in kept[split]]
    used = {stored.name: stored.decoded for n in numbers for stored in items[n].images}
    write_json(new / task.name / unchanged.FINGERPRINTS, dict(sorted(used.items())))
    notes = Counter(note for decoded in used.values() for note in decoded.notes)
    notes["extension does not say what the file is"] = sum(
        any(map(store.wrong_extension, items[n].row.images, items[n].images)) for n in numbers
    )
    card = DataCard(
        task=task.name,
        mtrl=__version__,
        protocol=task.split.protocol,
        counts=counts,
        rows_in_release=len(rows) + accepted.left_out.total(),
        release_counts={
            place: count((row.answer for row, its in zip(rows, places, strict=True) if its == place), task)
            for place in (*SPLITS, splits.DROPPED)
        },
        rejects=dict(sorted(Counter(rejected.values()).items())),
        rejected_rows=dict(list(rejected.items())[:100]),
        left_out=dict(sorted((accepted.left_out + Counter({CONFLICTS: len(left_out)})).items())),
        conflicts=sum(map(len, disputed)),
        duplicates=sum(n in first for n in numbers),
        agreement=accepted.agreement,
        images=datacard.Images(stored=len(used), notes={note: n for note, n in sorted(notes.items()) if n}),
        limit=limit,
        orient=task.orient,
        label=task.label.model_dump(),
        split=task.split.model_dump(),
        inputs={file.name: digest for file, digest in tables.items()},
        prompts={style: prompting.sha256(task, style) for style in prompting.STYLES},
        leakage=repeats.leakage(task, [items[n] for n in numbers]),
    )
    write_json(new / task.name / datacard.FILE, card.model_dump())
    _replace(new / task.name, data / task.name)
    return card


def _outcomes(
    rows: list[Row], places: list[str], keep: store.Store, limit: int | None, tick: Tick
) -> dict[int, store.Outcome]:
    """{index: stored images, or why there are none}; with `places` (a split per row) at most `limit` per split."""
    full: Counter[str] = Counter()  # rows kept per split

    def open_(index: int) -> bool:
        return not places or limit is None or full[places[index]] < limit

    def wanted() -> Iterator[tuple[int, Row]]:
        for index, row in enumerate(rows):
            tick(index + 1, len(rows))
            if open_(index):
                yield index, row

    found: dict[int, store.Outcome] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large images and of odd metadata: neither is an error
        for index, outcome in keep.rows(wanted()):
            if open_(index):  # else it was on its way when the split became full
                found[index] = outcome
                if places and not isinstance(outcome, Rejected):
                    full[places[index]] += 1
    return found


def _known(data: Path) -> dict[str, images.Decoded]:
    """What conversions into this folder found in the images that are stored: AGIN's three tasks share theirs."""
    return {
        name: images.Decoded(fingerprint, tuple(notes), tuple(size[0]))
        for file in data.glob(f"*/{unchanged.FINGERPRINTS}")
        for name, (fingerprint, notes, *size) in read_json(file, limit=LARGE).items()
        if size  # an earlier mtrl did not store it
    }


def _sample(task: Task, item: Item, duplicate_of: str | None) -> Sample:
    row = item.row
    source = {**row.source, **({"duplicate_of": duplicate_of} if duplicate_of else {})}
    source["files"] = [picture.name for picture in row.images]
    names = tuple(stored.name for stored in item.images)
    sizes = tuple(stored.decoded.size for stored in item.images)
    sample = Sample(
        row.id, task.name, task.kind, names, _escaped(row), row.answer, item.split, row.group, row.score, source, sizes,
        row.annotators,
    )  # fmt: skip
    if task.pair:
        return sample.swapped(task.pair) if _coin(row.id) else replace(sample, source={**source, "swapped": False})
    return sample


def _escaped(row: Row) -> dict[str, str]:
    return {name: prompting.escape(text) for name, text in row.fields.items()}


def _coin(identifier: str) -> bool:
    """A fair coin that always falls the same way for one id: releases put the better image first far too often."""
    return hashlib.sha256(identifier.encode()).digest()[0] % 2 == 1


def _try_prompts(task: Task, row: Row) -> None:
    """Fills both prompts with the first row: an error in one must show before a good conversion is replaced."""
    sample = Sample(row.id, task.name, task.kind, tuple(p.name for p in row.images), _escaped(row), row.answer, "train")
    for style in prompting.STYLES:
        prompting.renderer(task, style)(sample)
