"""Answers written to an evaluation folder as they arrive.

An evaluation that was killed continues: a torn last line is dropped, and only what is not in the file is asked.
Another checkpoint, prompt, sampling or other data in the same folder is an error.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mtrl.core import targets
from mtrl.core.errors import MtrlError, UserError, remedy
from mtrl.core.locks import take
from mtrl.evaluate.engines.base import CONTINUES
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.identity import IDENTITY, Identity, read_identity
from mtrl.evaluate.metrics.prediction import Prediction
from mtrl.evaluate.predictions import FILE, as_line, rows_of

# tasks are compared one by one; the others follow from the checkpoint
UNCOMPARED = ("tasks", "path", "run", "trained", "name", "model", "step", "prompts", "sift")  # sift: see _identified
UNCOMPARED_OF_TASK = ("requests", "conversion_limit")  # they follow from the limit and the samples


class Recording:
    """One evaluation folder that answers are written to, by one process at a time. Use as a context manager."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        """Raises UserError where the folder has another evaluation, or another process writes to it."""
        targets.check_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.file = folder, folder / FILE
        self._stream = self.file.open("a+", encoding="utf-8")
        try:
            if not take(self._stream.fileno()):
                raise UserError(
                    f"another mtrl {identity.purpose} is writing to {folder}", "wait for it, or pass another --out"
                )
            self.identity = self._identified(identity)
            self.identity.write(folder)
            self._drop_torn_line()
            self.rows = {row.key: row for row in rows_of(self.file, self.identity)}
        except BaseException:
            self._stream.close()
            raise
        self._answered: dict[str, float] = {}  # by task, of this process

    def _identified(self, new: Identity) -> Identity:
        """`new` with what the folder has already. Raises UserError where that is another evaluation."""
        file = self.folder / IDENTITY
        if not file.exists():
            if self.file.stat().st_size:
                raise UserError(
                    f"{self.file} has answers, but {IDENTITY}, which says whose they are, is missing",
                    f"restore {IDENTITY}, rename {FILE}, or pass another --out",
                )
            return new
        old = read_identity(self.folder)
        old.check_purpose(new.purpose, self.folder)
        if new.probe and not self.file.stat().st_size:
            return new  # nothing was asked yet, such as by an engine that cannot ask all of it
        before, now = old.recorded, new.recorded
        differing = [key for key in now if key not in UNCOMPARED and before.get(key) != now[key]]
        differing += [
            f"task {name}: {key}"
            for name, task in now["tasks"].items()
            for key in task
            if name in old.tasks and key not in UNCOMPARED_OF_TASK and before["tasks"][name].get(key) != task[key]
        ]
        if "probe" in differing:
            changed = [f"probe: {key}" for key in now["probe"] if before["probe"].get(key) != now["probe"][key]]
            differing = [*changed, *(key for key in differing if key != "probe")]
        if differing:
            what = "probe" if new.probe else "evaluation"
            raise UserError(
                f"{self.folder} has another {what}; different now: {', '.join(differing)}",
                f"pass another --out, or remove {self.folder}",
            )
        return Identity.model_validate({**before, **now, "tasks": {**before["tasks"], **now["tasks"]}})

    def check(self, asked: Iterable[Request]) -> None:
        """Raises UserError where a recorded answer to one of these tasks does not belong to one of the requests."""
        wanted = {request.key: request.label for request in asked}
        names = {key.task for key in wanted}
        for key, row in self.rows.items():
            if row.task in names and wanted.get(key) != row.label:
                what = f"sample {row.id!r} of task {row.task}, order {row.order}, vote {row.vote}"
                known = f"with label {row.label}; it is {wanted[key]} here" if key in wanted else "which is not asked"
                raise UserError(
                    f"{self.file} has an answer to {what}, {known}", "remove its line, or pass another --out"
                )

    def note(self, **about: Any) -> None:
        """Adds to what is recorded of the evaluation; it is never compared."""
        self.identity = self.identity.model_copy(update=about)
        self.identity.write(self.folder)

    def _drop_torn_line(self) -> None:
        """Removes what a kill left of a last line, before anything is read. Its request is asked again."""
        data = self.file.read_bytes()
        if data and not data.endswith(b"\n"):
            self._stream.truncate(data.rfind(b"\n") + 1)

    def append(self, rows: Iterable[Prediction]) -> Iterator[Prediction]:
        """Writes each row as it comes, and yields it. Raises MtrlError where the disk is full."""
        for row in rows:
            try:
                self._stream.write(as_line(row))
                self._stream.flush()
            except OSError as error:
                raise MtrlError(f"writing {self.file} failed: {error.strerror}", remedy(error, CONTINUES)) from error
            self.rows[row.key] = row
            first = row.task not in self._answered
            self._answered[row.task] = round(time.time(), 1)
            if first:  # so that it is known even if this process is killed
                self._note_answered()
            yield row

    def _note_answered(self) -> None:
        """Records when each task's last answer was generated. Reading answers again does not change it."""
        if self._answered:
            self.note(answered={**self.identity.answered, **self._answered})

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._note_answered()
        with contextlib.suppress(OSError):  # on a full disk closing fails again; `append` has raised already
            self._stream.close()
