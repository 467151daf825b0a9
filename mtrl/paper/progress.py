"""What is shown of a matrix: every cell with its steps and hours, and the table itself with means and spreads over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

from mtrl.config import datacard
from mtrl.config.recipe_types import METHODS
from mtrl.config.tasks import SPLITS
from mtrl.paper import tables
from mtrl.paper.matrix import Cell
from mtrl.paper.scored import Scored
from mtrl.preflight.amounts import ANSWERS

LEGEND = (
    "hours: wall clock so far. training left, in hours: plain by the run's own progress, ~ by finished cells of its stage, "
    "< by the published step time over all epochs (it stops earlier, at a plateau). Ours in the table: one checkpoint's value "
    "[95% interval], or mean ± sample standard deviation (number of seeds)."
)


def show(found: list[Cell], failures: Container[str]) -> tuple[list[str], list[list[str]]]:
    """(columns, rows) of the matrix as text. `failures` are the labels of the cells that this invocation saw fail."""
    pace = _pace(found)
    rows = []
    for cell in found:
        state = cell.state()[0]
        if cell.label in failures and state != "done":
            state = "failed"
        steps = {step.name: step.shown or "-" for step in cell.steps()}
        shown = [steps.get(name, "") for name in ("train", "select", "export", "eval")]
        rows.append([cell.label, state, *shown, f"{cell.hours():.2f}", _training_left(cell, pace)])
    return ["cell", "state", "train", "select", "export", "eval", "hours", "training left"], rows


def _pace(found: list[Cell]) -> dict[str | None, float]:
    """Seconds of training per unit of work, by stage, from the cells that are trained."""
    seen: dict[str | None, list[float]] = {}
    for cell in found:
        if cell.steps()[0].done and (seconds := cell.run.seconds()) and (work := cell.work()):
            seen.setdefault(cell.recipe.stage, []).append(seconds / work)
    return {stage: statistics.fmean(rates) for stage, rates in seen.items()}


def totals(chosen: list[Cell], found: list[Cell]) -> str:
    """One line: cells, commands left and hours of training left, of the chosen cells."""
    pace = _pace(found)
    left = [cell for cell in chosen if not all(step.done for step in cell.steps())]
    commands = sum(not step.done for cell in left for step in cell.steps())
    hours = [_training_left(cell, pace) for cell in left]
    known = sum(float(text.strip("~<").replace(",", "")) for text in hours if text not in ("", "?"))
    unknown = f", and {hours.count('?')} trainings of unknown length" if "?" in hours else ""
    return (
        f"{len(chosen)} cells: {len(chosen) - len(left)} done, {len(left)} left ({commands} commands; training left:"
        f" {known:,.1f} hours{unknown})"
    )


def data(tasks: list[str], folder: Path) -> tuple[str, list[str], list[list[str]]]:
    """(title, columns, rows): which of the tasks are converted, and how many rows they have."""
    rows = []
    for task in tasks:
        counts = datacard.read(folder, task).counts if (folder / task / "card.json").exists() else {}
        numbers = [f"{sum(counts.get(split, {}).values()):,}" if counts else "" for split in SPLITS]
        rows.append([task, "converted" if counts else "missing", *numbers])
    return f"data in {folder}", ["task", "", *SPLITS], rows


def _training_left(cell: Cell, pace: dict[str | None, float]) -> str:
    """Hours of training left, with the mark that LEGEND explains; "?" where nothing tells."""
    if cell.recipe.stage is None or cell.steps()[0].done:
        return ""
    rows = cell.run.metrics
    step, total = (rows[-1]["step"], rows[-1].get("total_steps")) if rows else (0, None)
    if step and total and (spent := cell.run.seconds()):
        return f"{spent / step * (total - step) / 3600:,.2f}"
    work, rl, published = cell.work(), cell.recipe.rl, cell.recipe.model.rl_step_seconds
    if work and cell.recipe.stage in pace:
        return f"~{work * pace[cell.recipe.stage] / 3600:,.2f}"
    if work and rl and published and cell.recipe.hardware.gpus_per_node:
        steps = cell.rows() // rl.rollout_batch_size * rl.epochs  # what is over after the last whole batch is dropped
        step = (
            published * rl.rollout_batch_size * rl.n / ANSWERS * 8 / cell.recipe.hardware.world_size
        )  # as in mtrl plan
        return f"<{steps * step / 3600:,.0f}"
    return "?"


class Summary(NamedTuple):
    """The table itself as text; `notes` explain the marks."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str]


def summary(number: int, found: list[Cell]) -> Summary:
    """Per cent, mean and sample standard deviation over seeds, next to the paper's; of pairs also accuracy."""
    plan = tables.layout()
    about = plan[f"table{number}"]
    columns, marks = about["columns"], tables.Marks()
    rows = []
    for method, published in about["rows"].items():
        by_seed: dict[int | None, dict[str, Scored]] = {}
        for cell in found:
            if cell.method == method and not cell.other_recipe():
                by_seed.setdefault(cell.seed, {}).update(cell.result())
        papers = [(published or {}).get(task) for task in columns]
        cells = []
        for task, paper in zip(columns, papers, strict=True):
            cells.append(_text([result[task] for result in by_seed.values() if task in result], paper, marks))
        if len(columns) > 1:
            whole = [[r[task] for task in columns] for r in by_seed.values() if all(task in r for task in columns)]
            known = [paper for paper in papers if paper is not None]
            cells.append(_mean_text(whole, statistics.fmean(known) if len(known) == len(columns) else None))
        rows.append([METHODS[method], *cells])
    title = about["title"] + (f" ({plan['note']})" if plan.get("note") else "")
    return Summary(title, ["method", *columns, *(["mean"] if len(columns) > 1 else [])], rows, marks.lines)


def _text(mine: list[Scored], paper: float | None, marks: tables.Marks) -> str:
    """One number with its interval, or the mean of several with their spread and number; below it the paper's."""
    signs = "".join(dict.fromkeys(marks.sign(one) for one in mine))
    if one_class := next((one.numbers.one_class for one in mine if one.numbers.one_class), None):
        return f"one class ({one_class}){signs}"
    text = _spread([100 * one.numbers.macro_f1 for one in mine])
    if len(mine) == 1 and (interval := mine[0].numbers.macro_f1_ci95):
        text += f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
    text += signs
    if mine and "1" in mine[0].numbers.confusion and all(one.numbers.accuracy is not None for one in mine):
        text += f"\naccuracy {_spread([100 * (one.numbers.accuracy or 0) for one in mine])}"
    return _beside(text, [100 * one.numbers.macro_f1 for one in mine], paper)


def _mean_text(whole: list[list[Scored]], paper: float | None) -> str:
    """The mean over the columns, of each seed that has them all."""
    if any(one.numbers.one_class for result in whole for one in result):
        return "-"
    means = [statistics.fmean(100 * one.numbers.macro_f1 for one in result) for result in whole]
    marked = " †" if any(one.marks for result in whole for one in result) else ""
    return _beside(_spread(means) + marked, means, paper)


def _spread(values: list[float]) -> str:
    if len(values) > 1:
        return f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f} ({len(values)})"
    return f"{values[0]:.2f}" if values else "-"


def _beside(text: str, mine: list[float], paper: float | None) -> str:
    if paper is None:
        return text
    return f"{text}\npaper {paper:.2f}" + (f" ({statistics.fmean(mine) - paper:+.2f})" if mine else "")
