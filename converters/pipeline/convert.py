"""The conversion of one task: release rows -> checked images -> splits -> samples, exports, and last the card.

Labels are read first, images once and in the release's order: one thread reads, as many as there are cores decode, and
no more than a window of images is in memory. Every step is deterministic, so a conversion that was killed is simply run
again: stored images are found in place. All files of a task are written next to an earlier conversion's, which holds
until they replace it; the card comes last and says that all the rest is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mtrl import __version__
from mtrl.config import prompting, samples
from mtrl.config.labels import CONFLICTS
from mtrl.config.samples import Sample
from mtrl.config.tasks import SPLITS, Task
from mtrl.converters.base import Row
from mtrl.converters.pipeline import accept, exports, images, release, splits, store, unchanged
from mtrl.converters.pipeline import counts as findings
from mtrl.converters.readers.picture import Picture, Rejected
from mtrl.core.errors import MtrlError, UserError, remedy
from mtrl.core.files import LARGE, read_json, sweep, write_json
from mtrl.core.locks import held

CARD, NEW = "card.json", ".new"


def convert(
    task: Task,
    raw: Path,
    data: Path,
    limit: int | None = None,
    tick: Callable[[int, int], None] = lambda done, total: None,
    protocol: str | None = None,
    links: bool = False,
    waiting: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Converts one task into `data`/<task>/ and returns its card. `limit` keeps the first so many rows of each split.

    Unchanged input is not converted again: the card that is there comes back, with "unchanged". `tick` gets (rows done,
    rows in all). `links`: stored images are hard links to the release's files. Conversions of one task into one folder
    exclude each other, on whatever host they run: `waiting` is called once before this one waits. Raises UserError for a
    release that is not as expected, MtrlError for a bad label or a full disk.
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
            return {**card, "unchanged": True}
        found, left = accept.accepted(task, rows, raw)
        _try_prompts(task, found[0])
        with held(data / task.name / ".convert.lock", waiting) as waited:
            if waited and (card := unchanged.unchanged(task, data, made_from)):
                return {**card, "unchanged": True}  # made by the conversion that was waited for
            with _begun(data, task) as staging:
                keep = partial(
                    store.store, data_folder=data, known=_known(data), orient=task.orient, links=links, staging=staging
                )
                card = _write(task, found, left, tables, data, limit, tick, keep)
            exports.register(data)
            unchanged.record(task, data, made_from)
    except OSError as error:
        raise MtrlError(
            f"task {task.name}: writing to {data} failed: {error.strerror or error}"
            + (f" ({error.filename})" if error.filename else ""),
            remedy(error, "run it again"),
        ) from error
    return card


@contextlib.contextmanager
def _begun(data: Path, task: Task) -> Iterator[Path]:
    """Clears up after a conversion that was killed, and after this one.

    Yields the folder in which this conversion's images come to be: other tasks' conversions share all of images/.
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
    """Puts the files of `made` into `folder`, the card last. Only from here until then is the task not converted."""
    for name in (unchanged.FILE, CARD):
        (folder / name).unlink(missing_ok=True)
    for file in sorted(made.iterdir(), key=lambda file: file.name == CARD):
        os.replace(file, folder / file.name)


def _write(
    task: Task,
    found: list[Row],
    left: Counter[str],
    tables: dict[Path, str],
    data: Path,
    limit: int | None,
    tick: Callable[[int, int], None],
    keep: Callable[[Picture, bytes], store.Stored],
) -> dict[str, Any]:
    rule, folder = task.split, data / task.name
    new = folder / NEW  # a data folder of its own, until all is written
    grouped = rule.protocol == "grouped"
    places = [] if grouped else splits.assign(found, rule)
    if not grouped:
        accept.parted(task, found, places)
    full: Counter[str] = Counter()  # rows kept, a split
    outcomes: dict[int, store.Outcome] = {}

    def wanted() -> Iterator[tuple[int, Row]]:
        for index, row in enumerate(found):
            tick(index + 1, len(found))
            if grouped or limit is None or full[places[index]] < limit:
                yield index, row

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large images and of odd metadata; neither is a reason to stop
        for index, outcome in store.all_of(wanted(), keep):
            if not grouped and limit is not None and full[places[index]] >= limit:
                continue  # was on its way when the split became full
            outcomes[index] = outcome
            if not grouped and not isinstance(outcome, Rejected):
                full[places[index]] += 1
    good = {index: outcome for index, outcome in outcomes.items() if not isinstance(outcome, Rejected)}
    if not good:
        reasons = ", ".join(sorted({str(outcome) for outcome in outcomes.values()}))
        raise MtrlError(
            f"task {task.name}: every one of {len(outcomes)} rows is rejected: {reasons}", "look at the release"
        )
    if grouped:
        seen = [[(s.name, s.known.print) for s in good.get(index, ())] for index in range(len(found))]
        places = splits.assign(found, rule, seen)
    disputed = findings.conflicts(task, found, good)
    out = findings.settled(task, found, disputed)
    kept = {split: [i for i in good if places[i] == split and i not in out][:limit] for split in SPLITS}
    twins = findings.twins(found, good)
    counts = {}
    for split, indices in kept.items():
        made = (_sample(task, found[i], good[i], split, twins.get(i)) for i in indices)
        samples.write(samples.path_of(new, task.name, split), made)
        exports.write_sft(new / task.name / f"sft_{split}.json", task, samples.read(new, task.name, split))
        exports.write_rl(new / task.name / f"rl_{split}.parquet", task, samples.read(new, task.name, split), data)
        counts[split] = findings.count((s.answer for s in samples.read(new, task.name, split)), task)
    used = {s.name: s.known for indices in kept.values() for i in indices for s in good[i]}
    write_json(new / task.name / unchanged.PRINTS, dict(sorted(used.items())))
    rejected = {found[i].id: str(outcome) for i, outcome in outcomes.items() if isinstance(outcome, Rejected)}
    notes = Counter(note for known in used.values() for note in known.notes)
    notes["extension does not say what the file is"] = sum(
        any(map(store.wrong_extension, found[i].images, good[i])) for indices in kept.values() for i in indices
    )
    card = {
        "task": task.name,
        "mtrl": __version__,
        "protocol": rule.protocol,
        "counts": counts,
        "rows_in_release": len(found) + left.total(),
        "release_counts": {
            place: findings.count((r.answer for r, p in zip(found, places, strict=True) if p == place), task)
            for place in (*SPLITS, splits.DROPPED)
        },
        "rejects": dict(sorted(Counter(rejected.values()).items())),
        "rejected_rows": dict(list(rejected.items())[:100]),
        "left_out": dict(sorted((left + Counter({CONFLICTS: len(out)})).items())),
        "conflicts": sum(map(len, disputed)),
        "duplicates": sum(i in twins for indices in kept.values() for i in indices),
        "images": {"stored": len(used), "notes": {note: n for note, n in sorted(notes.items()) if n}},
        "limit": limit,
        "orient": task.orient,
        "label": task.label.model_dump(),
        "split": rule.model_dump(),
        "inputs": {file.name: digest for file, digest in tables.items()},
        "prompts": {style: prompting.sha256(task, style) for style in prompting.STYLES},
        "leakage": findings.leakage(task, found, good, kept),
    }
    write_json(new / task.name / CARD, card)
    _replace(new / task.name, folder)
    return card


def _known(data: Path) -> dict[str, images.Known]:
    """What conversions into this folder found in the images that are stored: AGIN's three tasks share theirs."""
    known = {}
    for file in data.glob(f"*/{unchanged.PRINTS}"):
        known.update(
            {name: images.Known(print_, tuple(notes)) for name, (print_, notes) in read_json(file, limit=LARGE).items()}
        )
    return known


def _sample(task: Task, row: Row, stored: tuple[store.Stored, ...], split: str, twin: str | None) -> Sample:
    fields = {name: prompting.escape(text) for name, text in row.fields.items()}
    source = {**row.source, **({"duplicate_of": twin} if twin else {}), "files": [p.name for p in row.images]}
    names = tuple(s.name for s in stored)
    sample = Sample(row.id, task.name, task.kind, names, fields, row.answer, split, row.group, source)
    if task.kind == "pairwise":
        return sample.turned() if _coin(row.id) else replace(sample, source={**source, "swapped": False})
    return sample


def _coin(identifier: str) -> bool:
    """A fair coin that always falls the same way for one id: releases put the better image first far too often."""
    return hashlib.sha256(identifier.encode()).digest()[0] % 2 == 1


def _try_prompts(task: Task, row: Row) -> None:
    """Fills both prompts with the first row: what is wrong with one must show before a good conversion is cleared away."""
    fields = {name: prompting.escape(text) for name, text in row.fields.items()}
    sample = Sample(row.id, task.name, task.kind, tuple(p.name for p in row.images), fields, row.answer, "train")
    for style in prompting.STYLES:
        prompting.renderer(task, style)(sample)
