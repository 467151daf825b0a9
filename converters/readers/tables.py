"""Tables of any kind as Records: .csv, .jsonl and .parquet files, and .json lists, row by row, in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtrl.converters.readers import csvfile, parquet
from mtrl.core.errors import UserError
from mtrl.core.files import json_lines, read_bytes, read_json

LARGEST = 2**30  # bytes of a .csv or .json, which is read whole


class Record(dict[str, Any]):
    """A row of a table: {column: cell}. A cell is text (.csv), JSON (.json, .jsonl), a value or Picture (.parquet)."""

    file: Path
    """The table."""
    number: int
    """The row's number in it, from 1; the header does not count."""
    split: str | None
    """The official split that the release puts the row into, where the file says so."""

    def __init__(self, cells: dict[str, Any], file: Path, number: int, split: str | None = None) -> None:
        super().__init__(cells)
        self.file, self.number, self.split = file, number, split

    @property
    def where(self) -> str:
        """The place of the row, for messages."""
        return f"{self.file}, row {self.number}"


def read_table(file: Path, split: str | None = None) -> Iterator[Record]:
    """The rows; images in parquet are not read yet. Raises UserError, also for a file with another ending."""
    for number, cells in enumerate(_cells(file), start=1):
        yield Record(cells, file, number, split)


def _cells(file: Path) -> Iterator[dict[str, Any]]:
    kind = file.suffix.lower()
    if kind == ".parquet":
        yield from parquet.records(file)
    elif kind == ".csv":
        yield from csvfile.records(file, csvfile.decoded(file, read_bytes(file, limit=LARGEST)))
    elif kind == ".jsonl":
        if file.is_file():
            with file.open("rb") as stream:
                csvfile.check_encoding(file, stream.read(1024))
        for number, cells in json_lines(file):
            if not isinstance(cells, dict):
                raise UserError(f"{file}, line {number} is not a JSON object")
            yield cells
    elif kind == ".json":
        rows = read_json(file, limit=LARGEST)
        if not isinstance(rows, list) or not all(isinstance(cells, dict) for cells in rows):
            raise UserError(f"{file} is not a list of JSON objects, one for each row")
        yield from rows
    else:
        raise UserError(f"{file}: a table is .csv, .jsonl, .parquet or .json")
