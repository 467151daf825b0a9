"""Tables 1, 2 and 3: ours next to the paper's. The layout and the paper's numbers are data, in recipes/paper.yaml.

Ours are joined from every metrics.json below the runs folder (mtrl.scored). A number that may not be of what is here now
carries a mark, which a line below the table explains. A cell without a run keeps the command that would fill it.
"""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtrl.config import datacard, recipe, samples, tasks
from mtrl.config.published import layout, table_tasks
from mtrl.config.recipe_types import METHODS
from mtrl.config.tasks import SPLITS
from mtrl.core import hints
from mtrl.core.errors import UserError
from mtrl.evaluate.metrics import task as metrics
from mtrl.paper import scored
from mtrl.paper.scored import Scored

__all__ = ["COMMANDS", "Marks", "Table", "counts", "layout", "own", "results", "table_tasks"]

COMMANDS = {
    "zero_shot": "mtrl eval --ckpt {model}",
    "sft_single": "mtrl sft recipes/sft_single.yaml --tasks {task}",
    "sft_unified": "mtrl sft recipes/sft_unified.yaml",
    "rl_single": "mtrl rl recipes/rl_single.yaml --tasks {task}",
    "rl_multitask": "mtrl rl recipes/rl_multitask.yaml",
}


LEGEND = (
    "Ours: value [95% bootstrap interval], per cent; an invalid answer counts as wrong. Mean: unweighted."
    " Majority class and always first: what a constant answer gets; pairs are shown in a seeded order."
)
STAR = " *: the paper's number lies outside the interval."


class Marks:
    """Footnotes of one table: the sign of each reason, and the line that explains it."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def sign(self, cell: Scored | None) -> str:
        """What stands behind a number: "" where it holds."""
        reasons = [f"{cell.of.file.parent}: {mark.reason}" for mark in cell.marks] if cell else []
        return "".join(f" †{self._numbers.setdefault(reason, len(self._numbers) + 1)}" for reason in reasons)

    @property
    def lines(self) -> list[str]:
        return [f"†{number} {reason}" for reason, number in self._numbers.items()]


@dataclass(frozen=True)
class Table:
    """Cells are text, ready to print; a cell may have several lines, ours and the paper's.

    `beside` holds what the paper leaves out: baselines, accuracy of pairs and invalid rates. `notes` say whose numbers
    these are, and explain the marks.
    """

    title: str
    note: str
    columns: list[str]
    rows: dict[str, list[str]]
    todo: list[str]
    passed_over: tuple[str, ...] = ()
    beside: dict[str, list[str]] = field(default_factory=dict)
    legend: str = ""
    notes: tuple[str, ...] = ()

    @property
    def heading(self) -> str:
        return self.title + (f" ({self.note})" if self.note else "")


def results(number: int, runs: Path, data: Path = Path("data")) -> Table:
    """Table 2 or 3. Raises UserError where the table file has none of that number."""
    plan = layout()
    if f"table{number}" not in plan or number == 1:
        raise UserError(f"recipes/paper.yaml has no table{number} of results", "mtrl tables 2")
    about = plan[f"table{number}"]
    columns = about["columns"]
    found, over = scored.everything(runs, data)
    cells = [cell for cell in found if cell.task in columns]
    passed_over = tuple(one.text for one in over if one.task in ("", *columns))
    marks, rows, ours, todo = Marks(), {}, {}, []
    for method, published in about["rows"].items():
        papers = published or {}
        todo += [_command(method, task, plan) for task in columns if not _has(cells, method, task)]
        for label, mine in (scored.rows(method, cells) or {METHODS[method]: {}}).items():
            ours[label] = {task: mine[task] for task in columns if task in mine}
            line = [_number(mine.get(task), papers.get(task), marks) for task in columns]
            if len(columns) > 1:
                mean = _mean([None if task not in mine else _macro_f1(mine[task]) for task in columns])
                sign = " †" if mean is not None and any(mine[task].marks for task in columns) else ""
                line.append(_cell(mean, _mean([papers.get(t) for t in columns]), sign=sign))
            rows[label] = line
    labels = {task: _labels(task, data, [cell for cell in cells if cell.task == task]) for task in columns}
    shown = [*columns, "mean"] if len(columns) > 1 else columns
    legend = LEGEND + (STAR if any(about["rows"].values()) else "")
    legend += f" {about['footnote']}" if about.get("footnote") else ""
    return Table(
        about["title"], plan.get("note", ""), shown, rows, list(dict.fromkeys(todo)), passed_over,
        _beside(columns, ours, labels, data), legend, (*_judges(ours), *marks.lines),
    )  # fmt: skip


def own(runs: Path, data: Path = Path("data")) -> Table | None:
    """The tasks that the paper does not have: one row per judge and task. None where none is scored."""
    papers = {*table_tasks(1), *table_tasks(2), *table_tasks(3)}
    found, over = scored.everything(runs, data)
    cells = [cell for cell in found if cell.task not in papers]
    passed_over = tuple(one.text for one in over if one.task and one.task not in papers)
    marks, rows = Marks(), {}
    for task in sorted({cell.task for cell in cells}):
        for method in METHODS:
            for mine in scored.rows(method, [cell for cell in cells if cell.task == task]).values():
                cell = mine[task]
                name = f"{cell.name} ({METHODS[method]}): {task}"
                if name in rows:
                    name = f"{cell.asked_as} ({METHODS[method]}): {task} in {cell.of.file.parent}"
                rest = (cell.numbers.accuracy, cell.numbers.invalid_rate)
                percent = ["-" if x is None else f"{100 * x:.2f}" for x in rest]
                n = "-" if cell.numbers.n is None else f"{cell.numbers.n:,}"
                rows[name] = [n, _number(cell, None, marks), *percent]
    if not rows and not passed_over:
        return None
    columns = ["n", "Macro-F1 [95%]", "accuracy", "invalid"]
    return Table("Your tasks, on the test split", "per cent", columns, rows, [], passed_over, notes=tuple(marks.lines))


def _command(method: str, task: str, plan: dict[str, Any]) -> str:
    """What fills a cell that has no run."""
    if method != "zero_shot":
        return f"{COMMANDS[method].format(task=task)} {plan.get('presets', '')}".rstrip()
    chosen = dict(zip(words[::2], words[1::2], strict=False)) if (words := plan.get("presets", "").split()) else {}
    model = recipe.load("zero_shot", chosen.get("--model"), chosen.get("--hardware")).model.path
    return COMMANDS[method].format(model=shlex.quote(model))


def _has(cells: list[Scored], method: str, task: str) -> bool:
    return any(cell.of.method == method and cell.task == task for cell in cells)


def _judges(ours: dict[str, dict[str, Scored]]) -> list[str]:
    """One line that names the judges of each row."""
    named = {label: list(dict.fromkeys(f"{c.name}{c.step}" for c in mine.values())) for label, mine in ours.items()}
    said = [f"{label} = {', '.join(names)}" for label, names in named.items() if names]
    return [f"Judges: {'; '.join(said)}"] if said else []


def _macro_f1(cell: Scored) -> float | None:
    """Per cent; None where only one class was asked: it says nothing then."""
    return None if cell.numbers.one_class else 100 * cell.numbers.macro_f1


def _number(cell: Scored | None, paper: float | None, marks: Marks) -> str:
    sign = marks.sign(cell)
    if cell is not None and cell.numbers.one_class:
        accuracy = cell.numbers.accuracy
        right = "" if accuracy is None else f", accuracy {100 * accuracy:.1f}"
        return f"one class ({cell.numbers.one_class}{right}){sign}" + ("" if paper is None else f"\npaper {paper:.2f}")
    interval = cell.numbers.macro_f1_ci95 if cell else None
    bounds = [100 * bound for bound in interval] if interval else None
    return _cell(_macro_f1(cell) if cell else None, paper, bounds, sign)


def _labels(task: str, data: Path, evaluated: list[Scored]) -> Counter[str]:
    """How often each verdict is right in the test split: of an evaluation that holds, else of the converted data."""
    holds = [cell for cell in evaluated if not cell.marks]
    card = data / task / "card.json"
    if holds or (evaluated and not card.exists()):
        confusion = (holds or evaluated)[0].numbers.confusion
        return Counter({label: sum(counts.values()) for label, counts in confusion.items()})
    return Counter(datacard.read(data, task).counts.get("test", {})) if card.exists() else Counter()


def _released(task: str, data: Path) -> Counter[str]:
    """How often each verdict would be right had the pairs kept the release's order; empty where that is not known."""
    if not samples.path_of(data, task, "test").exists():
        return Counter()
    pairs = [sample for sample in samples.read(data, task, "test") if sample.kind == "pairwise"]
    return Counter((p.swapped() if p.source.get("swapped") else p).answer for p in pairs)


def _beside(
    columns: list[str], ours: dict[str, dict[str, Scored]], labels: dict[str, Counter[str]], data: Path
) -> dict[str, list[str]]:
    """The lines that the paper leaves out: constant answers; accuracy of pairs, also in both orders; invalid rates."""
    released = {task: _released(task, data) for task in columns}
    lines: dict[str, list[str]] = {
        "majority class": [_constant(labels[task], "majority") for task in columns],
        "always first": [_constant(labels[task], "always_first") for task in columns],
        "always first, as released": [_constant(released[task], "always_first") for task in columns],
    }
    for name in ("accuracy", "right in both orders", "invalid"):
        for label, mine in ours.items():
            found = [_share(mine[task], name) if task in mine else None for task in columns]
            lines[f"{name}: {label}"] = [_cell(x, None) for x in found]
    blank = [""] if len(columns) > 1 else []
    return {name: [*cells, *blank] for name, cells in lines.items() if any(cell != "-" for cell in cells)}


def _share(cell: Scored, name: str) -> float | None:
    """Per cent; None for pairs' numbers of a task that has no pairs."""
    numbers = cell.numbers
    if name == "invalid":
        return 100 * numbers.invalid_rate
    pairs = "1" in numbers.confusion
    if name == "accuracy":
        return 100 * numbers.accuracy if pairs and numbers.accuracy is not None else None
    return 100 * numbers.pairwise.consistent_accuracy if numbers.pairwise else None


def _constant(labels: Counter[str], name: str) -> str:
    """Macro-F1 and accuracy of a constant answer, per cent; "-" where it makes no sense or no label is known."""
    choices = ("1", "2") if {"1", "2"} & set(labels) else ("yes", "no")
    found = metrics.baselines(labels, choices).get(name) if labels else None
    return f"{100 * found['macro_f1']:.2f} (accuracy {100 * found['accuracy']:.1f})" if found else "-"


def _mean(values: list[float | None]) -> float | None:
    """The unweighted mean, None where one is missing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _cell(ours: float | None, paper: float | None, interval: list[float] | None = None, sign: str = "") -> str:
    """Per cent: ours with its 95% interval, and below it the paper's with the difference, starred outside the interval."""
    first = "-" if ours is None else f"{ours:.2f}" + (f" [{interval[0]:.1f}, {interval[1]:.1f}]" if interval else "")
    first += sign
    if paper is None:
        return first
    second = f"paper {paper:.2f}"
    if ours is not None:
        outside = interval is not None and not interval[0] <= paper <= interval[1]
        second += f" ({ours - paper:+.2f}){'*' if outside else ''}"
    return f"{first}\n{second}"


def counts(data: Path) -> Table:
    """Table 1: rows (positive/negative) a split, from the cards of what is converted. Raises UserError."""
    about = layout().get("table1")
    if about is None:
        raise UserError("recipes/paper.yaml has no table1 here", "mtrl tables 2")
    columns = about["columns"]
    known = {task.name: task for task in tasks.load_all()}
    rows: dict[str, list[str]] = {}
    todo = [
        hints.line("convert", name, raw="raw", out=data) for name in columns if not (data / name / "card.json").exists()
    ]
    for split in SPLITS:
        cells = []
        for name in columns:
            cell, published = "-", about.get(split, {}).get(name)
            if (data / name / "card.json").exists() and name not in known:
                cell = "task YAML is broken"
            elif (data / name / "card.json").exists():
                found, positive = (
                    Counter(datacard.read(data, name).counts.get(split, {})),
                    known[name].table1_positive or "yes",
                )
                cell = f"{sum(found.values()):,}\n({found[positive]}/{sum(found.values()) - found[positive]})"
            cells.append(f"{cell}\npaper {sum(published):,}\n({published[0]}/{published[1]})" if published else cell)
        rows[split] = cells
    return Table("Table 1: rows (positive/negative)", layout().get("note", ""), columns, rows, todo)
