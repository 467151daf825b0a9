"""What a table's columns and values suggest for a task: which column holds images, labels or texts, and what labels
mean.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtrl.config.tasks import SPLITS
from mtrl.converters.readers.picture import Picture
from mtrl.converters.readers.tables import read_table
from mtrl.core.errors import UserError

CHOICES = {"pointwise": ("yes", "no"), "pairwise": ("1", "2")}
IMAGE = re.compile(r"\S.*\.(jpe?g|png|webp|gif|bmp|tiff?|avif|hei[cf])", re.IGNORECASE)
LABELS = ("label", "labels", "verdict", "answer", "better", "winner", "preference", "class", "rating", "score", "stars")
TEXTS = ("caption", "prompt", "text", "description", "question")
GROUPS = ("pair", "group", "scene", "cluster")
YES = ("yes", "true", "1", "good", "ok", "pass", "original", "real", "match", "correct", "accept", "positive")
NO = ("no", "false", "0", "bad", "fail", "edited", "fake", "mismatch", "wrong", "reject", "negative")
TIES = ("tie", "both", "equal", "same", "neither", "none")
FEW = 12  # different labels that are listed one by one


@dataclass(frozen=True)
class Meaning:
    """Labels by verdict, and those whose rows are left out; or a rule, where there are too many numbers to list."""

    values: dict[str, list[str]] = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)
    rule: str = ""


@dataclass(frozen=True)
class Guess:
    """A task as its table suggests it. Names are the table's columns; "" where it has no such column.

    `image_folder` is below the table's folder, "" for that folder itself. `missing` says what was looked for in vain.
    """

    kind: str
    file: str
    images: list[str]
    image_folder: str
    label: str
    meaning: Meaning
    texts: list[str] = field(default_factory=list)
    group: str = ""
    split: str = ""
    missing: list[str] = field(default_factory=list)


def without_table(kind: str | None) -> Guess:
    """Names to replace, where there is no table to look at."""
    if kind == "pairwise":
        sides = Meaning({"1": ["left"], "2": ["right"]})
        return Guess(kind, "labels.csv", ["image_1", "image_2"], "images", "better", sides)
    return Guess("pointwise", "labels.csv", ["image"], "images", "label", Meaning({"yes": ["good"], "no": ["bad"]}))


def from_table(table: Path, kind: str | None) -> Guess:
    """Without `kind`, two columns of images make it pairwise. Raises UserError for a table without images."""
    rows = list(read_table(table))
    if not rows:
        raise UserError(f"{table} has no rows")
    columns = {name: [row.get(name) for row in rows] for name in rows[0]}
    pictures = [name for name, cells in columns.items() if all(map(_is_image, cells))]
    kind = kind or ("pairwise" if len(pictures) > 1 else "pointwise")
    wanted = len(CHOICES[kind]) if kind == "pairwise" else 1
    if len(pictures) < wanted:
        raise UserError(
            f"{table}: a {kind} task needs {wanted} column{'s' * (wanted > 1)} of image files (a.jpg), "
            "and the table has"
            f" {len(pictures)}. Its columns: {', '.join(columns)}",
            "name the image files in a column of their own, or leave --table out and write the YAML by hand",
        )
    words = {name: list(map(_word, cells)) for name, cells in columns.items() if name not in pictures}
    split = next((name for name, cells in words.items() if set(cells) <= set(SPLITS)), "")
    group = next((name for name in words if name.lower() in GROUPS), "")
    label = _label({name: cells for name, cells in words.items() if name not in (split, group)})
    folder = _folder(table.parent, columns[pictures[0]][0])
    found = meaning(words[label], kind) if label else without_table(kind).meaning
    missing = [] if label else [f"{table} has no column that looks like labels"]
    for verdict, labels in found.values.items():
        if not labels:
            missing.append(f"no label in column {label} seems to mean {verdict}: write one in label.values.{verdict}")
            labels.append("?")
    if folder is None:
        missing.append(f"{columns[pictures[0]][0]} is not in {table.parent} or a folder in it: set source.image_folder")
    return Guess(
        kind=kind,
        file=table.name,
        images=pictures[:wanted],
        image_folder=folder or "",
        label=label or "label",
        meaning=found,
        texts=[name for name, cells in words.items() if name not in (split, group, label) and _is_text(name, cells)],
        group=group,
        split=split,
        missing=missing,
    )


def meaning(labels: list[str], kind: str) -> Meaning:
    """Which label is which verdict. Of more than two numbers the upper half is yes; what is unclear is left out."""
    one, other = CHOICES[kind]
    found, empty = sorted(set(labels) - {""}), [""] if "" in labels else []
    if kind == "pairwise":
        sides = [word for word in found if word.lower() not in TIES][:2]
        return Meaning({one: sides[:1], other: sides[1:]}, empty + [word for word in found if word not in sides])
    if len(found) > 2 and (numbers := _numbers([word for word in labels if word])):
        if len(found) > FEW:
            return Meaning(drop=empty, rule=f">= {sorted(numbers)[len(numbers) // 2]:g}")
        found.sort(key=float)
        half = len(found) // 2
        return Meaning({one: found[-half:], other: found[:half]}, empty + found[half:-half])
    good = [word for word in found if word.lower() in YES]
    bad = [word for word in found if word.lower() in NO]
    rest = [word for word in found if word not in (*good, *bad)]
    for side in (good, bad):
        if not side and rest:
            side.append(rest.pop(0))
    return Meaning({one: good, other: bad}, empty + rest)


def _is_image(cell: Any) -> bool:
    return isinstance(cell, Picture | dict) or IMAGE.fullmatch(_word(cell)) is not None


def _is_text(name: str, cells: list[str]) -> bool:
    return name.lower() in TEXTS or sum(len(cell.split()) for cell in cells) >= 3 * len(cells)


def _folder(folder: Path, image: Any) -> str | None:
    """Where an image file is: "" for `folder` itself or inside the table, else the name of a folder in it, or None."""
    if isinstance(image, Picture | dict) or (folder / _word(image)).is_file():
        return ""
    return next((place.name for place in sorted(folder.iterdir()) if (place / _word(image)).is_file()), None)


def _label(words: dict[str, list[str]]) -> str:
    """By its name, else the column of the fewest different words; "" where none has from two to FEW of them."""
    named = [name for wanted in LABELS for name in words if name.lower() == wanted]
    different = {name: len(set(cells)) for name, cells in words.items()}
    few = sorted((n, name) for name, n in different.items() if 1 < n <= FEW and n < len(words[name]))
    return [*named, *(name for _, name in few), ""][0]


def _numbers(words: list[str]) -> list[float]:
    """The words as numbers, none where one is not a number."""
    try:
        return [float(word) for word in words]
    except ValueError:
        return []


def _word(cell: Any) -> str:
    return str(cell).lower() if isinstance(cell, bool) else str("" if cell is None else cell).strip()
