"""What a converter gives, and what converters share. A converter turns one release into Rows; images are not read yet.

It is a module with one function, `rows(task, raw) -> Iterator[Row]`; `raw` is the folder that --raw names. It reads
the release only, writes nothing, keeps the release's order, and raises UserError where the release is not as
expected. A second function is optional: `labels(task, raw) -> Iterator[Record]` gives `mtrl fit-labels` the columns
that may hold the label.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtrl.config.tasks import Task
from mtrl.converters.readers.picture import Picture
from mtrl.converters.readers.tables import Record, read_table
from mtrl.core.errors import UserError
from mtrl.core.schema import M, validate


class Absent(UserError):
    """The folder of the releases has no folder of this benchmark."""


@dataclass(frozen=True)
class Row:
    """One labelled item of a release."""

    id: str
    """Unique in the release and the same in every conversion."""
    images: tuple[Picture, ...]
    """As many as the task says, in the order of the prompt; of a pair, the order that `answer` counts."""
    answer: str
    """What `Task.verdicts` gives for the label: a verdict, or the key of the task that leaves the row out."""
    file: Path
    """The file that holds the label: its sha256 is in the card, and when it changes, the task is converted again."""
    fields: dict[str, str] = field(default_factory=dict)
    """The texts that prompts may use, by the name that they use."""
    split: str | None = None
    """train, val or test, where the release says so; None: by the task's split rule."""
    group: str = ""
    """What the row comes from, such as a prompt: a grouped split keeps its rows together. "": itself."""
    source: dict[str, Any] = field(default_factory=dict)
    """More of the release's own columns, to be kept with the sample as JSON."""
    score: float | None = None
    """The release's own number that the answer was made from: what `Task.numbers` gives for the label."""
    annotators: dict[str, str] = field(default_factory=dict)
    """Where several labelled the row, the verdict of each by name; {} otherwise."""
    reject: str = ""
    """Why the row cannot be used; "" where it can. Rejected rows are counted in the card."""


def settings(task: Task, model: type[M]) -> M:
    """The task's `source` as the converter's own type. Raises UserError."""
    return validate(model, task.source, f"recipes/tasks/{task.name}.yaml, source")


def release_folder(raw: Path, benchmark: str, wanted: str) -> Path:
    """RAW/<benchmark> or RAW, whichever has `wanted` in it. Raises UserError with the places and what is in them:
    Absent, where there is no RAW/<benchmark>."""
    places = [raw / benchmark, raw] if benchmark else [raw]
    for place in places:
        if (place / wanted).exists():
            return place
    found = next((place for place in places if place.is_dir()), raw)
    held = sorted(p.name + "/" * p.is_dir() for p in found.iterdir())[:8] if found.is_dir() else None
    raise (Absent if benchmark and raw.is_dir() and not places[0].is_dir() else UserError)(
        f"no {wanted} in {' or '.join(map(str, places))}; "
        + (f"{raw} does not exist" if held is None else f"{found} has: {', '.join(held) or 'nothing'}"),
        "pass the folder of the releases: --raw DIR",
    )


def table(file: Path, wanted: Iterable[str], split: str | None = None, then: str = "") -> list[Record]:
    """All rows of a table. Raises UserError, with `then` as the next step, where one lacks a `wanted` column."""
    records, wanted = list(read_table(file, split)), set(wanted)
    for record in records:
        need_columns(file if record is records[0] else record.where, set(record), wanted, then)
    return records


def answers(task: Task, records: Iterable[Record]) -> list[str]:
    """Row.answer of each record, by the task's label column. Raises MtrlError, UserError."""
    return task.verdicts((record[task.label.column], record.where) for record in records)


def ids(records: Iterable[Record], column: str) -> list[str]:
    """Row.id of each record: its cell of `column`, with the row's number where an earlier record has the same cell."""
    taken: set[str] = set()
    found = []
    for record in records:
        name = str(record[column])
        found.append(f"{name} (row {record.number})" if name in taken else name)
        taken.add(name)
    return found


def below(folder: Path, name: str, where: str) -> Picture:
    """The picture in the file `name` below `folder`. Raises UserError for a name that leads out of it, or is empty.

    The name in the table and on disk may be in different Unicode forms (composed, decomposed): unpacking tools differ.
    """
    base = os.path.normpath(folder)
    path = Path(os.path.normpath(folder / name))
    if not name or "\0" in name or not path.is_relative_to(base) or path == Path(base):
        raise UserError(f"{where}: image {name!r} is not a file name below {folder}")
    if not name.isascii() and not path.exists():
        forms = [Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD")]
        path = next((other for other in forms if other.exists()), path)
    return Picture(name, path=path)


def need_columns(place: Path | str, columns: set[str], wanted: set[str], then: str = "") -> None:
    """Raises UserError with the columns that `place`, a table or a row of one, lacks and those it has."""
    if gone := sorted(wanted - columns):
        raise UserError(f"{place} has no column {', '.join(gone)}; it has {', '.join(sorted(columns)) or 'none'}", then)
