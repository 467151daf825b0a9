"""The image files that `mtrl judge` is given: files by name, and what folders hold. What is left out is counted.

A folder's images are those whose ending names an image format. Every other entry is counted with its reason, so that no
file is left out without a word. Folders are read in the order of their names; links to folders are not followed.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mtrl.converters.pipeline import images
from mtrl.core.errors import UserError

SHOWN, LETTERS = 8, 12  # reasons that a message gives, and characters of an ending
DEEP = "in a folder below (--recursive reads those too)"


def of_folder(folder: Path, recursive: bool, skipped: Counter[str]) -> list[Path]:
    """The images of a folder, in order. Adds to `skipped`, by reason. Raises UserError where there is none."""
    before = skipped.total()
    found = _walk(folder, recursive, skipped)
    if not found:
        there = f": {said(skipped)}" if skipped.total() > before else ""
        raise UserError(
            f"folder {folder} holds no images that can be read{there}",
            "name image files, a folder of them, a .csv or a .jsonl",
        )
    return found


def _walk(folder: Path, recursive: bool, skipped: Counter[str]) -> list[Path]:
    found: list[Path] = []
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"folder {folder} cannot be read: {error.strerror or error}") from None
    for entry in entries:
        ending = entry.suffix.lower().removeprefix(".")
        if entry.is_dir():
            if entry.is_symlink():
                skipped["a link to a folder"] += 1
            elif recursive:
                found += _walk(entry, recursive, skipped)
            elif inside := sum(not inner.is_dir() for inner in entry.rglob("*")):
                skipped[DEEP] += inside
        elif ending in images.ENDINGS:
            found.append(entry)
        else:
            skipped[f"{_ending(entry)}, which is no image format"] += 1
    return found


def _ending(file: Path) -> str:
    """As a message may have it: a name can hold anything."""
    if not file.suffix:
        return "no ending"
    return file.suffix if file.suffix.isprintable() and len(file.suffix) <= LETTERS else "an odd ending"


def said(skipped: Counter[str]) -> str:
    """The counts in words, the most frequent reason first."""
    words = [f"{number:,} {reason}" for reason, number in skipped.most_common(SHOWN)]
    others = sum(number for _, number in skipped.most_common()[SHOWN:])
    return "; ".join([*words, *([f"{others:,} for other reasons"] if others else [])])
