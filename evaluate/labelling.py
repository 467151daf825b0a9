"""Which images of a judged set a person labels: a random sample, and the CSV that goes there and comes back.

A seed puts the images of a task into an order (by the hash of seed, task and id). The first n are a simple random
sample without replacement, for every n: so a sample is continued by the next ones, and whether labels are of the sample
can be seen from the set and the seed alone. The CSV has no verdicts: who sees one is led by it.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mtrl.converters.readers.tables import Record, read_table
from mtrl.core import csv_files, hints
from mtrl.core.errors import UserError
from mtrl.evaluate.judged_set import IMAGES, Judged, JudgedSet, cell, image_names

SHOWN = 5  # names that a message lists
MISSING = 0.1  # share of a sample without a label from which it is no sample of the set; ours


@dataclass(frozen=True)
class Label:
    """What a person says about one item of the set."""

    of: Judged
    label: str
    """The right verdict."""
    seed: int | None
    """The seed of the sample that the image was drawn into; None where it was chosen in another way."""
    where: str
    """The file and row, for messages."""


class Labels(NamedTuple):
    """All labels that were given."""

    found: dict[str, dict[str, Label]]
    """By task and id."""
    outside: list[str]
    """Places of labels of images that are not in the set."""
    file: Path | None
    """The table; None where they are the set's own."""
    blank: int = 0
    """Its rows without a label."""


class Used(NamedTuple):
    """The labels of a task that an estimate can count on."""

    labels: dict[str, str]
    """By id."""
    seed: int | None
    """The seed of the random sample that they are; None where it is not known whether they are one."""
    notes: list[str]
    """What a reader of the estimate has to know, in sentences."""


def order(rows: Iterable[Judged], seed: int) -> list[Judged]:
    """The rows in the order in which they are drawn."""
    return sorted(rows, key=lambda row: hashlib.sha256(f"{seed}\n{row.task}\n{row.id}".encode()).digest())


def read(file: Path, judged: JudgedSet, names: Sequence[str], meant: Callable[[str, str], str]) -> Labels:
    """The labels of the tasks `names` in a table with the columns `label`, `id` or the images' names, and `task` where
    there are several. Raises UserError.

    `meant` gets a task's name and the text of a label, and gives the verdict that it means, "" for none.
    """
    ids = {(name, row.id): row for name in names for row in judged.tasks[name]}
    by_image: dict[tuple[str, ...], list[Judged]] = {}
    for one in ids.values():
        by_image.setdefault((one.task, *one.names), []).append(one)
    found: dict[str, dict[str, Label]] = {}
    outside: list[str] = []
    blank = 0
    for record in read_table(file):
        if "label" not in record or not any(name in record for name in ("id", *IMAGES)):
            raise UserError(
                f"{record.where}: labels need a column label, and a column id or image; it has {', '.join(record)}",
                draw_first(judged.path),
            )
        task = cell(record, "task") or (names[0] if len(names) == 1 else "")
        if not task:
            raise UserError(f"{record.where}: its task is not known", "add a column task, or pass --tasks NAME")
        word = cell(record, "label")
        if not word or task not in names:
            blank += task in names
            continue
        try:
            label = meant(task, word)
        except UserError as error:
            raise UserError(f"{record.where}: {error}", error.then) from None
        if (row := _row(record, task, ids, by_image)) is None:
            outside.append(f"{record.where} ({_called(record)})")
            continue
        if not label:
            continue
        own = Label(row, label, _seed(record), record.where)
        other = found.setdefault(task, {}).setdefault(row.id, own)
        if other.label != label:
            raise UserError(
                f"{row.id!r} of task {task} has two labels: {other.label} in {other.where}, {label} in {own.where}",
                "keep one of the two rows",
            )
    if outside and not found:
        example = next(iter(ids.values()))
        raise UserError(
            f"none of the {len(outside):,} labels in {file} is of an image of the set: the first is {outside[0]}, and"
            f" the set has {example.id!r}",
            "call images as the verdicts do: the same id, or the same image",
        )
    return Labels(found, outside, file, blank)


def seed_of(labels: Iterable[Label]) -> int | None:
    """The seed of the sample that the labels are of; None where none was drawn. Raises UserError for several."""
    seeds = {one.seed for one in labels if one.seed is not None}
    if len(seeds) > 1:
        raise UserError(
            f"the labels are of samples with seeds {', '.join(map(str, sorted(seeds)))}", "keep those of one seed"
        )
    return seeds.pop() if seeds else None


def used(judged: JudgedSet, name: str, given: Labels) -> Used:
    """The labels of one task. Raises UserError where they say that they are a sample of the set, and cannot be one."""
    labels, notes = given.found.get(name, {}), list[str]()
    seed = seed_of(labels.values())
    if seed is None:
        return Used({name: one.label for name, one in labels.items()}, None, notes)
    drawn = order(judged.tasks[name], seed)
    last = max(place for place, row in enumerate(drawn) if row.id in labels and labels[row.id].seed is not None)
    sample = drawn[: last + 1]
    known = {row.id: labels[row.id].label for row in sample if row.id in labels}
    missing = [row.id for row in sample if row.id not in labels]
    if len(missing) > MISSING * len(sample):
        raise UserError(
            f"{len(missing):,} of the first {len(sample):,} images of the sample with seed {seed} have no label"
            f" ({_listed(missing)}): they were left out, or the set has other images than when it was drawn",
            draw_first(judged.path, given.file, len(missing)),
        )
    if missing:
        notes.append(
            f"{len(missing):,} of the {len(sample):,} sampled images have no label ({_listed(missing)}); if they are"
            " harder than the others, the estimates are biased"
        )
    if others := len(labels) - len(known):
        notes.append(f"{others:,} labels are of images outside the random sample, and were not used")
    return Used(known, seed, notes)


def draw_first(verdicts: Path, labels: Path | None = None, number: int = 200) -> str:
    """The command that draws images to label."""
    out = next(path for n in itertools.count(1) if not (path := Path(f"label{n}.csv")).exists())
    return hints.line("estimate", verdicts, labels=labels, next=number, out=out)


def draw(rows: Sequence[Judged], labels: Mapping[str, Label], number: int, seed: int) -> list[Judged]:
    """The images to write: those of the sample that have a label, and the next `number` without one."""
    chosen, left = [], number
    for row in order(rows, seed):
        if row.id not in labels:
            if not left:
                break
            left -= 1
        chosen.append(row)
    return chosen


def write(file: Path, rows: Sequence[Judged], labels: Mapping[str, Mapping[str, Label]], seed: int) -> None:
    """The CSV to fill in; labels that are known are in it."""

    def cells(row: Judged) -> dict[str, str]:
        known = labels.get(row.task, {}).get(row.id)
        own = {"id": row.id, "task": row.task, "label": known.label if known else "", "seed": str(seed)}
        return own | dict(zip(IMAGES, row.names, strict=False))

    images = max((len(row.names) for row in rows), default=0)
    csv_files.write(file, ["id", *IMAGES[:images], "task", "label", "seed"], map(cells, rows))


def _row(
    record: Record, task: str, ids: Mapping[tuple[str, str], Judged], by_image: Mapping[tuple[str, ...], list[Judged]]
) -> Judged | None:
    if name := cell(record, "id"):
        return ids.get((task, name))
    if not (given := image_names(record)):
        raise UserError(f"{record.where} has a label and neither id nor image", "give the image that it is of")
    same = by_image.get((task, *given), [])
    if len(same) > 1:
        raise UserError(
            f"{record.where}: {' '.join(given)} is {len(same)} rows of the set, such as {same[0].id!r} and"
            f" {same[1].id!r}",
            "say which by a column id",
        )
    return same[0] if same else ids.get((task, " ".join(given)))


def _seed(record: Record) -> int | None:
    value = cell(record, "seed")
    if value and not value.isdecimal():
        raise UserError(f"{record.where}: seed {value!r} is not a whole number", "leave column seed as it was written")
    return int(value) if value else None


def _called(record: Record) -> str:
    return " ".join(value for name in ("id", *IMAGES) if (value := cell(record, name)))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
