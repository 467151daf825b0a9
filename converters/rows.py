"""What a converter hands over: rows of a release, with images not yet read.

A converter is one module with one function, `rows(task, raw) -> Iterator[Row]`. It reads nothing but the release folder,
writes nothing, keeps the release's order, and raises UserError where the release is not what it expects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtrl.errors import UserError


@dataclass(frozen=True)
class Picture:
    """An image of the release: a file of its own (`path`), or bytes that `load` fetches when they are needed."""

    name: str
    path: Path | None = None
    load: Callable[[], bytes] | None = None

    def read(self) -> bytes:
        if self.load is not None:
            return self.load()
        assert self.path is not None, f"picture {self.name} has neither path nor load"
        return self.path.read_bytes()


@dataclass(frozen=True)
class Row:
    """One labelled row. `answer` is a verdict; `split` None leaves it to the task's split rule; `file` is where it stood."""

    id: str
    images: tuple[Picture, ...]
    answer: str
    file: Path
    fields: dict[str, str] = field(default_factory=dict)
    split: str | None = None
    group: str = ""
    source: dict[str, Any] = field(default_factory=dict)


def release_folder(raw: Path, benchmark: str, wanted: str) -> Path:
    """RAW/<benchmark> or RAW, whichever holds `wanted`. Raises UserError saying what was looked for and what is there."""
    places = [raw / benchmark, raw] if benchmark else [raw]
    for place in places:
        if (place / wanted).exists():
            return place
    held = sorted(p.name for p in raw.iterdir())[:8] if raw.is_dir() else None
    raise UserError(
        f"no {wanted} in {' or '.join(map(str, places))}; "
        + (f"{raw} does not exist" if held is None else f"{raw} holds: {', '.join(held) or 'nothing'}"),
        "pass the folder that holds the releases: --raw DIR",
    )
