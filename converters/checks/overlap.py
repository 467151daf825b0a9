"""What converted tasks share: rows to train on against rows to measure on, over all tasks of the data folder.

A unified run trains on all tasks, so an image of one task's train split in another's test split leaks as well.
Evaluation sets of two benchmarks that share images are reported too: their numbers are not independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from mtrl.config import samples, tasks
from mtrl.converters.pipeline.leakage import IMAGE, NEAR, Seen, seen, shared
from mtrl.converters.pipeline.near import clusters
from mtrl.converters.pipeline.unchanged import FINGERPRINTS
from mtrl.core.errors import UserError
from mtrl.core.files import LARGE, read_json
from mtrl.core.finding import Check


class Part(NamedTuple):
    """What one split of one task has."""

    task: str
    split: str
    family: str
    """Equal for tasks of one benchmark."""
    seen: Seen


def report(data: Path, names: list[str] | None = None) -> Iterator[Check]:
    """One line per pair of tasks, one of them in `names` (default: all), with rows in common that should not be.

    These are rows of a train split in an evaluation split, and of two benchmarks' test splits. What the splits of one
    task share is in its card. Tasks with a broken card are left out.
    """
    broken = tasks.broken()
    for name in sorted(set(broken) & {card.parent.name for card in data.glob("*/card.json")}):
        yield Check("warning", f"{name} is converted but not compared: {broken[name]}")
    parts = _parts(data)
    asked = {part.task for part in parts} if names is None else set(names)
    pairs: dict[tuple[str, str], list[str]] = {}
    compared = leaks = 0
    for one, other in combinations(parts, 2):
        training = (one.split == "train") != (other.split == "train")
        tests = one.split == other.split == "test" and one.family != other.family
        if not {one.task, other.task} & asked or not (training or tests):
            continue
        compared += training
        if shared := _shared(one, other):
            leaks += training
            both = f"{one.task}/{one.split} and {other.task}/{other.split} share {shared}"
            pairs.setdefault((one.task, other.task), []).append(both + " (not independent measurements)" * tests)
    for (task, another), said in pairs.items():
        if task != another:
            yield Check("warning", "; ".join(said))
    if compared and not leaks:
        clean = "no image, near-duplicate or caption of a training row in an evaluation row"
        yield Check("ok", f"{clean}, over {len(parts)} splits")


def _parts(data: Path) -> list[Part]:
    fingerprints: dict[str, str] = {}
    converted = [card.parent.name for card in sorted(data.glob("*/card.json"))]
    for name in converted:
        if (file := data / name / FINGERPRINTS).exists():
            fingerprints.update({image: found[0] for image, found in read_json(file, limit=LARGE).items()})
    near = clusters(fingerprints.values())
    parts = []
    for name in converted:
        try:
            task = tasks.load(name)
        except UserError:
            continue  # converted once, and no longer a task here
        for split in tasks.SPLITS:
            rows = list(samples.read(data, name, split)) if samples.count(data, name, split) else []
            images = {image: fingerprints.get(image, "") for row in rows for image in row.images}
            captions = (row.fields.get(field, "") for row in rows for field in task.split.texts)
            if rows:
                family = task.converter + str(task.source.get("folder", ""))
                parts.append(Part(name, split, family, seen(images, near, captions)))
    return parts


def _shared(one: Part, other: Part) -> str:
    counts = shared(one.seen, other.seen)
    counts[NEAR] = max(0, counts[NEAR] - counts[IMAGE])  # the identical ones are already counted
    return ", ".join(f"{number} {kind}s" for kind, number in counts.items() if number)
