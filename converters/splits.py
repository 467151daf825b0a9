"""Which row goes to train, val or test, by the task's split rule. Deterministic: the same rows and seed, the same answer."""

from __future__ import annotations

import random

from mtrl.converters.rows import Row

from mtrl.tasks import SPLITS, Split


def sizes(total: int, parts: dict[str, float]) -> dict[str, int]:
    """Whole numbers that add up to `total`: test and val rounded to the nearest, train takes the rest."""
    held = {split: round(total * parts.get(split, 0)) for split in ("test", "val")}
    return {"train": total - sum(held.values()), "val": held["val"], "test": held["test"]}


def assign(rows: list[Row], rule: Split) -> list[str]:
    """A split for each row. Rows that came with a split keep it; rows of one group stay together."""
    if rule.by == "column":
        return [row.split or "train" for row in rows]
    units: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        units.setdefault(row.group or f"#{index}", []).append(index)
    order = list(units)
    random.Random(rule.seed).shuffle(order)
    want, answer = sizes(len(rows), rule.parts), ["train"] * len(rows)
    filled = dict.fromkeys(SPLITS, 0)
    for unit in order:
        # test first, then val: a group goes where it still fits, so held-out parts are never over their size
        members = units[unit]
        split = next((s for s in ("test", "val") if filled[s] + len(members) <= want[s]), "train")
        filled[split] += len(members)
        for index in members:
            answer[index] = split
    return answer
