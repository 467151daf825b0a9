"""Tables 1, 2 and 3: ours beside the paper's. The layout and the paper's numbers are data, in recipes/paper.yaml.

Ours are joined from every metrics.json below the runs folder by method and task, newest first. A cell without a run
keeps the command that would fill it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtrl import resources, samples, tasks
from mtrl.errors import UserError
from mtrl.evaluate import metrics
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


LEGEND = (
    "Ours: value [95% bootstrap interval], per cent; an invalid answer counts as wrong. Mean: unweighted."
    " Majority class and always first: what a constant answer gets; pairs are shown in a seeded order."
)
STAR = " *: the paper's number lies outside the interval."
NEEDED = ("macro_f1", "macro_f1_ci95", "invalid_rate", "confusion")


@dataclass(frozen=True)
class Table:
    """Cells are text, ready to print; a cell may have several lines, ours and the paper's.

    `beside` holds what the paper leaves out: baselines and invalid rates.
    """

    title: str
    note: str
    columns: list[str]
    rows: dict[str, list[str]]
    todo: list[str]
    passed_over: tuple[str, ...] = ()
    beside: dict[str, list[str]] = field(default_factory=dict)
    legend: str = ""

    @property
    def heading(self) -> str:
        return self.title + (f" ({self.note})" if self.note else "")


def layout() -> dict[str, Any]:
    return read_yaml(resources.find("recipes", "paper.yaml", "table file"))


def table_tasks(number: int) -> list[str]:
    """The columns of a table."""
    return list(layout().get(f"table{number}", {}).get("columns", []))


def evaluations(runs: Path) -> tuple[list[tuple[Path, dict[str, Any]]], list[str]]:
    """(file, metrics) of every evaluation below the runs folder, newest first; and what is none, with the reason."""
    everywhere = [
        file for file in runs.glob("**/metrics.json") if "select" not in file.parts
    ]  # mtrl select's are of val
    found, strange = [], []
    for file in sorted(everywhere, key=lambda file: file.stat().st_mtime, reverse=True):
        try:
            data = read_json(file)
        except UserError as error:
            strange.append(str(error))
            continue
        schema = data.get("schema", 1) if isinstance(data, dict) else None
        if schema != metrics.SCHEMA or not {"method", "votes"} <= set(data):
            kind = "no metrics of mtrl" if schema == metrics.SCHEMA or schema is None else f"of schema {schema}"
            strange.append(f"{file}: {kind}; this mtrl reads schema {metrics.SCHEMA} (mtrl score {file.parent})")
        else:
            found.append((file, data))
    return found, strange


def why_no_cell(result: dict[str, Any], task: str) -> str:
    """Why a task's metrics may not stand in a table, "" where they may: the whole test split, one greedy answer an item."""
    about = result[task]
    if not isinstance(about, dict) or not set(NEEDED) <= set(about):
        return f"not all of {', '.join(NEEDED)} is there (mtrl score)"
    whole = result["votes"] == 1 and about.get("split") == "test" and about.get("limit") is None
    return "" if whole else "part of a split, another split, or votes"


def results(number: int, runs: Path, data: Path = Path("data")) -> Table:
    """Table 2 or 3. Raises UserError where the table file has none of that number."""
    plan = layout()
    if f"table{number}" not in plan or number == 1:
        raise UserError(f"recipes/paper.yaml has no table{number} of results", "mtrl tables 2")
    about = plan[f"table{number}"]
    columns = about["columns"]
    found, over = evaluations(runs)
    cells = [(m["method"], t, m[t]) for _, m in found for t in columns if t in m and not why_no_cell(m, t)]
    ours = {method: {t: m for by, t, m in reversed(cells) if by == method} for method in about["rows"]}  # newest wins
    for file, m in found:
        over += [f"{file.parent}: {t} ({why})" for t in columns if t in m and (why := why_no_cell(m, t))]
    rows: dict[str, list[str]] = {}
    todo: list[str] = []
    for method, published in about["rows"].items():
        mine, papers = ours[method], published or {}
        line = []
        for task in columns:
            value, interval = _percent(mine.get(task))
            line.append(_cell(value, papers.get(task), interval))
            if task not in mine:
                command = COMMANDS[method].format(task=task, model="MODEL")
                todo.append(f"{command} {plan['presets']}" if "presets" in plan and method != "zero_shot" else command)
        means = (_mean([_percent(mine.get(task))[0] for task in columns]), _mean([papers.get(t) for t in columns]))
        rows[METHODS[method]] = [*line, _cell(*means)] if len(columns) > 1 else line
    labels = {task: _labels(task, data, [m for _, t, m in cells if t == task]) for task in columns}
    shown = [*columns, "mean"] if len(columns) > 1 else columns
    beside = _beside(columns, ours, labels, data)
    legend = LEGEND + (STAR if any(about["rows"].values()) else "")
    commands = list(dict.fromkeys(todo))
    return Table(about["title"], plan.get("note", ""), shown, rows, commands, tuple(over), beside, legend)


def _percent(about: dict[str, Any] | None) -> tuple[float | None, list[float] | None]:
    """Macro-F1 and its interval, per cent."""
    if about is None:
        return None, None
    interval = about["macro_f1_ci95"]
    return 100 * about["macro_f1"], [100 * bound for bound in interval] if interval else None


def _labels(task: str, data: Path, evaluated: list[dict[str, Any]]) -> Counter[str]:
    """How often each verdict is right in the test split: of an evaluation, else of the converted data."""
    if evaluated:
        return Counter({label: sum(counts.values()) for label, counts in evaluated[0]["confusion"].items()})
    card = data / task / "card.json"
    return Counter(read_json(card)["counts"]["test"]) if card.exists() else Counter()


def _released(task: str, data: Path) -> Counter[str]:
    """How often each verdict would be right had the pairs kept the release's order; empty where that is not known."""
    if not samples.path_of(data, task, "test").exists():
        return Counter()
    pairs = [sample for sample in samples.read(data, task, "test") if sample.kind == "pairwise"]
    return Counter((p.turned() if p.source.get("swapped") else p).answer for p in pairs)


def _beside(
    columns: list[str], ours: dict[str, dict[str, dict[str, Any]]], labels: dict[str, Counter[str]], data: Path
) -> dict[str, list[str]]:
    """The lines that the paper leaves out: constant answers, pairs right in both orders, and invalid rates."""
    released = {task: _released(task, data) for task in columns}
    lines: dict[str, list[str]] = {
        "majority class": [_constant(labels[task], "majority") for task in columns],
        "always first": [_constant(labels[task], "always_first") for task in columns],
        "always first, as released": [_constant(released[task], "always_first") for task in columns],
    }
    for name in ("right in both orders", "invalid"):
        for method, mine in ours.items():
            found = [_share(mine[task], name) if task in mine else None for task in columns]
            lines[f"{name}: {METHODS[method]}"] = [_cell(x, None) for x in found]
    blank = [""] if len(columns) > 1 else []
    return {name: [*cells, *blank] for name, cells in lines.items() if any(cell != "-" for cell in cells)}


def _share(about: dict[str, Any], name: str) -> float | None:
    """Per cent; None for pairs' numbers of a task that has no pairs."""
    if name == "invalid":
        return 100 * float(about["invalid_rate"])
    return 100 * float(about["pairwise"]["consistent_accuracy"]) if "pairwise" in about else None


def _constant(labels: Counter[str], name: str) -> str:
    """Macro-F1 and accuracy of a constant answer, per cent; "-" where it makes no sense or no label is known."""
    choices = ("1", "2") if {"1", "2"} & set(labels) else ("yes", "no")
    found = metrics.baselines(labels, choices).get(name) if labels else None
    return f"{100 * found['macro_f1']:.2f} (accuracy {100 * found['accuracy']:.1f})" if found else "-"


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
    known = {task.name: task for task in tasks.load_all()}
    rows: dict[str, list[str]] = {}
    todo = [
        f"mtrl convert {name} --raw raw --out {data}" for name in columns if not (data / name / "card.json").exists()
    ]
    for split in SPLITS:
        cells = []
        for name in columns:
            cell, published = "-", about.get(split, {}).get(name)
            if (data / name / "card.json").exists() and name not in known:
                cell = "task YAML is broken"
            elif (card := data / name / "card.json").exists():
                found, positive = read_json(card)["counts"][split], known[name].table1_positive or "yes"
                cell = f"{sum(found.values()):,}\n({found[positive]}/{sum(found.values()) - found[positive]})"
            cells.append(f"{cell}\npaper {sum(published):,}\n({published[0]}/{published[1]})" if published else cell)
        rows[split] = cells
    return Table("Table 1: rows (positive/negative)", layout().get("note", ""), columns, rows, todo)
