"""What a table's columns suggest for a task: which column holds images, labels, texts, groups and splits."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtrl.config.tasks import SPLITS
from mtrl.converters.pipeline.label_meaning import FEW, Meaning, kind_of, meaning
from mtrl.converters.readers.picture import Picture
from mtrl.converters.readers.tables import read_table
from mtrl.core.errors import UserError

IMAGE = re.compile(r"\S.*\.(jpe?g|png|webp|gif|bmp|tiff?|avif|hei[cf])", re.IGNORECASE)
LABELS = ("label", "labels", "verdict", "answer", "better", "winner", "preference", "class", "rating", "score", "stars")
TEXTS = ("caption", "prompt", "text", "description", "question")
ANNOTATORS = ("annotator", "rater", "labeler", "labeller", "worker")
OF_ONE = re.compile(
    rf"({'|'.join(ANNOTATORS)})([ _-]?\d+|[ _-]\w+)|(label|vote)[ _-]?(\d+|(?<=[ _-])[a-z])", re.IGNORECASE
)
GROUPS = ("pair", "group", "scene", "cluster")


@dataclass(frozen=True)
class Column:
    """A column of the table, as `mtrl new-task` shows it."""

    name: str
    role: str
    """image, label, annotator, text, group, split, or "" where it is not used."""
    different: int
    """How many different values it has."""
    example: str
    """Its first value that is not empty."""


@dataclass(frozen=True)
class Guess:
    """A task as its table suggests it. Names are the table's columns; "" if it has no such column."""

    kind: str
    file: str
    images: list[str]
    image_folder: str
    """Below the table's folder; "" is that folder itself."""
    label: str
    """The first of `labels_by`, where each annotator has a column."""
    meaning: Meaning
    texts: list[str] = field(default_factory=list)
    group: str = ""
    split: str = ""
    missing: list[str] = field(default_factory=list)
    """What was not found, one line each."""
    columns: list[Column] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    """The label of each row, column by column where there are several."""
    labels_by: list[str] = field(default_factory=list)
    """Columns of one annotator's labels each; [] for one column of labels."""
    annotator: str = ""
    """The column that says whose label a row has."""
    rows: int = 0


def without_table(kind: str | None) -> Guess:
    """Names to replace, where there is no table to look at."""
    label, found = {
        "pairwise": ("better", Meaning({"1": ["left"], "2": ["right"]})),
        "choice": ("class", Meaning(choices=("sharp", "blurry", "noisy"))),
        "score": ("stars", Meaning(range=(1, 5))),
    }.get(kind or "", ("label", Meaning({"yes": ["good"], "no": ["bad"]})))
    images = ["image_1", "image_2"] if kind == "pairwise" else ["image"]
    return Guess(kind or "pointwise", "labels.csv", images, "images", label, found)


def from_table(table: Path, kind: str | None) -> Guess:
    """Without `kind`, two columns of images make it pairwise; else the labels say. Raises UserError for a table without
    images, and for labels that cannot be those of `kind`."""
    rows = list(read_table(table))
    if not rows:
        raise UserError(f"{table} has no rows")
    columns = {name: [row.get(name) for row in rows] for name in rows[0]}
    pictures = [name for name, cells in columns.items() if all(map(_is_image, cells))]
    kind = "pairwise" if kind is None and len(pictures) > 1 else kind
    wanted = 2 if kind == "pairwise" else 1
    if len(pictures) < wanted:
        raise UserError(
            f"{table}: a {kind or 'pointwise'} task needs {wanted} column{'s' * (wanted > 1)} of image files (a.jpg), "
            f"and the table has {len(pictures)}. Its columns: {', '.join(columns)}",
            "name the image files in a column of their own; two texts about one image are written by hand "
            "(docs/own-task.md, Pairs)",
        )
    words = {name: list(map(_word, cells)) for name, cells in columns.items() if name not in pictures}
    split = next((name for name, cells in words.items() if set(cells) <= set(SPLITS)), "")
    group = next((name for name in words if name.lower() in GROUPS), "")
    others = {name: cells for name, cells in words.items() if name not in (split, group)}
    again = len(set(map(str, columns[pictures[0]]))) < len(rows)  # only then may an item have labels of several
    annotator = next((name for name in others if name.lower() in ANNOTATORS), "") if again else ""
    others.pop(annotator, None)
    labels_by = [] if annotator else _annotators(others)
    label = labels_by[0] if labels_by else _label(others)
    used = {split, group, label, annotator, *labels_by}
    labels = [word for name in labels_by or [label] * bool(label) for word in words[name]]
    texts = [name for name, cells in words.items() if name not in used and _is_text(name, cells)]
    roles = dict.fromkeys(pictures[:wanted], "image") | dict.fromkeys(texts, "text")
    roles |= dict.fromkeys(labels_by, "label")
    found_by = ((label, "label"), (annotator, "annotator"), (group, "group"), (split, "split"))
    roles |= {name: role for name, role in found_by if name}
    first = columns[pictures[0]][0]
    folder = _folder(table.parent, first)
    said = [word for word in labels if word or not labels_by]  # an empty cell of an annotator is no label
    kind = kind or (kind_of(said) if label else "pointwise")
    found = meaning(said, kind) if label else without_table(kind).meaning
    missing = [] if label else [f"{table} has no column that looks like labels"]
    for verdict, labels in found.values.items():
        if not labels:
            missing.append(f"no label in column {label} seems to mean {verdict}: write one in label.values.{verdict}")
            labels.append("?")
    if unused := pictures[wanted:]:
        text = f"not used, though image files: {', '.join(unused)}. An edit (a source and two candidates) has images: 3"
        missing.append(f"{text} and pair: {{images: [2, 3]}} (docs/own-task.md, Pairs)")
    if folder is None:
        missing.append(f"{first} is not in {table.parent} or a folder in it: set source.image_folder")
    return Guess(
        kind=kind,
        file=table.name,
        images=pictures[:wanted],
        image_folder=folder or "",
        label=label or without_table(kind).label,
        meaning=found,
        texts=texts,
        group=group,
        split=split,
        missing=missing,
        columns=[_column(name, roles.get(name, ""), cells) for name, cells in columns.items()],
        labels=said,
        labels_by=labels_by,
        annotator=annotator,
        rows=len(rows),
    )


def _column(name: str, role: str, cells: list[Any]) -> Column:
    words = ["in the table" if isinstance(cell, Picture | dict) else _word(cell) for cell in cells]
    return Column(name, role, len(set(words)), next(filter(None, words), ""))


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


def _annotators(words: dict[str, list[str]]) -> list[str]:
    """Columns such as rater_1 and rater_2, or label_a and label_b, that share some of a few labels; else []."""
    if any(name.lower() in LABELS for name in words):
        return []
    names = [name for name, cells in words.items() if OF_ONE.fullmatch(name) and 1 < len(set(cells) - {""}) <= FEW]
    kinds = [set(words[name]) - {""} for name in names]
    alike = len(names) > 1 and all(kinds[0] & kind for kind in kinds) and len(set().union(*kinds)) <= FEW
    return names if alike else []


def _word(cell: Any) -> str:
    return str(cell).lower() if isinstance(cell, bool) else str("" if cell is None else cell).strip()
