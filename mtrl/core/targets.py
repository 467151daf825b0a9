"""Whether a command can write where it was told to, asked before any work is done for it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from mtrl.core.errors import UserError


def check_file(path: Path, option: str = "--out") -> None:
    """Raises UserError where no file can be written to `path`, which was given by `option`."""
    check_new(path, option)
    if path.is_dir():
        raise UserError(
            f"{option} {path} is a folder, not a file", f"name a file in it: {option} {shlex.quote(str(path / 'NAME'))}"
        )
    if path.exists() and not path.is_file():
        raise UserError(f"{option} {path} is not a regular file", f"pass another {option}")


def check_folder(path: Path, option: str = "--out") -> None:
    """Raises UserError where `path`, given by `option`, is no folder to write to and cannot become one."""
    _check(path, (path, *path.parents), option)


def check_new(path: Path, option: str) -> None:
    """Raises UserError where neither a file nor a folder can be made at `path`, given by `option`."""
    _check(path, path.parents, option)


def _check(path: Path, places: Iterable[Path], option: str) -> None:
    """Raises UserError unless the first of `places` that exists is a folder that can be written to."""
    try:
        if "\0" in str(path):
            raise ValueError("it has a NUL in its name")
        nearest = next(place for place in places if place.exists())
    except (OSError, ValueError) as error:  # OSError: a name that is too long, or a circle of links
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{option} {str(path)!r}: {reason}", f"pass another {option}") from None
    if not nearest.is_dir():
        raise UserError(f"{option} {path}: {nearest} is a file, and a folder is needed", f"pass another {option}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"{option} {path}: folder {nearest} may not be written to", f"pass another {option}")
