"""What is scored below a runs folder: which numbers may stand in a table, of which judge, and whether they still hold.

    metrics.json files -> Scored (one judge, one task) -> rows by method, one row per judge

A number holds while its samples, prompt, limit and checkpoint are the present ones; else `marks` say why it may not.
Of one judge and task, a number that holds goes before one that may not, then the one whose answers are newest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from mtrl.config import prompting, samples, task_files
from mtrl.config.recipe_types import METHODS
from mtrl.core import hints
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import read_object, sha256_file
from mtrl.evaluate import scores
from mtrl.evaluate.metrics.task import TaskMetrics
from mtrl.evaluate.scores import Scores
from mtrl.evaluate.subject import fingerprint


@dataclass(frozen=True)
class Mark:
    """Why a number may not be of what is here now. `stale`: it is surely of something else."""

    reason: str
    stale: bool


@dataclass(frozen=True)
class Scored:
    """One task's numbers of one judge."""

    of: Scores
    task: str
    numbers: TaskMetrics
    marks: tuple[Mark, ...]

    @property
    def name(self) -> str:
        """The judge's: its run's, or the model's."""
        return self.of.judge.name if self.of.judge else self.of.checkpoint or self.of.file.parent.name

    @property
    def model(self) -> str:
        return self.of.judge.model if self.of.judge else ""

    @property
    def step(self) -> str:
        step = self.of.judge.step if self.of.judge else None
        return "" if step is None else f" step {step}"

    @property
    def asked_as(self) -> str:
        return f"{self.name}{self.step} (style {self.of.style})"

    @property
    def judge(self) -> tuple[str | None, ...]:
        """Who was asked, and how: two that differ here are never in one row."""
        return self.name, self.step, self.of.fingerprint or self.of.checkpoint, self.of.style

    @property
    def answered(self) -> float:
        """When the last answer was generated; of an older mtrl, which did not say, 0."""
        return self.numbers.answered or 0.0


class PassedOver(NamedTuple):
    """What is no cell: one task of an evaluation, or ("") a whole file."""

    task: str
    text: str


def evaluations(runs: Path) -> tuple[list[Scores], list[str]]:
    """Every evaluation below the runs folder; and what cannot be read, with the reason."""
    found, strange = [], []
    for file in sorted(runs.glob("**/metrics.json")):
        if "select" in file.relative_to(runs).parts:  # mtrl select's are of val
            continue
        try:
            found.append(scores.read(file))
        except UserError as error:
            strange.append(str(error) + (f" ({error.then})" if error.then else ""))
    return found, strange


def everything(runs: Path, data: Path) -> tuple[list[Scored], list[PassedOver]]:
    """All numbers that may stand in a table, best first (see the module); and those that may not, with the reason."""
    found, strange = evaluations(runs)
    cells, passed_over = [], [PassedOver("", line) for line in strange]
    for one in found:
        folder = one.file.parent
        passed_over += [PassedOver(task, f"{folder}: {task} ({why})") for task, why in one.broken.items()]
        for task, numbers in one.tasks.items():
            if why := why_no_cell(one, task):
                passed_over.append(PassedOver(task, f"{folder}: {task} ({why})"))
            else:
                cells.append(Scored(one, task, numbers, marks(one, task, data)))
    return sorted(cells, key=lambda c: (bool(c.marks), -c.answered)), passed_over


def why_no_cell(one: Scores, task: str) -> str:
    """Why a task's numbers may not stand in a table, "" where they may: the whole test split, one greedy answer per
    item, and of a single-task judge only the task it was trained on."""
    if task in one.broken:
        return one.broken[task]
    numbers = one.tasks[task]
    if one.votes != 1 or numbers.split != "test" or numbers.limit is not None:
        return "part of a split, another split, or votes"
    if one.method.endswith("_single"):
        if one.judge is None or one.judge.trained_on is None:
            return "which task this judge was trained on is not recorded: run the same mtrl eval again"
        if task not in one.judge.trained_on:
            return f"{METHODS[one.method]} of {', '.join(one.judge.trained_on)}: not trained on this task"
    return ""


def marks(one: Scores, task: str, data: Path) -> tuple[Mark, ...]:
    """In what this number differs from what is here now. What is not here (data, an export) cannot differ."""
    numbers, found = one.tasks[task], []
    file = samples.path_of(data, task, numbers.split)
    if file.exists():
        card = data / task / "card.json"
        limit = read_object(card).get("limit") if card.exists() else None
        if numbers.samples_sha256 is None:
            found.append(
                Mark(f"of samples that are not recorded: {hints.line('score', one.file.parent)} records them", False)
            )
        elif numbers.samples_sha256 != _hash(file, file.stat().st_mtime_ns, file.stat().st_size):
            found.append(Mark(f"of other samples than {data / task} holds now", True))
        elif limit is not None:
            found.append(Mark(f"of data that was converted with --limit {limit} ({data / task})", False))
    if not found and numbers.conversion_limit is not None:
        found.append(Mark(f"of data that was converted with --limit {numbers.conversion_limit}", False))
    if _prompt_changed(one, task):
        found.append(Mark("asked with another prompt than the present one", True))
    if _weights_changed(one):
        found.append(Mark(f"of a checkpoint that {one.checkpoint} no longer holds", True))
    return tuple(found)


def sides(folders: tuple[Path, Path], chosen: list[str], data: Path) -> tuple[list[str], list[str]]:
    """(names, notes) for `mtrl compare`: who was asked in each folder, and where its numbers of the chosen tasks may
    not be what they seem. A folder whose metrics.json cannot be read has its path as its name, and no notes."""
    names, notes = [], []
    for side, folder in zip("AB", folders, strict=True):
        try:
            one = scores.read(folder / "metrics.json")
        except UserError:
            names.append(str(folder))
            continue
        step = "" if one.judge is None or one.judge.step is None else f" step {one.judge.step}"
        who = f"{one.judge.name}{step}, " if one.judge else ""
        names.append(f"{who}{METHODS[one.method]} ({folder})")
        for task in (task for task in chosen if task in one.tasks):
            notes += [f"{task}: {side} is {mark.reason}" for mark in marks(one, task, data)]
            if one.method.endswith("_single") and one.judge and task not in (one.judge.trained_on or [task]):
                notes.append(f"{task}: {side} was not trained on it")
            if one.tasks[task].one_class and side == "A":  # both have the same samples
                notes.append(f"{task}: every item has the label {one.tasks[task].one_class!r}; Macro-F1 says nothing")
    return names, notes


@lru_cache(maxsize=256)
def _hash(file: Path, modified: int, size: int) -> str:
    return sha256_file(file)


def _prompt_changed(one: Scores, task: str) -> bool:
    """A judge that carries its prompts is asked with those, any other with the present ones of the working directory."""
    asked, home = one.tasks[task].prompt_sha256, Path(one.checkpoint) / task_files.FOLDER
    if (
        asked is None
        or one.style is None
        or one.judge is None
        or (one.judge.trained_on is not None and not home.is_dir())
    ):
        return False
    try:
        return prompting.sha256(task_files.load(task, home), one.style) != asked
    except MtrlError:  # the task or its prompt is not here
        return False


def _weights_changed(one: Scores) -> bool:
    """Whether the folder that was scored holds other weights now. A hub id and an endpoint's name are what they are."""
    folder = Path(one.checkpoint)
    if not one.fingerprint or one.fingerprint == one.checkpoint or not (folder / "config.json").exists():
        return False
    try:
        return fingerprint(folder) != one.fingerprint
    except (MtrlError, OSError, ValueError):  # no longer a model that can be read
        return True


def rows(method: str, cells: list[Scored]) -> dict[str, dict[str, Scored]]:
    """The rows of one method: label -> task -> number, from cells that come best first.

    One judge per row; single-task judges of one base model share a row, unless two of them fill the same column. The
    label is the method's name in Table 2, and names the judge where there is more than one row.
    """
    ways: list[tuple[Callable[[Scored], object], list[Callable[[Scored], str]]]] = [
        (lambda c: c.judge, [lambda c: c.name, lambda c: c.name + c.step, lambda c: c.asked_as,
                             lambda c: f"{c.asked_as} in {c.of.checkpoint} {c.of.fingerprint[:8]}"])
    ]  # fmt: skip
    if method.endswith("_single"):
        ways = [(lambda c: c.model, [lambda c: c.model]), (lambda c: (c.model, _stem(c)), [_stem]), *ways]
    mine = [cell for cell in cells if cell.of.method == method]
    found: dict[object, dict[str, list[Scored]]] = {}
    labels: list[Callable[[Scored], str]] = []
    for key, labels in ways:  # noqa: B007 (the first way in which no column has two judges is kept)
        found = {}
        for cell in mine:
            found.setdefault(key(cell), {}).setdefault(cell.task, []).append(cell)
        if all(len({c.judge for c in same}) == 1 for row in found.values() for same in row.values()):
            break
    firsts = [next(iter(row.values()))[0] for row in found.values()]
    names = [f"{METHODS[method]}: {labels[0](first)}" for first in firsts]
    for label in labels[1:]:
        if len(set(names)) < len(names):
            names = [f"{METHODS[method]}: {label(first)}" for first in firsts]
    if len(names) == 1:
        names = [METHODS[method]]
    return {name: {t: same[0] for t, same in row.items()} for name, row in zip(names, found.values(), strict=True)}


def _stem(cell: Scored) -> str:
    """A single-task run's name without its task: what the runs of one row have in common."""
    return cell.name.replace(f"-{cell.task}", "", 1)
