"""What `mtrl reproduce` prints: every cell with its steps and hours, the data, and the table with means over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Container
from pathlib import Path

from mtrl.config import datacard
from mtrl.config.published import table_methods
from mtrl.config.recipe_types import METHODS
from mtrl.config.tasks import SPLITS
from mtrl.paper import beyond, results
from mtrl.paper.cell import Cell
from mtrl.paper.results import Row
from mtrl.paper.scored import Scored
from mtrl.paper.shown import Table
from mtrl.preflight import times

LEGEND = (
    "hours: wall clock so far. training left, in hours: by the run's own progress; ~ by finished cells of its stage;"
    " < by mtrl plan's estimate over all epochs (training ends earlier, at a plateau)."
)
STEPS = ("train", "select", "export", "eval")


def matrix(title: str, found: list[Cell], failures: Container[str]) -> Table:
    """One row per cell, as text. `failures` are the labels of the cells that failed in this invocation."""
    from pandas import DataFrame

    pace = _pace(found)
    rows = []
    for cell in found:
        state = cell.state()[0]
        if cell.label in failures and state != "done":
            state = "failed"
        steps: dict[str, str] = {step.name: step.shown or "-" for step in cell.steps()}
        shown = [steps.get(name, "") for name in STEPS]
        rows.append([state, *shown, f"{cell.hours():.2f}", _training_left(cell, pace)])
    columns = ["state", *STEPS, "hours", "training left"]
    return Table(title, "cell", DataFrame(rows, [cell.label for cell in found], columns))


def data(tasks: list[str], folder: Path) -> Table:
    """One row per task: whether it is converted, and its rows by split, as text."""
    from pandas import DataFrame

    rows = []
    for task in tasks:
        counts = datacard.read(folder, task).counts if datacard.path_of(folder, task).exists() else {}
        numbers = [f"{sum(counts.get(split, {}).values()):,}" if counts else "" for split in SPLITS]
        rows.append(["converted" if counts else "missing", *numbers])
    return Table(f"data in {folder}", "task", DataFrame(rows, tasks, ["", *SPLITS]))


def totals(chosen: list[Cell], found: list[Cell]) -> str:
    """One line about the chosen cells: cells, commands and hours of training that are left."""
    pace = _pace(found)
    left = [cell for cell in chosen if cell.left()]
    commands = sum(len(cell.left()) for cell in left)
    hours = [_training_left(cell, pace) for cell in left]
    known = sum(float(text.strip("~<").replace(",", "")) for text in hours if text not in ("", "?"))
    unknown = f", and {hours.count('?')} trainings of unknown length" if "?" in hours else ""
    done = len(chosen) - len(left)
    return (
        f"{len(chosen)} cells: {done} done, {len(left)} left ({commands} commands; training left: {known:,.1f} hours"
        f"{unknown})"
    )


def _pace(found: list[Cell]) -> dict[str | None, float]:
    """Seconds of training per unit of work, by stage, from the cells that are trained."""
    seen: dict[str | None, list[float]] = {}
    for cell in found:
        if cell.steps()[0].done and (seconds := cell.run.seconds()) and (work := cell.work()):
            seen.setdefault(cell.recipe.stage, []).append(seconds / work)
    return {stage: statistics.fmean(rates) for stage, rates in seen.items()}


def _training_left(cell: Cell, pace: dict[str | None, float]) -> str:
    """Hours of training left, with the sign that LEGEND explains; "?" where there is no estimate."""
    if cell.recipe.stage is None or cell.steps()[0].done:
        return ""
    rows = cell.run.metrics
    step, total = (rows[-1]["step"], rows[-1].get("total_steps")) if rows else (0, None)
    if step and total and (spent := cell.run.seconds()):
        return f"{spent / step * (total - step) / 3600:,.2f}"
    work = cell.work()
    if work and cell.recipe.stage in pace:
        return f"~{work * pace[cell.recipe.stage] / 3600:,.2f}"
    if work and (estimate := times.of(cell.recipe, cell.place.data)):
        return f"<{estimate.most:,.0f}"
    return "?"


def summary(number: int, found: list[Cell], data: Path) -> Table:
    """The table itself, over the seeds. A run of another recipe in a cell's folder is left out."""
    rows = []
    for method in table_methods(number):
        by_seed: dict[int | None, dict[str, Scored]] = {}
        for cell in found:
            if cell.method == method and not cell.other_recipe():
                by_seed.setdefault(cell.seed, {}).update(cell.result())
        rows.append(Row(METHODS[method], method, list(by_seed.values())))
    return beyond.build(rows) if number == 4 else results.build(number, rows, data)
