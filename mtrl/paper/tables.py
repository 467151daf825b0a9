"""`mtrl tables`: Tables 1, 2 and 3 next to the paper's, and the tasks that the paper does not have."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mtrl.config import datacard, tasks
from mtrl.config.published import layout, table_tasks, titled
from mtrl.config.recipe_types import METHODS
from mtrl.config.tasks import SPLITS
from mtrl.core import hints
from mtrl.core.errors import UserError
from mtrl.paper import results, scored
from mtrl.paper.results import Row
from mtrl.paper.shown import Count, Table


def found(number: int | None, runs: Path, data: Path) -> list[Table]:
    """The table of this number; by default all that the table file has, then the user's own tasks. Raises UserError."""
    if number:
        return [counts(data) if number == 1 else results.of_runs(number, runs, data)]
    numbers = [n for n in (1, 2, 3) if f"table{n}" in layout()]
    mine = own(runs, data)
    return [*(table for n in numbers for table in found(n, runs, data)), *([mine] if mine else [])]


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


def own(runs: Path, data: Path = Path("data")) -> Table | None:
    """The tasks that the paper does not have: one row per judge and task. None where none is scored."""
    from pandas import DataFrame

    papers = {*table_tasks(1), *table_tasks(2), *table_tasks(3)}
    everything, over = scored.everything(runs, data)
    mine = [one for one in everything if one.task not in papers]
    passed_over = tuple(one.text for one in over if one.task and one.task not in papers)
    rows: dict[str, Row] = {}
    for task in sorted({one.task for one in mine}):
        for method in METHODS:
            for judge in scored.rows(method, [one for one in mine if one.task == task]).values():
                one = judge[task]
                name = f"{one.name} ({METHODS[method]}): {task}"
                if name in rows:
                    name = f"{one.asked_as} ({METHODS[method]}): {task} in {one.of.file.parent}"
                rows[name] = Row(name, method, [judge])
    if not rows and not passed_over:
        return None
    footnotes: dict[str, int] = {}
    records = results.records(list(rows.values()), sorted({one.task for one in mine}), footnotes)
    cells = {}
    for name in rows:
        of = records[(records["row"] == name) & (records["task"] != results.MEAN)]
        shares = (results.share(of, key) for key in ("accuracy", "invalid"))
        cells[name] = [f"{of['n'].iloc[0]:,}", results.macro_f1(of), *shares]
    columns = ["n", "Macro-F1 [95%]", "accuracy", "invalid"]
    frame = DataFrame.from_dict(cells, orient="index", columns=columns, dtype=object)
    title = "Your tasks, on the test split (per cent)"
    return Table(title, "judge: task", frame, notes=results.explained(footnotes), passed_over=passed_over)
