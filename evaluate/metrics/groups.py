"""Which samples are not independent: those that share a group, a text or an image, and chains of such samples.

SeeTRUE has about twelve samples per caption, MJ-Bench the same pair under several axes. Resampling such samples one by
one gives intervals that are too narrow, so intervals resample clusters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mtrl.config import samples
from mtrl.config.samples import Sample
from mtrl.converters.pipeline.near import components
from mtrl.converters.pipeline.splits import text


def of_split(data: Path, task: str, split: str, texts: Sequence[str]) -> dict[str, str]:
    """sample id -> cluster, for one split; `texts` are the fields to compare (a task's split.texts)."""
    return of_samples(samples.read(data, task, split), texts)


def of_samples(rows: Iterable[Sample], texts: Sequence[str]) -> dict[str, str]:
    """sample id -> cluster, which is named by the id of its first sample."""
    known = list(rows)

    def keys(row: Sample) -> list[tuple[str, str]]:
        found = [("group", row.group), *(("image", name) for name in row.images)]
        found += [("text", text(row.fields.get(name, ""))) for name in texts]
        return [key for key in found if key[1]]

    return {row.id: known[first].id for row, first in zip(known, components(map(keys, known)), strict=True)}
