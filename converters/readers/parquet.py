"""Parquet files with image columns (structs of bytes and path): labels read at once, images row by row, going forward.

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
    """{column: whether its cells are images}. Raises UserError for a file that is not parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{file} is not readable as parquet: {error}", "download it again") from None
    if twice := [name for name, times in Counter(schema.names).items() if times > 1]:
        raise UserError(f"{file} has two columns {twice[0]!r}", "rename one of them, or take it out")
    return {f.name: pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0 for f in schema}


def records(file: Path) -> Iterator[dict[str, Any]]:
    """The rows in order; an image column gives the Picture of its cell. Raises UserError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    held = columns(file)
    images = [name for name, is_image in held.items() if is_image]
    reader = _Forward(file, images)
    light = [
        f"{name}.path" if is_image else name for name, is_image in held.items()
    ]  # an image struct without a path is ignored
    number = 0
    try:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=1024, columns=light):
            for record in batch.to_pylist():
                for name in images:
                    path = str((record.get(name) or {}).get("path") or unnamed(name, number + 1))
                    record[name] = Picture(path, load=partial(reader.read, number, name), container=file)
                yield record
                number += 1
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not readable as parquet: {error}", "download it again") from None


def unnamed(column: str, row: int) -> str:
    """What an image without a path in its cell is called."""
    return f"{column} of row {row}"


class _Forward:
    """The image bytes of one file, asked for in the order of its rows; a row that is asked for again starts over."""

    def __init__(self, file: Path, names: list[str]) -> None:
        self._file, self._names = file, names
        self._batches: Iterator[Any] = iter(())
        self._rows: list[dict[str, Any]] = []
        self._first = self._next = 0  # numbers of the first row held, and of the first not yet read

    def read(self, number: int, name: str) -> bytes:
        import pyarrow.parquet as pq

        if number < self._first or self._next == 0:
            # pre_buffer would read a whole row group; with a buffer pages come one at a time
            source = pq.ParquetFile(self._file, pre_buffer=False, buffer_size=2**20)
            columns = [f"{image}.bytes" for image in self._names]
            self._batches = source.iter_batches(batch_size=AT_ONCE, columns=columns, use_threads=False)
            self._rows, self._first, self._next = [], 0, 0
        while number >= self._next:
            self._rows = []  # let go before the next batch is read
            batch = next(self._batches)
            self._first, self._next = self._next, self._next + batch.num_rows
            if number < self._next:
                self._rows = batch.to_pylist()
        cell = self._rows[number - self._first][name] or {}
        return cell.get("bytes") or b""
