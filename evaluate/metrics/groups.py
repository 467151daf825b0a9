"""Which samples are not independent: those that share a group, a text or an image, and chains of such samples.

SeeTRUE has about twelve samples per caption, MJ-Bench the same pair under several axes. Resampling such samples one by
one gives intervals that are too narrow, so intervals resample clusters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mtrl.config import samples
from mtrl.config.samples import Sample
from mtrl.converters.pipeline.near import Union
from mtrl.converters.pipeline.splits import text


def of_split(data: Path, task: str, split: str, texts: Sequence[str]) -> dict[str, str]:
    """sample id -> cluster, for one split; `texts` are the fields to compare (a task's split.texts)."""
    return of_samples(samples.read(data, task, split), texts)


def of_samples(rows: Iterable[Sample], texts: Sequence[str]) -> dict[str, str]:
    """sample id -> cluster, which is named by the id of its first sample."""
    union = Union()
    ids = []
    for row in rows:
        ids.append(row.id)
        union.find(("row", row.id))
        keys = [("group", row.group), *(("image", name) for name in row.images)]
        keys += [("text", text(row.fields.get(name, ""))) for name in texts]
        for key in keys:
            if key[1]:
                union.join(("row", row.id), key)
    first: dict[object, str] = {}
    return {name: first.setdefault(union.find(("row", name)), name) for name in ids}
