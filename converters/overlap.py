"""What converted tasks share: rows a model trains on against rows it is measured on, over every task in the data folder.

A unified run trains on all tasks, so an image of one task's train split in another's test split leaks as well. Evaluation
sets of two benchmarks that share images are told too: their numbers are not independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from mtrl import samples, tasks
from mtrl.converters.near import clusters
from mtrl.converters.splits import text
from mtrl.converters.unchanged import PRINTS
from mtrl.errors import UserError
from mtrl.files import read_json
from mtrl.finding import Check

EVALUATION = ("val", "test")


class Part(NamedTuple):
    """One split of one task: its images, their looks, its captions; `family` tells benchmarks apart."""

    task: str
    split: str
    family: str
    image: set[str]
    look: set[str]
    caption: set[str]


def report(data: Path) -> Iterator[Check]:
    """One line for each pair of a training and an evaluation split that share something. Broken cards are passed over."""
    parts = _parts(data)
    training = [part for part in parts if part.split == "train"]
    measured = [part for part in parts if part.split in EVALUATION]
    found = False
    for one in training:
        for other in measured:
            if shared := _shared(one, other):
                found = True
                yield Check("warning", f"{one.task}/train and {other.task}/{other.split} share {shared}",
                            "" if one.task != other.task else f"mtrl convert {one.task} --protocol grouped --raw raw")  # fmt: skip
    for one, other in combinations([part for part in measured if part.split == "test"], 2):
        if one.family != other.family and (shared := _shared(one, other)):
            yield Check(
                "warning", f"{one.task}/test and {other.task}/test share {shared}: not independent measurements"
            )
    if training and measured and not found:
        yield Check(
            "ok",
            f"no image, near-duplicate or caption of a training row in an evaluation row, over {len(parts)} splits",
        )


def _parts(data: Path) -> list[Part]:
    prints: dict[str, str] = {}
    converted = [card.parent.name for card in sorted(data.glob("*/card.json"))]
    for name in converted:
        if (file := data / name / PRINTS).exists():
            prints.update({image: found[0] for image, found in read_json(file).items()})
    near = clusters(prints.values())
    parts = []
    for name in converted:
        try:
            task = tasks.load(name)
        except UserError:
            continue  # converted once, and no longer a task here
        for split in tasks.SPLITS:
            rows = list(samples.read(data, name, split)) if samples.count(data, name, split) else []
            images = {image for row in rows for image in row.images}
            looks = {near.get(prints.get(image, ""), image) for image in images}
            captions = {text(row.fields.get(field, "")) for row in rows for field in task.split.texts} - {""}
            if rows:
                parts.append(
                    Part(name, split, task.converter + str(task.source.get("folder", "")), images, looks, captions)
                )
    return parts


def _shared(one: Part, other: Part) -> str:
    image, look, caption = len(one.image & other.image), len(one.look & other.look), len(one.caption & other.caption)
    said = [f"{image} images"] if image else []
    said += [f"{look - image} near-duplicate looks"] if look > image else []
    said += [f"{caption} captions"] if caption else []
    return ", ".join(said)
