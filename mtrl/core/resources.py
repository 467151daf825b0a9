"""Where recipes, presets, tasks, templates and prompts are found: the working directory first, then what mtrl ships.

`recipes/tasks/mine.yaml` in the working directory is a task like any other; a file there with a shipped name wins.
"""

from __future__ import annotations

from pathlib import Path

from mtrl.core.errors import UserError, nearest


def roots() -> list[Path]:
    """Folders that hold recipes/ and prompts/, nearest first."""
    import mtrl.prompts
    import mtrl.recipes

    shipped = {"recipes": Path(mtrl.recipes.__file__).parent, "prompts": Path(mtrl.prompts.__file__).parent}
    own = [Path.cwd() / kind for kind in shipped]
    return [*(folder for folder in own if folder.is_dir()), *shipped.values()]


def listing(kind: str, folder: str, suffix: str) -> dict[str, Path]:
    """{stem: path} of all files with `suffix` in `folder` of every root of `kind` (recipes or prompts)."""
    found: dict[str, Path] = {}
    for root in roots():
        if root.name == kind:
            for path in sorted((root / folder).glob(f"*{suffix}")):
                found.setdefault(path.name.removesuffix(suffix), path)
    return found


def find(kind: str, name: str, what: str) -> Path:
    """The file `name`, relative to a root of `kind`. Raises UserError as `missing` says."""
    for root in roots():
        if root.name == kind and (path := root / name).is_file():
            return path
    raise missing(kind, name, what)


def missing(kind: str, name: str, what: str, then: str = "") -> UserError:
    """The error for a file `name` of `kind` that no root holds: the nearest name, and the folders that were searched."""
    folder, _, file = name.rpartition("/")
    stem, suffix = Path(file).stem, Path(file).suffix
    searched = [Path.cwd() / kind / folder, *(root / folder for root in roots() if root.name == kind)]
    places = [str(place) + ("" if place.is_dir() else " (no such folder)") for place in dict.fromkeys(searched)]
    return UserError(
        f"there is no {what} {stem!r}.{nearest(stem, listing(kind, folder, suffix))} "
        f"Searched for {file} in {' and '.join(places)}",
        then,
    )
