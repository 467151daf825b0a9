"""Whether a command can write where --out says, checked before any work is done."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from mtrl.core.errors import UserError


def check_file(path: Path) -> None:
    """Raises UserError where no file can be written to `path`."""
    check_new(path)
    if path.is_dir():
        raise UserError(
            f"--out {path} is a folder, not a file", f"name a file in it: --out {shlex.quote(str(path / 'NAME'))}"
        )
    if path.exists() and not path.is_file():
        raise UserError(f"--out {path} is not a regular file", "pass another --out")


def check_folder(path: Path) -> None:
    """Raises UserError where `path` is no folder to write to and cannot become one."""
    _check(path, (path, *path.parents))


def check_new(path: Path) -> None:
    """Raises UserError where neither a file nor a folder can be made at `path`."""
    _check(path, path.parents)


def _check(path: Path, places: Iterable[Path]) -> None:
    """Raises UserError unless the first of `places` that exists is a folder that can be written to."""
    try:
        if "\0" in str(path):
            raise ValueError("it has a NUL in its name")
        nearest = next(place for place in places if place.exists())
    except (OSError, ValueError) as error:  # OSError: a name that is too long, or a circle of links
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--out {str(path)!r}: {reason}", "pass another --out") from None
    if not nearest.is_dir():
        raise UserError(f"--out {path}: {nearest} is a file, and a folder is needed", "pass another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"--out {path}: folder {nearest} may not be written to", "pass another --out")
