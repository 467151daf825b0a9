"""Which row goes to train, val or test, by the task's split rule: the same for the same rows and seed.

Rows are taken in the order of a hash of seed and id, not in the release's: so tasks over the same images (AGIN's three)
put an image into the same split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mtrl.config.tasks import SPLITS, Split
from mtrl.converters.base import Row
from mtrl.converters.pipeline.near import clusters, components

STRONGEST = ("test", "val", "train")  # where rows collide, the one whose split is first here stays
DROPPED = "dropped"


def sizes(total: int, parts: dict[str, float]) -> dict[str, int]:
    """Whole numbers that add up to `total`: test and val rounded to the nearest, train, or else val, takes the rest."""
    test, val = (round(total * parts.get(split, 0)) for split in ("test", "val"))
    if not parts.get("train") and parts.get("val"):
        val = total - test
    return {"train": total - test - val, "val": val, "test": test}


def assign(rows: list[Row], rule: Split, images: Sequence[Sequence[tuple[str, str]]] = ()) -> list[str]:
    """A split, or DROPPED, for each row. Rows that came with an official split keep it, or are dropped.

    `images`: for each row (name, fingerprint) of its stored images; the grouped protocol looks at them.
    """
    if rule.protocol == "grouped":
        units = _joined(rows, rule, images)
    else:
        units = [row.group if rule.group and row.group else f"#{row.id}" for row in rows]
    official = [row.split if row.split in rule.kept else None for row in rows]
    members: dict[str, list[int]] = {}
    for index, unit in enumerate(units):
        members.setdefault(unit, []).append(index)
    answer = [DROPPED] * len(rows)
    free: list[list[int]] = []
    for unit in sorted(
        members, key=lambda unit: hashlib.sha256(f"{rule.seed}/{rows[members[unit][0]].id}".encode()).digest()
    ):
        inside = members[unit]
        given = {official[index] for index in inside} - {None}
        winner = next((split for split in STRONGEST if split in given), None)
        if rule.protocol == "grouped" and winner:
            for index in inside:
                if official[index] == winner:
                    answer[index] = winner
            continue
        for index in inside:
            answer[index] = official[index] or DROPPED
        if rest := [index for index in inside if official[index] is None]:
            free.append(rest)
    want, filled = sizes(sum(map(len, free)), _left(rule)), dict.fromkeys(SPLITS, 0)
    for inside in free:
        # test first, then val: a group goes where it still fits, so held-out parts are never over their size
        split = next((s for s in ("test", "val") if filled[s] + len(inside) <= want[s]), "train")
        filled[split] += len(inside)
        for index in inside:
            answer[index] = split
    return answer


def _left(rule: Split) -> dict[str, float]:
    """The parts of the splits that are not official, adding up to 1."""
    parts = {split: part for split, part in rule.parts.items() if split not in rule.kept}
    return {split: part / sum(parts.values()) for split, part in parts.items()} if sum(parts.values()) else {}


def _joined(rows: list[Row], rule: Split, images: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
    """For each row the name of the set it belongs to: rows joined by group, text, image or near-duplicate image."""
    near = clusters(fingerprint for row in images for _, fingerprint in row)

    def keys(index: int) -> list[tuple[str, str]]:
        found = [("text", text(rows[index].fields.get(name, ""))) for name in rule.texts]
        found.append(("group", rows[index].group))
        for name, fingerprint in images[index] if images else ():
            found += [("image", name), ("near", near.get(fingerprint, ""))]
        return [key for key in found if key[1]]

    return [f"#{first}" for first in components(map(keys, range(len(rows))))]


def text(value: str) -> str:
    """What counts as the same text: case and white space do not."""
    return " ".join(value.casefold().split())
