"""What is said of the rows that were kept: classes, repeated questions, what the splits share, fields without text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from mtrl import prompting, samples
from mtrl.converters.near import clusters
from mtrl.converters.rows import Row
from mtrl.converters.splits import text
from mtrl.converters.store import Stored
from mtrl.finding import Check
from mtrl.tasks import SPLITS, Task


def twins(found: list[Row], good: dict[int, tuple[Stored, ...]]) -> dict[int, str]:
    """For each row that asks what an earlier one asks (same images, in whatever order, same texts): the earlier one's id."""
    first: dict[object, str] = {}
    twins = {}
    for index, stored in good.items():
        row = found[index]
        key = (tuple(sorted(s.name for s in stored)), tuple(sorted(row.fields.items())))
        if first.setdefault(key, row.id) != row.id:
            twins[index] = first[key]
    return twins


def count(answers: Iterable[str], task: Task) -> dict[str, int]:
    counted = Counter(answers)
    return {verdict: counted[verdict] for verdict in task.choices}


def leakage(
    task: Task, found: list[Row], good: dict[int, tuple[Stored, ...]], kept: dict[str, list[int]]
) -> dict[str, dict[str, int]]:
    """How many distinct images, looks and captions of test and of val stand in train too, and of test in val."""
    near = clusters(s.known.print for indices in kept.values() for i in indices for s in good[i])
    seen: dict[str, dict[str, set[str]]] = {"image": {}, "near-duplicate image": {}, "caption": {}}
    for split, indices in kept.items():
        stored = [s for i in indices for s in good[i]]
        seen["image"][split] = {s.name for s in stored}
        seen["near-duplicate image"][split] = {near.get(s.known.print, s.name) for s in stored}
        texts = {text(found[i].fields.get(name, "")) for i in indices for name in task.split.texts}
        seen["caption"][split] = texts - {""}
    pairs = (("test", "train"), ("val", "train"), ("test", "val"))
    return {
        kind: {f"{one}_in_{other}": len(by_split[one] & by_split[other]) for one, other in pairs}
        for kind, by_split in seen.items()
    }


def fields(task: Task, data: Path) -> Iterator[Check]:
    """Warnings on a converted task's fields: those that no prompt uses, and those that leave a hole in a prompt."""
    for name in prompting.unused(task):
        yield Check(
            "warning",
            f"{task.name}: neither prompt uses the field {name!r}, so the judge never sees it",
            f"write {{{{ {name} }}}} in {' and '.join(f'prompts/{task.prompt_file(s)}' for s in prompting.STYLES)}, "
            "or leave it out of source.fields",
        )
    used = sorted({name for style in prompting.STYLES for name in prompting.fields(task, style)})
    rows, empty = 0, Counter[str]()
    first: dict[str, tuple[float, str]] = {}
    for split in SPLITS if used else ():
        for sample in samples.read(data, task.name, split) if samples.count(data, task.name, split) else ():
            rows += 1
            for name in used:
                if not sample.fields.get(name, "").strip():
                    empty[name] += 1
                    place = (sample.source.get("row", float("inf")), sample.id)
                    first[name] = min(first.get(name, place), place)
    for name, number in sorted(empty.items()):
        row, identifier = first[name]
        where = f"row {row} ({identifier})" if row != float("inf") else identifier
        yield Check(
            "warning", f"{task.name}: the field {name!r} is empty in {number} of {rows} rows; the first is {where}"
        )
