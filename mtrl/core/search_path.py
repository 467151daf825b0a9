"""Where recipes, presets, tasks, templates and prompts are found: in the working directory, then in what mtrl ships.

`recipes/tasks/mine.yaml` in the working directory is a task like any other. A file there replaces the shipped file of
the same name.
"""

from __future__ import annotations

from pathlib import Path

import mtrl.prompts
import mtrl.recipes
from mtrl.core.errors import UserError, nearest

SHIPPED = {"recipes": Path(mtrl.recipes.__file__).parent, "prompts": Path(mtrl.prompts.__file__).parent}


def roots(kind: str) -> list[Path]:
    """The folders called `kind` (recipes or prompts) that are searched, in order."""
    own = Path.cwd() / kind
    return [own, SHIPPED[kind]] if own.is_dir() else [SHIPPED[kind]]


def listing(kind: str, folder: str, suffix: str) -> dict[str, Path]:
    """{name without suffix: path} of the files that end in `suffix`, in `folder` of each root of `kind`."""
    found: dict[str, Path] = {}
    for root in roots(kind):
        for path in sorted((root / folder).glob(f"*{suffix}")):
            found.setdefault(path.name.removesuffix(suffix), path)
    return found


def find(kind: str, name: str, what: str) -> Path:
    """The file `name`, relative to a root of `kind`. Raises the UserError of `missing`; `what` names such a file."""
    for root in roots(kind):
        if (path := root / name).is_file():
            return path
    raise missing(kind, name, what)


def missing(kind: str, name: str, what: str, then: str = "") -> UserError:
    """The error for a file that no root of `kind` has: the nearest name, and the folders that were searched."""
    folder, _, file = name.rpartition("/")
    stem, suffix = Path(file).stem, Path(file).suffix
    searched = dict.fromkeys([Path.cwd() / kind / folder, *(root / folder for root in roots(kind))])
    places = [str(place) + ("" if place.is_dir() else " (no such folder)") for place in searched]
    return UserError(
        f"there is no {what} {stem!r}.{nearest(stem, listing(kind, folder, suffix))} "
        f"Searched for {file} in {' and '.join(places)}",
        then,
    )
