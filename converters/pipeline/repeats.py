"""What converted rows share: the same question twice, with one answer or two; and images and texts in two splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mtrl.config.kinds import OTHER, Pair
from mtrl.config.tasks import SPLITS, Task
from mtrl.converters.base import Row
from mtrl.converters.pipeline.leakage import CAPTION, IMAGE, NEAR, seen, shared
from mtrl.converters.pipeline.near import clusters
from mtrl.converters.pipeline.store import Stored
from mtrl.core.errors import UserError

SHOWN = 10  # conflicts that an error lists


@dataclass(frozen=True)
class Item:
    """A row whose images are stored."""

    row: Row
    split: str
    """train, val, test or splits.DROPPED."""
    images: tuple[Stored, ...]
    pair: Pair | None
    """The task's."""

    @property
    def question(self) -> tuple[object, ...]:
        """Equal for items that ask the same: the same images and texts, the two sides of a pair in either order."""
        return min(self._orders)

    @property
    def verdict(self) -> str:
        """The answer; for a pair, the one in the order of `question`."""
        return self.row.answer if self._orders[0] == self.question else OTHER[self.row.answer]

    @property
    def _orders(self) -> list[tuple[tuple[str, ...], tuple[tuple[str, str], ...]]]:
        names, fields = tuple(stored.name for stored in self.images), self.row.fields
        both = [(names, fields)]
        if self.pair:
            both.append((self.pair.swapped_images(names), self.pair.swapped_fields(fields)))
        return [(names, tuple(sorted(fields.items()))) for names, fields in both]


def duplicates(items: Sequence[Item]) -> dict[int, str]:
    """{index: the id of the first item that asks the same} of the items that ask what an earlier one asks."""
    first: dict[object, str] = {}
    found = {index: first.setdefault(item.question, item.row.id) for index, item in enumerate(items)}
    return {index: name for index, name in found.items() if name != items[index].row.id}


def conflicts(items: Sequence[Item]) -> list[list[int]]:
    """The indices of items that ask the same and have different verdicts, per question."""
    asked: dict[object, list[int]] = {}
    for index, item in enumerate(items):
        asked.setdefault(item.question, []).append(index)
    return [same for same in asked.values() if len({items[index].verdict for index in same}) > 1]


def settled(task: Task, items: Sequence[Item], disputed: list[list[int]]) -> set[int]:
    """The items in conflict that label.conflicts leaves out. Raises UserError where the task does not say."""
    how = task.label.conflicts
    if disputed and how is None:
        shown = "; ".join(
            ", ".join(f"row {items[index].row.id} is {items[index].row.answer}" for index in same[:6])
            for same in disputed[:SHOWN]
        )
        more = f"; and {len(disputed) - SHOWN} more" if len(disputed) > SHOWN else ""
        raise UserError(
            f"task {task.name}: rows that ask the same (same images, same fields) have both labels, "
            f"in {len(disputed)} cases: {shown}{more}",
            f"correct the labels, or say in recipes/tasks/{task.name}.yaml under label what to do: conflicts: drop "
            "(leave all these rows out) or conflicts: majority (leave those out that disagree with most)",
        )
    out = set()
    for same in disputed if how in ("drop", "majority") else ():
        (most, times), (_, second) = Counter(items[index].verdict for index in same).most_common(2)
        keep = most if how == "majority" and times > second else None
        out |= {index for index in same if items[index].verdict != keep}
    return out


def leakage(task: Task, kept: Sequence[Item]) -> dict[str, dict[str, int]]:
    """How many images, near-duplicates and captions of test and val are in train too, and of test in val."""
    near = clusters(stored.decoded.fingerprint for item in kept for stored in item.images)
    by_split = {}
    for split in SPLITS:
        items = [item for item in kept if item.split == split]
        fingerprints = {stored.name: stored.decoded.fingerprint for item in items for stored in item.images}
        captions = (item.row.fields.get(name, "") for item in items for name in task.split.texts)
        by_split[split] = seen(fingerprints, near, captions)
    pairs = (("test", "train"), ("val", "train"), ("test", "val"))
    found = {f"{one}_in_{other}": shared(by_split[one], by_split[other]) for one, other in pairs}
    return {kind: {pair: counts[kind] for pair, counts in found.items()} for kind in (IMAGE, NEAR, CAPTION)}
