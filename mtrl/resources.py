"""Where recipes, presets, tasks, templates and prompts are found: the working directory first, then what mtrl ships.

`recipes/tasks/mine.yaml` in the working directory is a task like any other; a file there with a shipped name wins.
"""

from __future__ import annotations

from pathlib import Path

from mtrl.errors import UserError, nearest


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
    """The file `name`, relative to a root of `kind`. Raises UserError with the nearest name."""
    for root in roots():
        if root.name == kind and (path := root / name).is_file():
            return path
    folder, _, _stem = name.rpartition("/")
    suffix = Path(name).suffix
    known = listing(kind, folder, suffix)
    raise UserError(
        f"there is no {what} {Path(name).stem!r} (looked for {kind}/{name} here and in what mtrl ships)."
        + nearest(Path(name).stem, known)
    )
