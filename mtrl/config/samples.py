"""A sample: the record that a conversion stores, and that exports, checks and evaluations read.

On disk: data/<task>/samples_<split>.parquet, one row per sample, images by path below the data folder.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mtrl.config import datacard
from mtrl.config.kinds import OTHER, Pair
from mtrl.core.errors import UserError
from mtrl.core.files import written

ROWS_PER_GROUP = 1024
SplitName = Literal["train", "val", "test"]
Order = Literal["given", "turned"]  # of a pair's images: as converted, or swapped; a single image has "given"


class Key(NamedTuple):
    """What a judge is asked once: one sample, its images in one order, one of its votes, what a probe changed."""

    task: str
    id: str
    order: Order
    vote: int
    variant: str = ""


@dataclass(frozen=True)
class Sample:
    """One item to be judged, with its right answer."""

    id: str
    """The release's own; unique in the task."""
    task: str
    kind: str
    """The task's."""
    images: tuple[str, ...]
    """Paths relative to the data folder, in the order they are shown."""
    fields: dict[str, str]
    """The texts that prompts may use."""
    answer: str
    """The right verdict."""
    split: str
    """train, val or test."""
    group: str = ""
    """What the row comes from, such as a prompt or a source image; "": itself."""
    score: float | None = None
    """The release's own number that the verdict was made from, such as a mean opinion score."""
    source: dict[str, Any] = field(default_factory=dict)
    """More about the row. `files`: the images' names in the release. `swapped`, of a pair: whether the release has
    its images in the other order. `duplicate_of`: the id of an earlier row that asks the same. The rest are the
    release's columns."""
    sizes: tuple[tuple[int, int], ...] = ()
    """Width and height of each image in pixels; () in what an earlier mtrl converted."""
    annotators: dict[str, str] = field(default_factory=dict)
    """Where several labelled the item, the verdict of each by name. The file has the column only if one did."""

    def swapped(self, pair: Pair) -> Sample:
        """The pair with its two sides in the other order, and so the other answer."""
        source = {**self.source, "swapped": not self.source.get("swapped", False)}
        if "files" in source:
            source["files"] = list(pair.swapped_images(source["files"]))
        return replace(
            self,
            images=pair.swapped_images(self.images),
            fields=pair.swapped_fields(self.fields),
            answer=OTHER[self.answer],
            source=source,
            sizes=pair.swapped_images(self.sizes) if self.sizes else (),
            annotators={name: OTHER[verdict] for name, verdict in self.annotators.items()},
        )


def path_of(data: Path, task: str, split: str) -> Path:
    return data / task / f"samples_{split}.parquet"


@contextlib.contextmanager
def row_groups(
    path: Path, schema: Any, rows: int, size: int = sys.maxsize, **options: Any
) -> Iterator[Callable[..., None]]:
    """A parquet file, written row by row: yields add(row, size=0), `size` in bytes. A row group ends at `rows` rows
    or `size` bytes, so memory does not grow with the file. `schema` is pyarrow's; `options` are those of its
    ParquetWriter.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    held: list[dict[str, Any]] = []
    with written(path) as temporary, pq.ParquetWriter(temporary, schema, **options) as writer:
        weight = 0

        def add(row: dict[str, Any], bytes_: int = 0) -> None:
            nonlocal weight
            held.append(row)
            weight += bytes_
            if len(held) == rows or weight >= size:
                flush()

        def flush() -> None:
            nonlocal weight
            writer.write_table(pa.Table.from_pylist(held, schema))
            held.clear()
            weight = 0

        yield add
        if held:
            flush()


@contextlib.contextmanager
def writer(path: Path, annotated: bool = False) -> Iterator[Callable[[Sample], None]]:
    """Yields the function that adds a sample to the file. `annotated`: some samples have annotators."""
    import pyarrow as pa

    text = pa.string()
    names = ["id", "task", "kind", "answer", "split", "group", "fields", "source", *["annotators"] * annotated]
    schema = pa.schema(
        [(name, text) for name in names]
        + [("score", pa.float64()), ("images", pa.list_(text)), ("sizes", pa.list_(pa.list_(pa.int32())))]
    )
    with row_groups(path, schema, ROWS_PER_GROUP) as add:
        yield lambda sample: add(
            {
                **sample.__dict__,
                "images": list(sample.images),
                "fields": json.dumps(sample.fields, ensure_ascii=False),
                "source": json.dumps(sample.source, ensure_ascii=False),
                "annotators": json.dumps(sample.annotators, ensure_ascii=False),
            }
        )


def write(path: Path, samples: Iterable[Sample]) -> None:
    """Writes the samples in order."""
    rows = list(samples)
    with writer(path, any(sample.annotators for sample in rows)) as add:
        for sample in rows:
            add(sample)


def read(data: Path, task: str, split: str) -> Iterator[Sample]:
    """Samples of one split in file order. Raises UserError where the task is not converted."""
    import pyarrow.parquet as pq

    path = path_of(data, task, split)
    if not path.exists():
        raise UserError(f"task {task} is not converted: {path} is missing", datacard.convert_again(task, data))
    for batch in pq.ParquetFile(path).iter_batches():
        for row in batch.to_pylist():
            row["images"], row["sizes"] = tuple(row["images"]), tuple(map(tuple, row.get("sizes", ())))
            for name in ("fields", "source", "annotators"):
                row[name] = json.loads(row.get(name) or "{}")
            yield Sample(**row)


def columns(data: Path, task: str, split: str, *names: str) -> Iterator[tuple[Any, ...]]:
    """These fields of each sample of one split, as stored, in file order: far cheaper than `read`. Nothing where the
    task is not converted; None for a field that it was converted without.
    """
    import pyarrow.parquet as pq

    path = path_of(data, task, split)
    if not path.exists():
        return
    file = pq.ParquetFile(path)
    there = [name for name in names if name in file.schema_arrow.names]
    for batch in file.iter_batches(columns=there):
        found = {name: batch[name].to_pylist() for name in there}
        yield from zip(*(found.get(name) or [None] * batch.num_rows for name in names), strict=True)


def count(data: Path, task: str, split: str) -> int:
    """The number of samples of one split; 0 where the task is not converted."""
    import pyarrow.parquet as pq

    path = path_of(data, task, split)
    return pq.read_metadata(path).num_rows if path.exists() else 0
