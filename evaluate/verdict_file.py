"""The --out file of `mtrl judge`: verdicts are written as they come.

They go to a JSONL file; for a .csv and a page it is next to them until these are written at the end. A .jsonl is put
into the order of the items at the end. A file that `mtrl judge` did not write is never changed, and one process at a
time writes to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from mtrl.core import csv_files, targets
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import write_text
from mtrl.core.parsing import parse_json
from mtrl.core.schema import validate
from mtrl.evaluate.engines.base import CONTINUES
from mtrl.evaluate.image_items import Bad
from mtrl.evaluate.verdict import COLUMNS, Verdict, row

KINDS = (".jsonl", ".csv", ".html")


def check(out: Path) -> None:
    """Raises UserError where verdicts cannot be written to `out`. Called before a model is loaded."""
    targets.check_file(out)
    if out.suffix not in KINDS:
        raise UserError(f"--out {out} is neither .jsonl nor .csv nor .html", "pass --out with one of these endings")
    if out.suffix != ".jsonl" and out.exists():
        raise UserError(f"{out} exists already", "pass another --out, or remove it")
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}", f"mkdir -p {shlex.quote(str(out.parent))}")


class VerdictFile:
    """The verdicts of one --out, by `asked`. Use as a context manager.

    `verdicts` has those of an earlier start, without the items that were skipped: they may be fixed by now.
    """

    def __init__(self, out: Path, wanted: set[str]) -> None:
        """`wanted` are the values of `asked` that this command can write.

        Raises UserError where the file is not this command's, has other verdicts, or another process writes to it.
        """
        check(out)
        self.out = out
        self.kept = out if out.suffix == ".jsonl" else out.with_name(f".{out.name}.part.jsonl")
        self._is_new = not self.kept.exists()
        self._stream = _locked(self.kept)
        try:
            check(out)  # again: the process that had the lock may have written `out` just now
            self.verdicts = self._earlier(wanted)
        except BaseException:
            if self._is_new:
                self.kept.unlink(missing_ok=True)
            self._stream.close()
            raise

    def _earlier(self, wanted: set[str]) -> dict[str, Verdict]:
        data = self.kept.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if data and not whole:
            raise UserError(f"{self.kept} was not written by mtrl judge, so it is not changed", "pass another --out")
        found: dict[str, Verdict] = {}
        for number, line in enumerate(whole.decode("utf-8", "replace").split("\n")[:-1], start=1):
            try:
                verdict = _verdict(line)
            except UserError:
                raise UserError(
                    f"{self.kept}, line {number} is not a row of mtrl judge, so the file is not changed",
                    "pass another --out",
                ) from None
            if verdict:
                found[verdict.asked] = verdict
        if strange := found.keys() - wanted:
            raise UserError(
                f"{self.kept} has {len(strange)} verdicts that this command would not ask for: another judge, prompt or"
                " list",
                f"pass another --out, or remove {self.kept}",
            )
        if len(whole) < len(data):  # a torn last line, left by a kill
            self._stream.truncate(len(whole))
        return found

    def append(self, verdict: Verdict) -> None:
        """Raises MtrlError where the disk is full."""
        self.verdicts[verdict.asked] = verdict
        try:
            self._stream.write(_line(verdict))
            self._stream.flush()
        except OSError as error:
            raise _failed(self.kept, error) from error

    def finish(self, judged: list[Verdict | Bad], page: Callable[[Path], object]) -> None:
        """Writes `out`; `page` writes the HTML. Raises MtrlError, and UserError where `out` exists by now."""
        try:
            if self.out.suffix == ".jsonl":
                write_text(self.out, "".join(map(_line, judged)))
                return
            check(self.out)  # again: this may have taken hours
            if self.out.suffix == ".csv":
                rows = [row(one) for one in judged]
                csv_files.write(self.out, [name for name in COLUMNS if any(name in one for one in rows)], rows)
            else:
                page(self.out)
            self.kept.unlink()
        except OSError as error:
            raise _failed(self.out, error) from error

    def __enter__(self) -> VerdictFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_new and not self.verdicts:
            self.kept.unlink(missing_ok=True)  # without an answer, nothing is left behind
        with contextlib.suppress(OSError):  # on a full disk closing fails again; `append` has raised already
            self._stream.close()


def _failed(file: Path, error: OSError) -> MtrlError:
    return MtrlError(f"writing {file} failed: {error.strerror or error}", f"make room; {CONTINUES}")


def _line(judged: Verdict | Bad) -> str:
    return json.dumps(row(judged), ensure_ascii=False) + "\n"


def _verdict(line: str) -> Verdict | None:
    """None for an item that was skipped. Raises UserError where the line is not a row of mtrl judge."""
    content = parse_json(line, "a row")
    if isinstance(content, dict) and "skipped" in content:
        content = {"confidence": None, "response": "", "finish_reason": "", **content}
        validate(Verdict, content, "a row")
        return None
    return validate(Verdict, content, "a row")


def _locked(file: Path) -> TextIO:
    """The file, opened for appending and locked by this process. Raises UserError."""
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
            pass  # the process that had it locked has just removed it
        except BlockingIOError:
            stream.close()
            raise UserError(f"another mtrl judge is writing to {file}", "wait for it, or pass another --out") from None
        except OSError as error:
            stream.close()
            raise UserError(
                f"{file} cannot be locked: {error.strerror or error}", "pass an --out on another file system"
            ) from None
        stream.close()
