"""What is shown of a matrix: every cell with its steps and hours, and the table itself with means and spreads over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Container
from typing import Any

from mtrl import tables
from mtrl.files import read_jsonl
from mtrl.matrix import Cell
from mtrl.recipe import METHODS

PUBLISHED_ANSWERS = 2560  # in one step of a model preset's rl_step_seconds
LEGEND = (
    "hours: wall clock so far. training left, in hours: plain by the run's own progress, ~ by finished cells of its stage, "
    "< by the published step time over all epochs (it stops earlier, at a plateau). Ours in the table: one checkpoint's value "
    "[95% interval], or mean ± sample standard deviation (number of seeds)."
)


def show(found: list[Cell], failures: Container[str]) -> tuple[list[str], list[list[str]]]:
    """(columns, rows) of the matrix as text. `failures` are this invocation's, by label."""
    rows = []
    for cell in found:
        steps = {step.name: step.shown or "-" for step in cell.steps()}
        state = "failed" if cell.label in failures and cell.state()[0] != "done" else cell.state()[0]
        left = to_go(cell, found)
        rows.append([
            cell.label, state, *(steps.get(name, "") for name in ("train", "select", "export", "eval")),
            f"{cell.hours():.2f}", f"{left[1]}{left[0]:,.2f}" if left and left[0] else "?" if left is None and cell.recipe.stage else "",
        ])  # fmt: skip
    return ["cell", "state", "train", "select", "export", "eval", "hours", "training left"], rows


def summary(number: int, found: list[Cell]) -> tuple[str, list[str], list[list[str]]]:
    """(title, columns, rows) of the table itself: per cent, mean and sample standard deviation over seeds, beside the paper's."""
    plan = tables.layout()
    about = plan[f"table{number}"]
    columns = about["columns"]
    rows = []
    for method, published in about["rows"].items():
        by_seed: dict[int | None, dict[str, Any]] = {}
        for cell in found:
            if cell.method == method and not cell.other_recipe():
                by_seed.setdefault(cell.seed, {}).update(cell.result())
        papers = [(published or {}).get(task) for task in columns]
        cells = []
        for task, paper in zip(columns, papers, strict=True):
            mine = [100 * result[task]["macro_f1"] for result in by_seed.values() if task in result]
            interval = next((r[task]["macro_f1_ci95"] for r in by_seed.values() if task in r), None)
            cells.append(_text(mine, paper, interval))
        if len(columns) > 1:
            whole = [r for r in by_seed.values() if all(task in r for task in columns)]
            means = [statistics.fmean(100 * r[task]["macro_f1"] for task in columns) for r in whole]
            known = [paper for paper in papers if paper is not None]
            cells.append(_text(means, statistics.fmean(known) if len(known) == len(columns) else None, None))
        rows.append([METHODS[method], *cells])
    title = about["title"] + (f" ({plan['note']})" if plan.get("note") else "")
    return title, ["method", *columns, *(["mean"] if len(columns) > 1 else [])], rows


def _text(mine: list[float], paper: float | None, interval: list[float] | None) -> str:
    """One number with its interval, or the mean of several with their spread and number; below it the paper's."""
    if not mine:
        first = "-"
    elif len(mine) > 1:
        first = f"{statistics.fmean(mine):.2f} ± {statistics.stdev(mine):.2f} ({len(mine)})"
    else:
        first = f"{mine[0]:.2f}" + (f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if interval else "")
    if paper is None:
        return first
    return f"{first}\npaper {paper:.2f}" + (f" ({statistics.fmean(mine) - paper:+.2f})" if mine else "")


def to_go(cell: Cell, found: list[Cell]) -> tuple[float, str] | None:
    """Hours of training left and how they are known; None where nothing tells.

    "" by its own progress, "~" by the finished cells of its stage, "<" by the published step time, scaled to this
    recipe's answers, over all epochs: training stops earlier, when validation does not get better.
    """
    if cell.recipe.stage is None or cell.steps()[0].done:
        return (0.0, "") if cell.recipe.stage else None
    rows = read_jsonl(cell.run.path / "metrics.jsonl")
    step, total = (rows[-1]["step"], rows[-1].get("total_steps")) if rows else (0, None)
    if step and total and (spent := cell.run.seconds()):
        return spent / step * (total - step) / 3600, ""
    same = [other for other in found if other.recipe.stage == cell.recipe.stage and other.steps()[0].done]
    rates = [other.run.seconds() / other.work() for other in same if other.work() and other.run.seconds()]
    if rates:
        return cell.work() * statistics.fmean(rates) / 3600, "~"
    rl, published = cell.recipe.rl, cell.recipe.model.rl_step_seconds
    if rl and published and cell.work() and cell.recipe.hardware.gpus_per_node:
        steps = cell.work() // rl.rollout_batch_size
        return steps * published * rl.rollout_batch_size * rl.n / PUBLISHED_ANSWERS / 3600, "<"
    return None
