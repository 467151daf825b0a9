"""The images that `mtrl judge` is given, as rows: files, folders of images, and tables (.csv, .jsonl).

A table has one row per item: `image`, or for several `image_1`, `image_2` and so on, or in JSONL a list `images`. Names
are relative to the table's folder. A folder gives the files whose ending names an image format, in the order of their
names; every other entry is counted with its reason. Links to folders are not followed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtrl.config.kinds import MOST_IMAGES
from mtrl.config.tasks import Task
from mtrl.converters.pipeline import images
from mtrl.converters.readers.tables import read_table
from mtrl.core.errors import UserError

TABLES = (".csv", ".jsonl")
NAMED = ("image", *(f"image_{place}" for place in range(1, MOST_IMAGES + 1)))
COLUMNS = (*NAMED, "images")  # where a table names images
SHOWN, LETTERS = 8, 12  # reasons that a message gives, and characters of a file's ending
DEEP = "in a folder below (--recursive reads those too)"


@dataclass(frozen=True)
class Row:
    """An item before it is checked."""

    where: str
    """What a message calls it: "list.csv, row 3", or the files."""
    folder: Path
    """The folder that names are relative to."""
    names: tuple[str, ...]
    """What the user calls the images."""
    columns: Mapping[str, Any]
    """The table's row as read; for files only an `id`."""


def columns(images: int) -> list[str]:
    """The columns of a table whose items have this number of images."""
    return ["image"] if images == 1 else [f"image_{place}" for place in range(1, images + 1)]


def rows(paths: list[Path], task: Task | None, recursive: bool, skipped: Counter[str]) -> list[Row]:
    """All items, tables first. As many files as an item of `task` has images are one item. Raises UserError.

    Adds to `skipped` the files in folders that are left out, by reason.
    """
    tables = [path for path in paths if path.suffix.lower() in TABLES]
    files: list[Path] = []
    for path in (path for path in paths if path not in tables):
        files += _of_folder(path, task, recursive, skipped) if "\0" not in str(path) and path.is_dir() else [path]
    each = task.images if task else 1
    if task and len(files) % each:
        raise UserError(
            f"task {task.name} {_takes(task)}, and {len(files)} are given",
            f"name them {'two by two' if each == 2 else f'{each} at a time'}",
        )
    groups = [tuple(map(str, files[start : start + each])) for start in range(0, len(files), each)]
    named = [Row(" and ".join(names), Path(), names, {"id": " ".join(names)}) for names in groups]
    return [*(row for table in tables for row in _of_table(table)), *named]


def text(value: Any) -> str:
    """A cell as text that can be written to a file: half of a surrogate pair, which JSON can hold, becomes "?"."""
    return "" if value is None else str(value).strip().encode("utf-8", "replace").decode()


def in_words(skipped: Counter[str]) -> str:
    """The counts, the most frequent reason first."""
    words = [f"{number:,} {reason}" for reason, number in skipped.most_common(SHOWN)]
    others = sum(number for _, number in skipped.most_common()[SHOWN:])
    return "; ".join([*words, *([f"{others:,} for other reasons"] if others else [])])


def _of_table(path: Path) -> Iterator[Row]:
    if not path.is_file():
        raise UserError(f"no table {path}: it {'is not a regular file' if path.exists() else 'does not exist'}")
    number = 0
    for number, columns in enumerate(read_table(path), start=1):
        if not any(name in columns for name in COLUMNS):
            raise UserError(
                f"{path}, row {number}: no column image, nor image_1 and image_2; its columns:"
                f" {', '.join(map(str, columns))}",
                "give the image column one of these names; a .csv separates columns by commas",
            )
        listed = columns.get("images") or [columns.get(key) for key in NAMED]
        names = [text(name) for name in (listed if isinstance(listed, list) else [listed])]
        yield Row(f"{path}, row {number}", path.parent, tuple(name for name in names if name), columns)
    if not number:
        raise UserError(f"{path} has no rows", "one row per item, with the name of its image in column image")


def _takes(task: Task) -> str:
    return f"{'compares' if task.pair else 'takes'} {'two' if task.images == 2 else task.images} images"


def _of_folder(folder: Path, task: Task | None, recursive: bool, skipped: Counter[str]) -> list[Path]:
    before = skipped.total()
    found = _walk(folder, recursive, skipped)
    if not found:
        there = f": {in_words(skipped)}" if skipped.total() > before else ""
        raise UserError(
            f"folder {folder} has no images that can be read{there}",
            "name image files, a folder of them, a .csv or a .jsonl",
        )
    if task and task.images > 1:
        names = columns(task.images)
        raise UserError(
            f"task {task.name} {_takes(task)}, and folder {folder} does not say which",
            f"name {'two' if task.images == 2 else task.images} files, or a table with {' and '.join(names)}",
        )
    return found


def _walk(folder: Path, recursive: bool, skipped: Counter[str]) -> list[Path]:
    found: list[Path] = []
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"folder {folder} cannot be read: {error.strerror or error}") from None
    for entry in entries:
        if entry.is_dir():
            if entry.is_symlink():
                skipped["a link to a folder"] += 1
            elif recursive:
                found += _walk(entry, recursive, skipped)
            elif inside := sum(not inner.is_dir() for inner in entry.rglob("*")):
                skipped[DEEP] += inside
        elif entry.suffix.lower().removeprefix(".") in images.ENDINGS:
            found.append(entry)
        else:
            skipped[f"{_ending(entry)}, which is not an image format"] += 1
    return found


def _ending(file: Path) -> str:
    """As a message can show it: a file name can have any characters."""
    if not file.suffix:
        return "no ending"
    return file.suffix if file.suffix.isprintable() and len(file.suffix) <= LETTERS else "an odd ending"
