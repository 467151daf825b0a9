"""What card.json says of the rows that were kept: classes, repeated questions, and what the splits share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from mtrl.converters.near import clusters
from mtrl.converters.rows import Row
from mtrl.converters.splits import text
from mtrl.converters.store import Stored
from mtrl.tasks import Task


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
