"""What is scored below a runs folder: which numbers may be in a table, and the rows of the judges that they are of.

    metrics.json files -> Scored (one judge, one task) -> rows by method, one judge per row

A number holds while its samples, prompt, limit and checkpoint are the present ones; else it has marks (marks.py). Of
one judge and task, a number that holds comes before one with marks, then the one with the newest answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mtrl.config.recipe_types import METHODS
from mtrl.core.errors import UserError
from mtrl.evaluate import scores
from mtrl.evaluate.metrics.task import TaskMetrics
from mtrl.evaluate.scores import Scores
from mtrl.paper import marks
from mtrl.paper.marks import Mark


class Judge(NamedTuple):
    """Which judge was asked, and how: two that differ here are never in one row."""

    name: str
    step: str
    checkpoint: str
    style: str | None


@dataclass(frozen=True)
class Scored:
    """One task's numbers of one judge."""

    of: Scores
    task: str
    numbers: TaskMetrics
    marks: tuple[Mark, ...]

    @property
    def name(self) -> str:
        """The judge's name: its run's, or the model's."""
        return self.of.judge.name if self.of.judge else self.of.checkpoint or self.of.file.parent.name

    @property
    def model(self) -> str:
        """The preset or base model it was trained from."""
        return self.of.judge.model if self.of.judge else ""

    @property
    def stem(self) -> str:
        """A single-task judge's name without its task: what the judges of one row have in common."""
        return self.name.replace(f"-{self.task}", "", 1)

    @property
    def from_scores(self) -> bool:
        """Whether its pairs were decided from single answers."""
        return self.numbers.from_scores is not None

    @property
    def step(self) -> str:
        step = self.of.judge.step if self.of.judge else None
        return "" if step is None else f" step {step}"

    @property
    def asked_as(self) -> str:
        return f"{self.name}{self.step} (style {self.of.style})"

    @property
    def judge(self) -> Judge:
        return Judge(self.name, self.step, self.of.fingerprint or self.of.checkpoint, self.of.style)

    @property
    def answered(self) -> float:
        """When the last answer was generated; 0 where an older mtrl did not record it."""
        return self.numbers.answered or 0.0


class PassedOver(NamedTuple):
    """What is left out of the tables: one task of an evaluation, or (task "") a whole file."""

    task: str
    text: str


def evaluations(runs: Path) -> tuple[list[Scores], list[str]]:
    """Every evaluation below the runs folder; and the reason for each file that cannot be read."""
    found, strange = [], []
    for file in sorted(runs.glob(f"**/{scores.METRICS}")):
        if "select" in file.relative_to(runs).parts:  # mtrl select scores val
            continue
        try:
            found.append(scores.read(file))
        except UserError as error:
            strange.append(str(error) + (f" ({error.then})" if error.then else ""))
    return found, strange


def of(one: Scores, task: str, data: Path) -> Scored:
    return Scored(one, task, one.tasks[task], marks.of(one, task, data))


def everything(runs: Path, data: Path) -> tuple[list[Scored], list[PassedOver]]:
    """All numbers that may be in a table, best first (see the module); and those that may not, with the reason."""
    found, strange = evaluations(runs)
    numbers, passed_over = [], [PassedOver("", line) for line in strange]
    for one in found:
        for task in (*one.broken, *one.tasks):
            if why := why_not(one, task):
                passed_over.append(PassedOver(task, f"{one.file.parent}: {task} ({why})"))
            else:
                numbers.append(of(one, task, data))
    return sorted(numbers, key=lambda c: (bool(c.marks), -c.answered)), passed_over


def why_not(one: Scores, task: str) -> str:
    """Why a task's numbers may not be in a table, "" where they may: the whole test split, one greedy answer per item,
    of RL with its reasoning, and of a single-task judge only the task that it was trained on."""
    if task in one.broken:
        return one.broken[task]
    numbers = one.tasks[task]
    if one.votes != 1 or numbers.split != "test" or numbers.limit is not None:
        return "part of a split, another split, or votes"
    if one.method.startswith("rl") and one.style == "sft":
        return f"{METHODS[one.method]} asked for the bare verdict: the paper's reasons first"
    if one.method.endswith("_single"):
        if one.judge is None or one.judge.trained_on is None:
            return "which task this judge was trained on is not recorded: run the same mtrl eval again"
        if task not in one.judge.trained_on:
            return f"{METHODS[one.method]} of {', '.join(one.judge.trained_on)}: not trained on this task"
    return ""


Name = Callable[[Scored], str]
NAMES: tuple[Name, ...] = (
    lambda c: c.name,
    lambda c: c.name + c.step,
    lambda c: c.asked_as,
    lambda c: f"{c.asked_as} in {c.of.checkpoint} {c.of.fingerprint[:8]}",
)


def rows(method: str, numbers: list[Scored]) -> dict[str, dict[str, Scored]]:
    """The rows of one method: label -> task -> number, from numbers that come best first.

    One judge per row; single-task judges of one base model share a row, unless two of them fill the same column. The
    label is the method's name in Table 2, and names the judge where there is more than one row.
    """
    single = method.endswith("_single")
    keys: list[Callable[[Scored], object]] = [lambda c: c.model, lambda c: (c.model, c.stem)] if single else []
    mine = [one for one in numbers if one.of.method == method]
    found: list[dict[str, list[Scored]]] = []
    for key in (*keys, lambda c: c.judge):
        found = _grouped(mine, key)
        if all(len({c.judge for c in same}) == 1 for row in found for same in row.values()):
            break
    firsts = [next(iter(row.values()))[0] for row in found]
    labels = [METHODS[method]] * len(found)
    names: tuple[Name, ...] = (lambda c: c.model, lambda c: c.stem, *NAMES) if single else NAMES
    for name in names if len(found) > 1 else ():
        labels = [f"{METHODS[method]}: {name(first)}" for first in firsts]
        if len(set(labels)) == len(labels):
            break
    return {label: {t: same[0] for t, same in row.items()} for label, row in zip(labels, found, strict=True)}


def _grouped(numbers: list[Scored], key: Callable[[Scored], object]) -> list[dict[str, list[Scored]]]:
    """Rows of numbers that have the same `key`, each by task."""
    found: dict[object, dict[str, list[Scored]]] = {}
    for one in numbers:
        found.setdefault(key(one), {}).setdefault(one.task, []).append(one)
    return list(found.values())


def sides(folders: tuple[Path, Path], chosen: list[str], data: Path) -> tuple[list[str], list[str]]:
    """(names, notes) for `mtrl compare`: which judge was asked in each folder, and what may be wrong with its numbers
    of the chosen tasks. A folder whose metrics.json cannot be read has its path as its name, and no notes.
    """
    names, notes = [], []
    for side, folder in zip("AB", folders, strict=True):
        try:
            one = scores.read(folder / scores.METRICS)
        except UserError:
            names.append(str(folder))
            continue
        step = "" if one.judge is None or one.judge.step is None else f" step {one.judge.step}"
        who = f"{one.judge.name}{step}, " if one.judge else ""
        names.append(f"{who}{METHODS[one.method]} ({folder})")
        for task in (task for task in chosen if task in one.tasks):
            notes += [f"{task}: {side} is {mark.reason}" for mark in marks.of(one, task, data)]
            if one.method.endswith("_single") and one.judge and task not in (one.judge.trained_on or [task]):
                notes.append(f"{task}: {side} was not trained on it")
            if one.tasks[task].one_class and side == "A":  # both have the same samples
                notes.append(f"{task}: every item has the label {one.tasks[task].one_class!r}; Macro-F1 says nothing")
    return names, notes
