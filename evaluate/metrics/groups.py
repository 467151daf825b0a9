"""Which rows of a split are not independent: those that share a group, a text or an image, and chains of such rows.

An interval that resamples rows one by one is too narrow where several rows hold one caption or one picture (SeeTRUE has
about twelve rows a caption, MJ-Bench the same pair under several axes); it resamples clusters instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mtrl.config import samples
from mtrl.config.samples import Sample
from mtrl.converters.pipeline.near import components
from mtrl.converters.pipeline.splits import text


def of_split(data: Path, task: str, split: str, texts: Sequence[str]) -> dict[str, str]:
    """The cluster of each sample of a split; `texts` are the fields to compare (a task's split.texts)."""
    return of_samples(samples.read(data, task, split), texts)


def of_samples(rows: Iterable[Sample], texts: Sequence[str]) -> dict[str, str]:
    """sample id -> cluster, which is the id of the cluster's first sample in file order."""
    known = list(rows)

    def keys(row: Sample) -> list[tuple[str, str]]:
        found = [("group", row.group), *(("image", name) for name in row.images)]
        found += [("text", text(row.fields.get(name, ""))) for name in texts]
        return [key for key in found if key[1]]

    return {row.id: known[first].id for row, first in zip(known, components(map(keys, known)), strict=True)}
