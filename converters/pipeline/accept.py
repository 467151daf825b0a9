"""Checks of the rows before the first image is read: verdicts, ids, splits and files are as the task says."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from mtrl.config.datacard import Agreement
from mtrl.config.labels import DROP, TIED, TIES, UNLABELLED
from mtrl.config.tasks import SPLITS, Task
from mtrl.converters.base import Row, release_folder
from mtrl.converters.pipeline import agreement
from mtrl.converters.readers.picture import Picture
from mtrl.core.errors import UserError
from mtrl.reward_plugins import judge

FOLDERS, NAMES = 2000, 20  # searched for images, and how many of them


@dataclass(frozen=True)
class Accepted:
    rows: list[Row]
    """Those to convert."""
    left_out: Counter[str]
    """How many rows the task leaves out, per key of its YAML."""
    agreement: Agreement | None
    """Of the annotators, over all rows; None where each row has one label."""


def accepted(task: Task, rows: list[Row], raw: Path) -> Accepted:
    """Raises UserError."""
    yaml = f"recipes/tasks/{task.name}.yaml"
    if odd := next((row for row in rows if row.answer not in (*task.choices, DROP, TIES, TIED, UNLABELLED)), None):
        raise UserError(
            f"task {task.name}: row {odd.id} has the answer {odd.answer!r}, not {judge.said(task.choices)}",
            f"correct converter {task.converter!r}: the answer of a Row is what task.verdicts returns",
        )
    if odd := next((row for row in rows if row.score is not None and not _is_number(row.score)), None):
        raise UserError(
            f"task {task.name}: row {odd.id} has the score {str(odd.score)[:80]!r}, not a number",
            f"correct converter {task.converter!r}: the score of a Row is a finite float, or None",
        )
    if odd := next((row for row in rows if not {*row.annotators.values()} <= {*task.choices}), None):
        raise UserError(
            f"task {task.name}: row {odd.id} has the annotators {odd.annotators}, not all {judge.said(task.choices)}",
            f"correct converter {task.converter!r}: the annotators of a Row are verdicts by name",
        )
    left = Counter(row.answer for row in rows if row.answer not in task.choices)
    kept = [_whole(task, row) for row in rows if row.answer in task.choices]
    if not kept:
        raise UserError(f"task {task.name}: {' and '.join(left)} leave out all {len(rows)} rows", f"change {yaml}")
    _ids(task, kept)
    _splits(task, kept)
    _files(task, kept, raw)
    return Accepted(kept, left, agreement.of_rows(rows, task.choices))


def _is_number(score: object) -> bool:
    return isinstance(score, int | float) and type(score) is not bool and abs(score) <= sys.float_info.max


def _whole(task: Task, row: Row) -> Row:
    """The row, rejected where its images are not as many as the task's, or a pair of texts alone has equal texts."""
    why = row.reject
    if not why and len(row.images) != task.images:
        why = f"{len(row.images)} images, not {task.images}"
    texts = task.pair.fields if task.pair and not task.pair.images else []
    if not why and texts and len({row.fields.get(name) for name in texts}) == 1:
        why = "both texts of the pair are equal"
    return replace(row, reject=why) if why else row


def parted(task: Task, rows: list[Row], places: list[str]) -> None:
    """Raises UserError where rows of one value of split.group are in several splits of the release."""
    seen: dict[str, tuple[str, str]] = {}  # group -> its split, and a row of it
    found: dict[str, str] = {}
    for row, place in zip(rows, places, strict=True):
        if task.split.group and row.group and place in SPLITS:
            first, identifier = seen.setdefault(row.group, (place, row.id))
            if first != place:
                found.setdefault(
                    row.group, f"{row.group!r} is in {first} (row {identifier}) and {place} (row {row.id})"
                )
    if found:
        raise UserError(
            f"task {task.name}: split.group is {task.split.group!r}, and {len(found)} of its {len(seen)} values are "
            f"in two splits: {next(iter(found.values()))}",
            "change the splits of the table, leave out split.group, or write protocol: grouped, which drops training "
            "rows that share a group with a held-out row",
        )


def _ids(task: Task, rows: list[Row]) -> None:
    twice = [identifier for identifier, times in Counter(row.id for row in rows).items() if times > 1]
    if twice:
        raise UserError(
            f"task {task.name}: {len(twice)} ids are used more than once, the first is {twice[0]!r}",
            f"leave source.id out of recipes/tasks/{task.name}.yaml, and the id is the image's file name"
            if task.converter == "table"
            else f"look at {rows[0].file}: is it the release's own?",
        )


def _splits(task: Task, rows: list[Row]) -> None:
    given = {row.split for row in rows}
    if task.split.by == "column" and not given <= set(SPLITS):
        raise UserError(
            f"task {task.name}: split.by is column, and converter {task.converter!r} gives no split for some rows",
            "leave out split.by and split.column, and rows are split at random",
        )
    if gone := [split for split in task.split.official if split not in given]:
        raise UserError(
            f"task {task.name}: split.official names {gone[0]}, and no row of the release has that split",
            "name the column that has it: split.column (of a Hugging Face folder: column: split)"
            if task.converter == "table" and not task.split.column
            else f"leave {gone[0]} out of split.official",
        )


def _files(task: Task, rows: list[Row], raw: Path) -> None:
    pictures = [(row, picture) for row in rows for picture in row.images]
    gone = [(row, picture) for row, picture in pictures if picture.path is not None and not _there(picture.path)]
    if gone:
        row, picture = gone[0]
        raise UserError(
            f"task {task.name}: {len(gone)} of {len(pictures)} images are missing; the first is {picture.path}, "
            f"of row {row.id}",
            _advice(task, row, [picture for _, picture in gone[:NAMES]], raw),
        )


def _there(path: Path) -> bool:
    """Whether the name exists; a folder or a device is rejected later, when it is read."""
    try:
        return path.exists()
    except (OSError, ValueError):  # the name is too long, below a file, or has a NUL
        return False


def _advice(task: Task, row: Row, gone: list[Picture], raw: Path) -> str:
    if any("\\" in picture.name for picture in gone):
        return f"{row.file} writes file names with backslashes, as Windows does: write / in place of \\"
    places = islice((Path(place) for place, _, _ in os.walk(raw)), FOLDERS)
    held = {place: sum(_there(place / picture.name) for picture in gone) for place in places}
    best = max(held, key=lambda place: held[place], default=raw)
    if not held.get(best):
        return f"add the files, or remove these rows from {row.file}"
    said = f"{held[best]} of the first {len(gone)} are in {best}"
    if task.converter != "table":
        return said
    folder = release_folder(raw, str(task.source.get("folder", "")), str(task.source.get("file", "")))
    return f"{said}: write image_folder: {os.path.relpath(best, folder)} under source in recipes/tasks/{task.name}.yaml"
