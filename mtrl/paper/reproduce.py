"""Runs the matrix, one `mtrl` command after another, as a user would type them.

    convert what is missing -> plan every training that is left -> for each cell: train, select, export, eval

The output of each step is appended to reproduce.log in the run directory. What is done is read from the folders
(cell.py), so the same command continues after a kill, and a step that was killed resumes by itself. A cell that fails
is recorded with its reason, and the next one starts. A cell that another process holds is skipped, and tried once more
at the end.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mtrl.config import datacard
from mtrl.core import child, hints
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import read_json
from mtrl.models.card import FILE as CARD
from mtrl.paper.cell import LOCK, LOG, STEPS, Cell, Place, Step
from mtrl.preflight.plan import preflight
from mtrl.preflight.rendered import Rendered


@dataclass(frozen=True)
class Failure:
    """Why a cell failed, and the command that repeats it."""

    reason: str
    command: str


def needed(chosen: list[Cell]) -> list[str]:
    """The tasks whose data the unfinished cells need."""
    found: set[str] = set()
    for cell in chosen:
        left = {step.name for step in cell.left()}
        found |= {*(cell.columns if left else ()), *(cell.recipe.tasks if left & {"train", "select"} else ())}
    return sorted(found)


def conversion(chosen: list[Cell], raw: Path | None, place: Place, again: str = "") -> list[str]:
    """The `mtrl convert` command for the tasks that the unfinished cells need; [] where all are converted.

    Raises UserError where a task is missing and `raw` is None; `again` is the command with --raw.
    """
    missing = [task for task in needed(chosen) if not datacard.path_of(place.data, task).exists()]
    if missing and raw is None:
        raise UserError(
            f"these tasks are not converted: {', '.join(missing)}. Pass --raw FOLDER, the folder of the releases", again
        )
    return ["convert", *missing, "--raw", str(raw), "--out", str(place.data)] if missing else []


def commands(chosen: list[Cell], convert: list[str]) -> Iterator[str]:
    """The command lines that are left, in order."""
    if convert:
        yield hints.typed(convert)
    for cell in chosen:
        yield from (hints.typed(step.command) for step in cell.left())


def drive(
    chosen: list[Cell],
    convert: list[str],
    place: Place,
    keep: str,
    failures: dict[str, Failure],
    say: Callable[[str], None],
) -> None:
    """Runs what is left of the chosen cells. `failures`, by label, is filled while it runs.

    Raises Interrupted, and MtrlError where a conversion fails.
    """
    if convert:
        say(f"$ {hints.typed(convert)}")
        code, last = _run(convert, place.runs / LOG)
        if code:
            raise MtrlError(f"the conversion failed: {last}", hints.typed(convert))
    warned: set[str] = set()
    for cell in chosen:
        if cell.state()[0] in ("left", "failed") and (failure := _refused(cell, warned, say)):
            failures[cell.label] = failure
            say(f"{cell.label}: cannot start: {failure.reason}")
    held = [cell for cell in chosen if cell.label not in failures and not _attempt(cell, keep, failures, say)]
    for cell in held:  # what another process held may be free by now
        _attempt(cell, keep, failures, say)


def _refused(cell: Cell, warned: set[str], say: Callable[[str], None]) -> Failure | None:
    """The errors that `mtrl plan` reports for a training, before the first one starts. Each warning is printed once."""
    if cell.other_recipe() or cell.stale():
        return Failure(cell.state()[1], hints.line("status", cell.folder))
    train = cell.steps()[0]
    if train.name != "train" or train.done:
        return None
    data = cell.place.data
    checks = preflight(cell.recipe, cell.run, data, Rendered(cell.recipe, cell.run, data))
    for found in checks:
        if found.level == "warning" and found.text not in warned:
            warned.add(found.text)
            say(f"{cell.label}: warning: {found.text}" + (f"  next: {found.then}" if found.then else ""))
    errors = [f"{found.text}; next: {found.then}" for found in checks if found.level == "error"]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    where = ["--name", cell.run.name, "--data", str(data), "--runs", str(cell.place.runs)]
    again = hints.typed(["plan", cell.method, *cell.options, *where])
    return Failure(errors[0] + more, again) if errors else None


def _attempt(cell: Cell, keep: str, failures: dict[str, Failure], say: Callable[[str], None]) -> bool:
    """Runs the steps of a cell that are left, up to the first failure. False where another process holds the cell, such
    as a trainer whose mtrl was killed.
    """
    with contextlib.ExitStack() as stack:
        left = cell.left()
        try:
            lock = stack.enter_context(cell.run.held(LOCK)) if left else -1
        except UserError:
            lock = -1
        if left and (lock < 0 or cell.run.locked()):
            say(f"{cell.label}: is already running; skipped")
            return False
        while left := cell.left():
            step = left[0]
            if failure := _perform(cell, step, lock, say):
                failures[cell.label] = failure
                say(f"{cell.label}: {step.name} failed: {failure.reason}\n  again: {failure.command}")
                return True
        if keep == "best":
            _remove_checkpoints(cell)
    return True


def _perform(cell: Cell, step: Step, lock: int, say: Callable[[str], None]) -> Failure | None:
    """Runs one step and records its time in steps.jsonl. The step inherits `lock`, and holds it if this process is
    killed.
    """
    say(f"{cell.label}: {step.name}")
    log, begun = cell.folder / LOG, time.time()
    code, last = _run(step.command, log, lock)
    took = {"step": step.name, "seconds": round(time.time() - begun, 1), "code": code}
    with (cell.folder / STEPS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(took) + "\n")
    if code == 0 and next(s for s in cell.steps() if s.name == step.name).done:
        return None
    reason = (step.name == "train" and code == 1 and cell.run.status.reason) or last
    return Failure(f"{reason or f'exit status {code}'} (log: {log})", hints.typed(step.command))


def _run(command: list[str], log: Path, lock: int | None = None) -> tuple[int, str]:
    """Runs `mtrl COMMAND` with its output appended to `log`: the exit status, and the last error.

    Raises Interrupted.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        output.write(f"$ {hints.typed(command)}\n".encode())
        output.flush()
        before = output.tell()
        locks = () if lock is None else (lock,)
        code = child.run_mtrl(command, stdout=output, stderr=subprocess.STDOUT, locks=locks)
    return code, next(iter(child.last_lines_of_log(log, before)), "").removeprefix("mtrl: ")


def _remove_checkpoints(cell: Cell) -> None:
    """Removes a finished cell's checkpoints, provided that its export, which has the best one, exists."""
    card = cell.export / CARD
    if card.exists() and read_json(card)["run"] == cell.run.name:
        shutil.rmtree(cell.run.checkpoints, ignore_errors=True)
