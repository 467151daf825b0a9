"""What a converter hands over: rows of a release, with images not yet read.

A converter is one module with one function, `rows(task, raw) -> Iterator[Row]`. It reads nothing but the release folder,
writes nothing, keeps the release's order, and raises UserError where the release is not what it expects. A second
function, `labels(task, raw) -> Iterator[(split or None, record)]`, gives `mtrl fit-labels` every column there is.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtrl.converters.readers.picture import Picture
from mtrl.core.errors import UserError


@dataclass(frozen=True)
class Row:
    """One labelled row. `answer` is a verdict; `split` None leaves it to the task's split rule; `file` is where it stood.

    `group` names the row's source (a prompt, a source image): what the grouped protocol does not part. `reject` is why
    the row cannot be used, if it cannot.
    """

    id: str
    images: tuple[Picture, ...]
    answer: str
    file: Path
    fields: dict[str, str] = field(default_factory=dict)
    split: str | None = None
    group: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    reject: str = ""


def release_folder(raw: Path, benchmark: str, wanted: str) -> Path:
    """RAW/<benchmark> or RAW, whichever holds `wanted`. Raises UserError saying what was looked for and what is there."""
    places = [raw / benchmark, raw] if benchmark else [raw]
    for place in places:
        if (place / wanted).exists():
            return place
    found = next((place for place in places if place.is_dir()), raw)
    held = sorted(p.name + "/" * p.is_dir() for p in found.iterdir())[:8] if found.is_dir() else None
    raise UserError(
        f"no {wanted} in {' or '.join(map(str, places))}; "
        + (f"{raw} does not exist" if held is None else f"{found} holds: {', '.join(held) or 'nothing'}"),
        "pass the folder that holds the releases: --raw DIR",
    )


def below(folder: Path, name: str, where: str) -> Picture:
    """The picture in the file `name` below `folder`. Raises UserError for a name that is empty or leads out of it.

    A name may stand composed in a table and decomposed on disk, or the other way round: unpacking tools differ in that.
    """
    base = os.path.normpath(folder)
    path = Path(os.path.normpath(folder / name))
    if not name or "\0" in name or not path.is_relative_to(base) or path == Path(base):
        raise UserError(f"{where}: image {name!r} is not a file name below {folder}")
    if not name.isascii() and not path.exists():
        forms = [Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD")]
        path = next((other for other in forms if other.exists()), path)
    return Picture(name, path=path)


def need_columns(file: Path, columns: set[str], wanted: set[str], then: str = "") -> None:
    """Raises UserError naming the columns that `file` lacks and those it has."""
    if gone := sorted(wanted - columns):
        raise UserError(f"{file} has no column {', '.join(gone)}; it has {', '.join(sorted(columns)) or 'none'}", then)
