"""Parquet files with image columns: structs of bytes and path, or lists of them. Labels are read at once, images row by
row, going forward.

A row group may have hundreds of megabytes of images. Labels are read without them, and images are streamed page by
page, a few rows in memory at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mtrl.converters.readers.picture import Picture
from mtrl.core.errors import UserError

AT_ONCE = 8  # rows of images in memory: a pair of 2 MB each makes 32 MB


def columns(file: Path) -> dict[str, bool]:
    """{column: whether its cells are images, or lists of them}. Raises UserError for a file that is not parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{file} is not readable as parquet: {error}", "download it again") from None
    if twice := [name for name, times in Counter(schema.names).items() if times > 1]:
        raise UserError(f"{file} has two columns {twice[0]!r}", "rename one of them, or take it out")
    return {field.name: _image(field.type) for field in schema}


def records(file: Path) -> Iterator[dict[str, Any]]:
    """The rows in order; an image column gives the Picture of its cell, or a list of them. Raises UserError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = [name for name, is_image in columns(file).items() if is_image]
    opened = pq.ParquetFile(file)
    lists = {field.name for field in opened.schema_arrow if _listed(field.type) is not None}
    leaves = [opened.schema.column(index).path for index in range(len(opened.schema))]
    heavy = [leaf for leaf in leaves if any(leaf.startswith(f"{name}.") for name in images) and leaf.endswith(".bytes")]
    light = [leaf for leaf in leaves if leaf not in heavy]  # of an image struct without a path nothing is left
    reader = _Forward(file, heavy)
    number = 0
    try:
        for batch in opened.iter_batches(batch_size=1024, columns=light):
            for record in batch.to_pylist():
                for name in images:
                    record[name] = reader.pictures(number, name, record.get(name) or ([] if name in lists else {}))
                yield record
                number += 1
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not readable as parquet: {error}", "download it again") from None


def _image(kind: Any) -> bool:
    """Whether cells of this type are images, or lists of them."""
    import pyarrow as pa

    held = _listed(kind) or kind
    wanted = ["bytes"] if held is kind else ["bytes", "path"]  # the paths say how many images a list has
    return pa.types.is_struct(held) and all(held.get_field_index(name) >= 0 for name in wanted)


def _listed(kind: Any) -> Any:
    """The type of a list's elements; None for a type that is no list."""
    import pyarrow as pa

    return kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else None


def unnamed(column: str, row: int, place: int | None = None) -> str:
    """What an image without a path in its cell is called; `place`: which of a list it is, from 1."""
    return f"{column} of row {row}" if place is None else f"{column} {place} of row {row}"


class _Forward:
    """The image bytes of one file, asked for in the order of its rows; a row that is asked for again starts over."""

    def __init__(self, file: Path, leaves: list[str]) -> None:
        self._file, self._leaves = file, leaves
        self._batches: Iterator[Any] = iter(())
        self._rows: list[dict[str, Any]] = []
        self._first = self._next = 0  # numbers of the first row held, and of the first not yet read

    def pictures(self, number: int, name: str, cell: Any) -> Picture | list[Picture]:
        """The picture of a cell, or those of a list; `cell` is what was read without the bytes, `number` from 0."""
        if isinstance(cell, list):
            return [self._picture(number, name, struct, place) for place, struct in enumerate(cell)]
        return self._picture(number, name, cell, None)

    def _picture(self, number: int, name: str, struct: Any, place: int | None) -> Picture:
        called = (struct or {}).get("path") or unnamed(name, number + 1, None if place is None else place + 1)
        return Picture(str(called), load=partial(self.read, number, name, place), container=self._file)

    def read(self, number: int, name: str, place: int | None) -> bytes:
        """The image of the row `number` and the column `name`; `place`: which of a list it is, from 0."""
        import pyarrow.parquet as pq

        if number < self._first or self._next == 0:
            # pre_buffer would read a whole row group; with a buffer pages come one at a time
            source = pq.ParquetFile(self._file, pre_buffer=False, buffer_size=2**20)
            self._batches = source.iter_batches(batch_size=AT_ONCE, columns=self._leaves, use_threads=False)
            self._rows, self._first, self._next = [], 0, 0
        while number >= self._next:
            self._rows = []  # let go before the next batch is read
            batch = next(self._batches)
            self._first, self._next = self._next, self._next + batch.num_rows
            if number < self._next:
                self._rows = batch.to_pylist()
        cell = self._rows[number - self._first][name]
        return ((cell if place is None else cell[place]) or {}).get("bytes") or b""
