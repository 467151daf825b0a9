"""Tables 1, 2 and 3: ours beside the paper's. The layout and the paper's numbers are data, in recipes/paper.yaml.

Ours are joined from every metrics.json below the runs folder by method and task, newest first. A cell without a run
keeps the command that would fill it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtrl import resources, tasks
from mtrl.errors import UserError
from mtrl.files import read_json, read_yaml
from mtrl.recipe import METHODS
from mtrl.tasks import SPLITS

COMMANDS = {
    "zero_shot": "mtrl eval --ckpt {model}",
    "sft_single": "mtrl sft recipes/sft_single.yaml --task {task}",
    "sft_unified": "mtrl sft recipes/sft_unified.yaml",
    "rl_single": "mtrl rl recipes/rl_single.yaml --task {task}",
    "rl_multitask": "mtrl rl recipes/rl_multitask.yaml",
}


@dataclass(frozen=True)
class Table:
    """Cells are text, ready to print; a cell may have two lines, ours and the paper's."""

    title: str
    note: str
    columns: list[str]
    rows: dict[str, list[str]]
    todo: list[str]
    passed_over: tuple[str, ...] = ()


def layout() -> dict[str, Any]:
    return read_yaml(resources.find("recipes", "paper.yaml", "table file"))


def table_tasks(number: int) -> list[str]:
    """The columns of a table."""
    return list(layout().get(f"table{number}", {}).get("columns", []))


def evaluations(runs: Path) -> list[tuple[Path, dict[str, Any]]]:
    """(file, metrics) of every evaluation below the runs folder, newest first."""
    everywhere = (
        file for file in runs.glob("**/metrics.json") if "select" not in file.parts
    )  # mtrl select's are of val
    files = sorted(everywhere, key=lambda file: file.stat().st_mtime, reverse=True)
    found = [(file, read_json(file)) for file in files]
    return [(file, data) for file, data in found if isinstance(data, dict) and "method" in data]


def is_cell(result: dict[str, Any], task: str) -> bool:
    """Whether a task's metrics may stand in a table: of the whole test split, one greedy answer an item."""
    return result["votes"] == 1 and result[task].get("split") == "test" and result[task].get("limit") is None


def results(number: int, runs: Path) -> Table:
    """Table 2 or 3. Raises UserError where the table file has none of that number."""
    plan = layout()
    if f"table{number}" not in plan or number == 1:
        raise UserError(f"recipes/paper.yaml has no table{number} of results", "mtrl tables 2")
    about = plan[f"table{number}"]
    columns = about["columns"]
    runs_found = evaluations(runs)
    rows: dict[str, list[str]] = {}
    todo: list[str] = []
    for method, published in about["rows"].items():
        ours: list[float | None] = []
        cells = []
        for task in columns:
            mine = next(
                (m[task] for _, m in runs_found if m["method"] == method and task in m and is_cell(m, task)), None
            )
            ours.append(100 * mine["macro_f1"] if mine else None)
            interval = [100 * bound for bound in mine["macro_f1_ci95"] or []] if mine else None
            cells.append(_cell(ours[-1], (published or {}).get(task), interval))
            if mine is None:
                command = COMMANDS[method].format(task=task, model="MODEL")
                todo.append(f"{command} {plan['presets']}" if "presets" in plan and method != "zero_shot" else command)
        papers = [(published or {}).get(task) for task in columns]
        rows[METHODS[method]] = [*cells, _cell(_mean(ours), _mean(papers))] if len(columns) > 1 else cells
    shown = [*columns, "mean"] if len(columns) > 1 else columns
    passed = [f"{file.parent}: {t}" for file, m in runs_found for t in columns if t in m and not is_cell(m, t)]
    over = tuple(f"{line} (part of a split, another split, or votes)" for line in passed)
    return Table(about["title"], plan.get("note", ""), shown, rows, list(dict.fromkeys(todo)), over)


def _mean(values: list[float | None]) -> float | None:
    """The unweighted mean, None where one is missing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _cell(ours: float | None, paper: float | None, interval: list[float] | None = None) -> str:
    """Per cent: ours with its 95% interval, and below it the paper's with the difference, starred outside the interval."""
    first = "-" if ours is None else f"{ours:.2f}" + (f" [{interval[0]:.1f}, {interval[1]:.1f}]" if interval else "")
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
    rows: dict[str, list[str]] = {}
    todo = [
        f"mtrl convert {name} --raw raw --out {data}" for name in columns if not (data / name / "card.json").exists()
    ]
    for split in SPLITS:
        cells = []
        for name in columns:
            cell, published = "-", about.get(split, {}).get(name)
            if (card := data / name / "card.json").exists():
                found, positive = read_json(card)["counts"][split], tasks.load(name).table1_positive or "yes"
                cell = f"{sum(found.values()):,}\n({found[positive]}/{sum(found.values()) - found[positive]})"
            cells.append(f"{cell}\npaper {sum(published):,}\n({published[0]}/{published[1]})" if published else cell)
        rows[split] = cells
    return Table("Table 1: rows (positive/negative)", layout().get("note", ""), columns, rows, todo)
