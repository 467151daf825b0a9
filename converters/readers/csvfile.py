"""CSV files, read strictly: UTF-8, commas, a header without a name twice, as many cells in each row.

What spreadsheets do differently (another encoding, semicolons, a comma in a text without quotes) is an error that
names it. Not pandas.read_csv: it fills short rows with NaN, and reads the first column as an index if every row has a
cell too many.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mtrl.core.errors import UserError

SAVE = "save it as comma-separated UTF-8 (in a spreadsheet: CSV UTF-8)"
QUOTES = 'put a text with a comma or a line break in double quotes: "A large, open room"'
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def check_encoding(file: Path, start: bytes) -> None:
    """Raises UserError where the first bytes of a table show that it is not UTF-8."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in start:
        kind = "is UTF-16 text" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "is UTF-16 text, or no text at all"
        raise UserError(f"{file} {kind}; a table is UTF-8", SAVE)


def decoded(file: Path, data: bytes) -> str:
    """The text of a .csv. Raises UserError that names the encoding, as far as the bytes show it."""
    check_encoding(file, data[:1024])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file}, line {line}: byte {data[error.start]:#x} is not UTF-8", SAVE) from None


def records(file: Path, text: str) -> Iterator[dict[str, str]]:
    """The rows, each by its header's names; empty lines are passed over. Raises UserError naming row and line."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0
    try:
        header = next((cells for cells in reader if cells), [])
        named = _header(file, header, reader.line_num)
        before = reader.line_num
        for cells in reader:
            if cells:
                number += 1
                yield _record(f"{file}, row {number} (line {before + 1})", header, named, cells)
            before = reader.line_num
    except csv.Error as error:
        raise UserError(f"{file}, row {number + 1} (line {reader.line_num}): {error}", QUOTES) from None


def _header(file: Path, header: list[str], line: int) -> int:
    """The number of columns; empty names at the end, as spreadsheets leave them, do not count."""
    joined = ",".join(header)
    for separator, name in SEPARATORS.items():
        if joined.count(separator) > joined.count(","):
            raise UserError(
                f"{file}, line {line}: the columns are separated by {name}, not commas: {joined[:80]}", SAVE
            )
    if twice := [name for name, times in Counter(header).items() if times > 1 and name]:
        raise UserError(
            f"{file}, line {line}: the header names column {twice[0]!r} twice", "rename one of them, or take it out"
        )
    return max((index for index, name in enumerate(header, start=1) if name), default=0)


def _record(where: str, header: list[str], named: int, cells: list[str]) -> dict[str, str]:
    if len(cells) < named or len(cells) > len(header) or any(cells[named:]):
        if len(cells) < named:
            why = "a line break in a text without quotes, or a cell that was left out"
        else:
            why = "a comma in a text without quotes"
        shown = ", ".join(repr(cell[:40]) for cell in cells[:8])
        raise UserError(
            f"{where} has {len(cells)} cells, and the header has {named} columns ({', '.join(header[:named])}): "
            f"likely {why}. Its cells: {shown}",
            QUOTES,
        )
    return dict(zip(header[:named], cells, strict=False))
