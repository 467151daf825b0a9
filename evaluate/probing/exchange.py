"""Whose images each row shows for the change `other`: rows exchange them with as few others as their labels allow.

What two rows answer is not independent where one shows an image of the other, or both show the same one. Were images
drawn freely, nearly all rows would hang together so, and there would be no interval. So rows exchange images within
groups, mostly of two clusters: the groups are independent, and the interval is by them.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from mtrl.config.samples import Sample


class Shown(NamedTuple):
    """What a row shows in place of its own images."""

    sample: Sample
    """A row with another label and of another cluster, in the same group."""
    group: str
    """Rows of different groups are independent."""


@dataclass
class _Group:
    rows: list[Sample] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)

    def add(self, rows: Sequence[Sample]) -> None:
        self.rows.extend(rows)
        self.labels.update(row.answer for row in rows)

    def serves(self, labels: Iterable[str]) -> bool:
        """Whether it has another label for each of these."""
        return all(self.labels - {label} for label in labels)


class _Groups:
    """All groups, to find a small one that fits."""

    def __init__(self) -> None:
        self._by_labels: dict[frozenset[str], list[tuple[int, int, _Group]]] = {}  # heaps: size, when added, group
        self._added = 0

    def add(self, group: _Group) -> None:
        self._added += 1
        heap = self._by_labels.setdefault(frozenset(group.labels), [])
        heapq.heappush(heap, (len(group.rows), self._added, group))

    def partner(self, group: _Group, label: str) -> _Group | None:
        """The smallest group with another label than `label`; those with which every row of both groups can exchange
        images come first."""
        found: list[tuple[bool, int, int, _Group]] = []
        for labels, heap in self._by_labels.items():
            while heap and (heap[0][2] is group or heap[0][0] != len(heap[0][2].rows)):  # it was added again, or merged
                heapq.heappop(heap)
            if heap and labels - {label}:
                size, added, other = heap[0]
                found.append((not (group.serves(labels) and other.serves(group.labels)), size, added, other))
        return min(found)[3] if found else None


def exchanged(rows: Sequence[Sample], clusters: Mapping[str, str], chance: Random) -> dict[str, Shown]:
    """What each row shows, by id; rows without a partner are missing. `clusters`: by id, rows with the same one are not
    independent."""
    mixed = chance.sample(rows, len(rows))
    of_cluster: dict[str, _Group] = {}
    for row in mixed:
        of_cluster.setdefault(clusters[row.id], _Group()).add([row])
    groups = _Groups()
    for group in of_cluster.values():
        groups.add(group)
    taken, shows = dict[str, Sample](), Counter[str]()
    for row in mixed:
        own = of_cluster[clusters[row.id]]
        if not (found := _partners(row, own, clusters)):
            if new := groups.partner(own, row.answer):
                own.add(new.rows)
                of_cluster.update((clusters[other.id], own) for other in new.rows)
                new.rows = []
                found = _partners(row, own, clusters)
            groups.add(own)
        if found:
            taken[row.id] = min(found, key=lambda other: shows[other.id])
            shows[taken[row.id].id] += 1
    return {id_: Shown(other, clusters[of_cluster[clusters[id_]].rows[0].id]) for id_, other in taken.items()}


def _partners(row: Sample, group: _Group, clusters: Mapping[str, str]) -> list[Sample]:
    cluster = clusters[row.id]
    return [other for other in group.rows if other.answer != row.answer and clusters[other.id] != cluster]
