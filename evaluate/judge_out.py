"""Where verdicts go: rows as they come to a JSONL file, and at the end the .jsonl, .csv or .html that was asked for.

A file that `mtrl judge` did not write is never changed: each line of what goes on must be a row of this command. One
process at a time holds the file. JSONL is put into the order of the items at the end; a .csv and a page are written then,
from a JSONL next to them.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import json
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from mtrl.core import targets
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import written
from mtrl.core.parsing import parse_json

KINDS = (".jsonl", ".csv", ".html")
COLUMNS = (
    "id", "image", "image_2", "task", "verdict", "flipped", "label", "correct", "confidence", "reasoning", "response",
    "response_turned", "finish_reason", "skipped", "asked",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a cell that begins so
ASKED = re.compile("[0-9a-f]{64}")

Row = dict[str, Any]


def check(out: Path) -> None:
    """Raises UserError where verdicts cannot be written to `out`; asked before a model is loaded."""
    targets.check_file(out)
    if out.suffix not in KINDS:
        raise UserError(f"--out {out} is neither .jsonl nor .csv nor .html")
    if out.suffix != ".jsonl" and out.exists():
        raise UserError(f"{out} exists already", "pass another --out, or remove it")
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}", f"mkdir -p {shlex.quote(str(out.parent))}")


class Out:
    """The rows of one --out, by `asked`. Use as a context manager.

    Raises UserError where the file is not this command's, holds other verdicts than `wanted`, or is written to by another
    process. Rows of an earlier start are in `rows`, without those that were skipped: they may be well by now.
    """

    def __init__(self, out: Path, wanted: set[str]) -> None:
        check(out)
        self.out = out
        self.kept = out if out.suffix == ".jsonl" else out.with_name(f".{out.name}.part.jsonl")
        self._is_new = not self.kept.exists()
        self._stream = _locked(self.kept)
        try:
            check(out)  # again: the process that held the lock may have ended just now
            self.rows = self._earlier(wanted)
        except BaseException:
            if self._is_new:
                self.kept.unlink(missing_ok=True)
            self._stream.close()
            raise

    def _earlier(self, wanted: set[str]) -> dict[str, Row]:
        data = self.kept.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        rows: dict[str, Row] = {}
        for number, line in enumerate(whole.decode("utf-8", "replace").split("\n")[:-1], start=1):
            row = _row(line)
            if row is None:
                raise UserError(
                    f"{self.kept}, line {number} is no row of mtrl judge, so the file is left as it is",
                    "pass another --out",
                )
            rows[row["asked"]] = row
        if data and not rows:
            raise UserError(f"{self.kept} was not written by mtrl judge, so it is left as it is", "pass another --out")
        rows = {key: row for key, row in rows.items() if "skipped" not in row}
        if strange := rows.keys() - wanted:
            raise UserError(
                f"{self.kept} holds {len(strange)} verdicts that this command would not ask for: another judge, prompt or list",
                f"pass another --out, or remove {self.kept}",
            )
        if len(whole) < len(data):  # what a kill left of a last line
            self._stream.truncate(len(whole))
        return rows

    def append(self, row: Row) -> None:
        """Raises MtrlError where the disk is full."""
        self.rows[row["asked"]] = row
        try:
            self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._stream.flush()
        except OSError as error:
            raise _failed(self.kept, error) from error

    def finish(self, rows: list[Row], page: Callable[[Path], object]) -> None:
        """Writes what was asked for; `page` writes the HTML. Raises MtrlError, and UserError where `out` exists by now."""
        try:
            if self.out.suffix == ".jsonl":
                with written(self.out) as beside:
                    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
                    beside.write_text(text, encoding="utf-8")
                return
            check(self.out)  # again: this may have taken hours
            if self.out.suffix == ".csv":
                _write_csv(self.out, rows)
            else:
                page(self.out)
            self.kept.unlink()
        except OSError as error:
            raise _failed(self.out, error) from error

    def __enter__(self) -> Out:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_new and not self.rows:
            self.kept.unlink(missing_ok=True)  # nothing was answered: nothing is left behind
        with contextlib.suppress(OSError):  # on a full disk, closing tries to write again; `append` has said so
            self._stream.close()


def _failed(file: Path, error: OSError) -> MtrlError:
    return MtrlError(f"writing {file} failed: {error.strerror or error}", "make room; the same command goes on")


def _row(line: str) -> Row | None:
    """A line as a row of this command, or None where it is none."""
    try:
        row = parse_json(line, "a row")
    except UserError:
        return None
    ours = isinstance(row, dict) and {"id", "image", "task", "verdict"} <= row.keys()
    return row if ours and isinstance(row.get("asked"), str) and ASKED.fullmatch(row["asked"]) else None


def _locked(file: Path) -> TextIO:
    """The file opened for appending, held by this process alone. Raises UserError."""
    while True:
        try:
            stream = file.open("a+", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{file} cannot be written to: {error.strerror or error}", "pass another --out") from None
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(stream.fileno()).st_ino == file.stat().st_ino:
                return stream
        except FileNotFoundError:
            pass  # the process that held it has just removed it
        except BlockingIOError:
            stream.close()
            raise UserError(f"another mtrl judge is writing to {file}", "wait for it, or pass another --out") from None
        except OSError as error:
            stream.close()
            raise UserError(
                f"{file} cannot be locked: {error.strerror or error}", "pass an --out on another file system"
            ) from None
        stream.close()


def _write_csv(out: Path, rows: list[Row]) -> None:
    columns = [name for name in COLUMNS if any(name in row for row in rows)]
    with written(out) as beside, beside.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, columns, restval="")
        table.writeheader()
        table.writerows({key: _cell(value) for key, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    """A cell that a spreadsheet shows and never runs: what begins like a formula gets an apostrophe before it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
