"""A sample: the one record that every converter yields and every exporter and evaluation reads.

On disk: data/<task>/samples_<split>.parquet, one row a sample, images by path below the data folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mtrl.core import hints
from mtrl.core.errors import UserError
from mtrl.core.files import read_object, written

ROWS_PER_GROUP = 1024
SplitName = Literal["train", "val", "test"]
Order = Literal["given", "turned"]  # of a pair's images: as converted, or swapped; a single image has "given"


class Key(NamedTuple):
    """What a judge is asked once: one sample, its images in one order, one of its votes."""

    task: str
    id: str
    order: Order
    vote: int


@dataclass(frozen=True)
class Sample:
    """`images` are paths relative to the data folder; `answer` a verdict; `group` what must not be parted by a split.

    `source` says where the row came from, and in `files` what the release calls the images; for a pair also `swapped`:
    whether the release had the images the other way.
    """

    id: str
    task: str
    kind: str
    images: tuple[str, ...]
    fields: dict[str, str]
    answer: str
    split: str
    group: str = ""
    source: dict[str, Any] = field(default_factory=dict)

    def turned(self) -> Sample:
        """A pair with its images, and so its answer, the other way round."""
        answer = {"1": "2", "2": "1"}[self.answer]
        source = {**self.source, "swapped": not self.source.get("swapped", False)}
        if "files" in source:
            source["files"] = source["files"][::-1]
        return Sample(
            self.id, self.task, self.kind, self.images[::-1], self.fields, answer, self.split, self.group, source
        )


def path_of(data: Path, task: str, split: str) -> Path:
    return data / task / f"samples_{split}.parquet"


def card(data: Path, task: str) -> dict[str, Any]:
    """data/<task>/card.json, with `counts` (split -> verdict -> rows) and `prompts` (style -> sha256) as they should be.

    Raises UserError where there is none, or something else is in it.
    """
    file, again = data / task / "card.json", hints.conversion(task, data)
    found = read_object(file, again)
    try:
        rows = [n for verdicts in found["counts"].values() for n in verdicts.values()]
        whole = all(type(n) is int and n >= 0 for n in rows) and isinstance(found["prompts"], dict)
    except (KeyError, AttributeError):
        whole = False
    if not whole:
        raise UserError(f"{file} is broken: it lacks the counts of each split, or the prompts", again)
    return found


def write(path: Path, samples: Iterable[Sample]) -> None:
    """Writes the samples in order, in row groups, so that memory does not grow with their number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.string()
    schema = pa.schema(
        [(name, text) for name in ("id", "task", "kind", "answer", "split", "group", "fields", "source")]
        + [("images", pa.list_(text))]
    )
    with written(path) as beside, pq.ParquetWriter(beside, schema) as writer:
        rows: list[dict[str, Any]] = []
        for sample in samples:
            rows.append(
                {
                    **sample.__dict__,
                    "images": list(sample.images),
                    "fields": json.dumps(sample.fields, ensure_ascii=False),
                    "source": json.dumps(sample.source, ensure_ascii=False),
                }
            )
            if len(rows) == ROWS_PER_GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema))


def read(data: Path, task: str, split: str) -> Iterator[Sample]:
    """Samples of one split in file order. Raises UserError where the task was not converted."""
    import pyarrow.parquet as pq

    path = path_of(data, task, split)
    if not path.exists():
        raise UserError(f"task {task} is not converted: {path} is missing", hints.conversion(task, data))
    for batch in pq.ParquetFile(path).iter_batches():
        for row in batch.to_pylist():
            row["images"] = tuple(row["images"])
            row["fields"], row["source"] = json.loads(row["fields"]), json.loads(row["source"])
            yield Sample(**row)


def answers(data: Path, task: str, split: str) -> list[str]:
    """The answers of one split in file order; none where the task was not converted."""
    import pyarrow.parquet as pq

    path = path_of(data, task, split)
    return pq.read_table(path, columns=["answer"])["answer"].to_pylist() if path.exists() else []


def count(data: Path, task: str, split: str) -> int:
    import pyarrow.parquet as pq

    path = path_of(data, task, split)
    return pq.read_metadata(path).num_rows if path.exists() else 0
