"""`mtrl tables`: Tables 1, 2 and 3 next to the paper's, Table 4, and every evaluation by run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mtrl.config import datacard, tasks
from mtrl.config.published import layout, titled
from mtrl.config.recipe_types import METHODS
from mtrl.config.tasks import SPLITS
from mtrl.core import hints
from mtrl.core.errors import UserError
from mtrl.paper import beyond, results, scored
from mtrl.paper.results import Row
from mtrl.paper.scored import Scored
from mtrl.paper.shown import Count, Table

SRCC = "SRCC [95%], valid answers"


def found(number: int | None, runs: Path, data: Path) -> list[Table]:
    """The table of this number. By default all that the table file has, Table 4 if a judge is in it, then every
    evaluation. Raises UserError."""
    if number == 4:
        return [beyond.of_runs(runs, data)]
    if number:
        return [counts(data) if number == 1 else results.of_runs(number, runs, data)]
    numbers = [n for n in (1, 2, 3) if f"table{n}" in layout()]
    fourth, every = beyond.of_runs(runs, data), by_run(runs, data)
    shown = [*(table for n in numbers for table in found(n, runs, data)), *([every] if every else [])]
    return [*shown[: len(numbers)], fourth, *shown[len(numbers) :]] if len(fourth.rows.columns) > 1 else shown


def counts(data: Path) -> Table:
    """Table 1: the rows of each split by label, from the cards of what is converted. Raises UserError."""
    from pandas import DataFrame

    about = layout().get("table1")
    if about is None:
        raise UserError("recipes/paper.yaml has no table1 here", "mtrl tables 2")
    columns = about["columns"]
    known = {task.name: task.table1_positive or "yes" for task in tasks.load_all()}
    missing = [name for name in columns if not datacard.path_of(data, name).exists()]

    def count(name: str, split: str) -> Count:
        paper, ours = about.get(split, {}).get(name), None
        if name not in missing and name in known:
            labels = Counter(datacard.read(data, name).counts.get(split, {}))
            ours = (labels[known[name]], labels.total() - labels[known[name]])
        broken = name not in missing and name not in known
        return Count(ours, tuple(paper) if paper else None, "task YAML is broken" if broken else "-")

    cells = [[count(name, split) for name in columns] for split in SPLITS]
    todo = tuple(hints.line("convert", name, raw="raw", out=data) for name in missing)
    rows = DataFrame(cells, list(SPLITS), columns, dtype=object)
    return Table(titled("Table 1: rows (positive/negative)"), "split", rows, todo=todo, number=1)


def by_run(runs: Path, data: Path = Path("data")) -> Table | None:
    """Every evaluation below `runs`, also of a part of a split: one row per judge and task. None if there is none."""
    from pandas import DataFrame

    evaluations, unreadable = scored.evaluations(runs)
    broken = [f"{one.file.parent}: {task} ({why})" for one in evaluations for task, why in one.broken.items()]
    found = [scored.of(one, task, data) for one in evaluations for task in one.tasks]
    order = list(METHODS)
    rows: dict[str, Row] = {}
    for one in sorted(found, key=lambda one: (one.task, order.index(one.of.method), one.name, -one.answered)):
        name = f"{one.name} ({METHODS[one.of.method]}): {one.task}"
        if name in rows:
            name = f"{one.asked_as} ({METHODS[one.of.method]}): {one.task} in {one.of.file.parent}"
        rows[name] = Row(name, one.of.method, [{one.task: one}])
    if not rows and not broken and not unreadable:
        return None
    footnotes: dict[str, int] = {}
    records = results.records(list(rows.values()), sorted({one.task for one in found}), footnotes)
    cells = {}
    for name, row in rows.items():
        of = records[(records["row"] == name) & (records["task"] != results.MEAN)]
        shares = (results.share(of, key) for key in ("accuracy", "invalid"))
        (one,) = row.judges[0].values()
        f1 = "-" if one.numbers.score else results.macro_f1(of)  # classes that have an order need another number
        cells[name] = [_part(one), f"{one.numbers.n:,}", f1, _srcc(one), *shares]
    columns = ["of", "n", "Macro-F1 [95%]", SRCC, "accuracy", "invalid"]
    frame = DataFrame.from_dict(cells, orient="index", columns=columns, dtype=object)
    if all(one.numbers.score is None for one in found):
        frame = frame.drop(columns=SRCC)
    title = "Every evaluation, by run (per cent)"
    return Table(title, "judge: task", frame, notes=results.explained(footnotes), passed_over=(*broken, *unreadable))


def _srcc(one: Scored) -> str:
    """Of a score task: of the valid answers, and at worst."""
    if (score := one.numbers.score) is None:
        return "-"
    values = [score.srcc.value, *(score.srcc.ci95 or []), score.srcc.worst]
    value, *interval, worst = ("-" if number is None else f"{number:.3f}" for number in values)
    between = f" [{', '.join(interval)}]" if interval else ""
    return f"{value}{between}, at worst {worst}"


def _part(one: Scored) -> str:
    """The split; and what else keeps a number out of Tables 2 and 3."""
    limit = "" if one.numbers.limit is None else f", --limit {one.numbers.limit}"
    votes = f", {one.of.votes} votes" if one.of.votes > 1 else ""
    return f"{one.numbers.split}{limit}{votes}" + (f", {results.FROM_SCORES}" if one.from_scores else "")
