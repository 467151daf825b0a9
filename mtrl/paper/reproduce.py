"""Driving the matrix: conversion, plans, then cell by cell training, selection, export and evaluation.

    convert what is missing -> plan every training that is left -> for each cell: train, select, export, eval

Each step is a command of `mtrl`, as a user would type it, one after another; its output goes to reproduce.log beside the
run. What is done is seen from the folders (mtrl.matrix), so the same command goes on after a kill, and a step that was
cut off resumes by itself. A cell that fails is put down with its reason, and the others go on. A cell that another
process holds is passed over, and looked at once more at the end.
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

from mtrl.core import child, hints
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import read_json
from mtrl.models.card import FILE as CARD
from mtrl.paper.cell import LOCK, LOG, STEPS, Cell, Place, Step
from mtrl.preflight.plan import plan


@dataclass(frozen=True)
class Failure:
    """Why a cell failed, and the command that shows it again."""

    reason: str
    command: str


def needed(chosen: list[Cell]) -> list[str]:
    """The tasks whose data the unfinished cells need."""
    found: set[str] = set()
    for cell in chosen:
        left = {step.name for step in cell.steps() if not step.done}
        found |= {*(cell.columns if left else ()), *(cell.recipe.tasks if left & {"train", "select"} else ())}
    return sorted(found)


def conversion(chosen: list[Cell], raw: Path | None, place: Place, again: str = "") -> list[str]:
    """The command that converts what the unfinished cells need and is not converted; [] where nothing is missing.

    Raises UserError where something is missing and `raw` was not given; `again` is the command that gives it.
    """
    missing = [task for task in needed(chosen) if not (place.data / task / "card.json").exists()]
    if missing and raw is None:
        raise UserError(f"not converted yet: {', '.join(missing)}. Pass --raw, the folder of the releases", again)
    return ["convert", *missing, "--raw", str(raw), "--out", str(place.data)] if missing else []


def commands(chosen: list[Cell], convert: list[str]) -> Iterator[str]:
    """All that is left to run, in order, as one would type it."""
    if convert:
        yield _typed(convert)
    for cell in chosen:
        for step in cell.steps():
            if not step.done:
                yield _typed(step.command)


def drive(
    chosen: list[Cell],
    convert: list[str],
    place: Place,
    keep: str,
    failures: dict[str, Failure],
    say: Callable[[str], None],
) -> None:
    """Runs what is left of the chosen cells; `failures` fills as it goes, by label. Raises Interrupted, and MtrlError for data."""
    if convert:
        say(f"$ {_typed(convert)}")
        code, last = _run(convert, place.runs / LOG)
        if code:
            raise MtrlError(f"converting failed: {last}", _typed(convert))
    warned: set[str] = set()
    for cell in chosen:
        if cell.state()[0] in ("left", "failed") and (failure := _refused(cell, warned, say)):
            failures[cell.label] = failure
            say(f"{cell.label}: cannot start: {failure.reason}")
    held = [cell for cell in chosen if cell.label not in failures and not _attempt(cell, keep, failures, say)]
    for cell in held:  # what another process held may be free by now
        _attempt(cell, keep, failures, say)


def _refused(cell: Cell, warned: set[str], say: Callable[[str], None]) -> Failure | None:
    """What `mtrl plan` finds against a training, before hours are spent on the others. Its warnings are said once each."""
    if cell.other_recipe() or cell.stale():
        return Failure(cell.state()[1], hints.line("status", cell.folder))
    train = cell.steps()[0]
    if train.name != "train" or train.done:
        return None
    checks = plan(cell.recipe, cell.place.data)
    for found in checks:
        if found.level == "warning" and found.text not in warned:
            warned.add(found.text)
            say(f"{cell.label}: warning: {found.text}" + (f"  next: {found.then}" if found.then else ""))
    errors = [f"{found.text}; next: {found.then}" for found in checks if found.level == "error"]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    again = _typed(["plan", cell.method, *cell.options, "--data", str(cell.place.data)])
    return Failure(errors[0] + more, again) if errors else None


def _attempt(cell: Cell, keep: str, failures: dict[str, Failure], say: Callable[[str], None]) -> bool:
    """Takes a cell as far as it goes. False where another process holds it, or a trainer that outlived its mtrl."""
    with contextlib.ExitStack() as stack:
        left = [step for step in cell.steps() if not step.done]
        try:
            lock = stack.enter_context(cell.run.held(LOCK)) if left else -1
        except UserError:
            lock = -1
        if left and (lock < 0 or cell.run.locked()):
            say(f"{cell.label}: is running already; passed over")
            return False
        while step := next((step for step in cell.steps() if not step.done), None):
            if failure := _perform(cell, step, lock, say):
                failures[cell.label] = failure
                say(f"{cell.label}: {step.name} failed: {failure.reason}\n  again: {failure.command}")
                return True
        if keep == "best":
            _remove_checkpoints(cell)
    return True


def _perform(cell: Cell, step: Step, lock: int, say: Callable[[str], None]) -> Failure | None:
    """One step, and its time in steps.jsonl. The step inherits `lock`: it holds the cell even if this driver is killed."""
    say(f"{cell.label}: {step.name}")
    log, begun = cell.folder / LOG, time.time()
    code, last = _run(step.command, log, lock)
    took = {"step": step.name, "seconds": round(time.time() - begun, 1), "code": code}
    with (cell.folder / STEPS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(took) + "\n")
    if code == 0 and next(s for s in cell.steps() if s.name == step.name).done:
        return None
    reason = (step.name == "train" and code == 1 and cell.run.status.reason) or last
    return Failure(f"{reason or f'exit status {code}'} (log: {log})", _typed(step.command))


def _run(command: list[str], log: Path, lock: int | None = None) -> tuple[int, str]:
    """(exit status, its last words) of `mtrl COMMAND`, all of whose output is appended to `log`. Raises Interrupted."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        output.write(f"$ {_typed(command)}\n".encode())
        output.flush()
        before = output.tell()
        locks = () if lock is None else (lock,)
        code = child.run_mtrl(command, stdout=output, stderr=subprocess.STDOUT, locks=locks)
    return code, next(iter(child.last_lines_of_log(log, before)), "").removeprefix("mtrl: ")


def _remove_checkpoints(cell: Cell) -> None:
    """Frees the room of a finished cell's checkpoints. The best one lives on in its export, which must be there."""
    card = cell.export / CARD
    if card.exists() and read_json(card)["run"] == cell.run.name:
        shutil.rmtree(cell.run.checkpoints, ignore_errors=True)


def _typed(command: list[str]) -> str:
    return hints.typed(command)
