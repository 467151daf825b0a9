"""Tables 2 and 3, with and without seeds: our numbers next to the paper's.

    rows of judges -> one record per judge and task -> statistics over the seeds -> Table

recipes/paper.yaml has the layout and the paper's numbers. A number that may not be of what is here now has a mark,
which a note explains (marks.py). For a cell without a judge the table has the command that would fill it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtrl.config import recipe
from mtrl.config.kinds import is_pair
from mtrl.config.published import layout, titled
from mtrl.config.recipe_types import METHODS
from mtrl.core.errors import UserError
from mtrl.paper import constant, scored
from mtrl.paper.scored import Scored
from mtrl.paper.shown import Number, Table

if TYPE_CHECKING:
    from pandas import DataFrame

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
SEEDS = " Of several seeds: mean ± sample standard deviation (number of seeds)."
STAR = " *: the paper's number is outside the interval."
MEAN = "mean"
FROM_SCORES = "from single answers"
SINGLE = (
    f" Rows {FROM_SCORES}: a pointwise task is asked about each image, and the two confidences are compared"
    " (mtrl eval --pairs-from-scores); not the paper's protocol, so next to no number of the paper."
)
SHARES = {"accuracy": "pair_accuracy", "right in both orders": "both_orders", "invalid": "invalid"}  # below the rows
TYPES = {  # of a record: one judge's numbers of one task
    **dict.fromkeys(("row", "task", "one_class", "marks"), "object"),
    **dict.fromkeys(("seed", "n"), "int"),
    **dict.fromkeys(("macro_f1", "low", "high", "accuracy", "pair_accuracy", "both_orders", "invalid"), "float"),
}


@dataclass(frozen=True)
class Row:
    """A row of Table 2 or 3: the numbers of its judges by task, one dict per seed."""

    label: str
    method: str
    judges: list[dict[str, Scored]]
    from_scores: bool = False
    """Pairs decided from single answers: another protocol than the paper's."""


def of_runs(number: int, runs: Path, data: Path = Path("data")) -> Table:
    """Table 2 or 3 from every evaluation below `runs`. Raises UserError where the table file has no such table."""
    plan = layout()
    if f"table{number}" not in plan or number == 1:
        raise UserError(f"recipes/paper.yaml has no table{number} of results", "mtrl tables 2")
    columns = plan[f"table{number}"]["columns"]
    found, over = scored.everything(runs, data)
    mine = [one for one in found if one.task in columns]
    rows: list[Row] = []
    todo: list[str] = []
    methods = plan[f"table{number}"]["rows"]
    outside = [one for one in mine if one.of.method not in methods]
    for method in methods:
        asked, single = ([one for one in mine if one.from_scores is kind] for kind in (False, True))
        filled = {one.task for one in asked if one.of.method == method}
        todo += [_command(method, task, plan) for task in columns if task not in filled]
        named = scored.rows(method, asked) or {METHODS[method]: {}}
        rows += [Row(label, method, [judges]) for label, judges in named.items()]
        named = scored.rows(method, single)
        rows += [Row(f"{label}, {FROM_SCORES}", method, [judges], True) for label, judges in named.items()]
    table = build(number, rows, data)
    return replace(
        table,
        notes=(*judges(rows, columns), *table.notes),
        todo=tuple(dict.fromkeys(todo)),
        passed_over=(
            *(one.text for one in over if one.task in ("", *columns)),
            *(
                f"{one.of.file.parent}: {one.task} (Table {number} has no row {METHODS[one.of.method]})"
                for one in outside
            ),
        ),
    )


def build(number: int, rows: list[Row], data: Path) -> Table:
    """The table of these rows. The mean over the columns is of the seeds that have them all."""
    from pandas import DataFrame

    about = layout()[f"table{number}"]
    columns, published = about["columns"], about["rows"]
    shown = [*columns, MEAN] if len(columns) > 1 else columns
    frame = DataFrame([numbers or {} for numbers in published.values()], list(published), columns, dtype=float)
    frame[MEAN] = frame.mean(axis=1, skipna=False)
    paper = frame.to_dict("index")
    footnotes: dict[str, int] = {}
    found = records(rows, columns, footnotes)
    none = found.iloc[:0]
    of = {str(row): dict(list(group.groupby("task"))) for row, group in found.groupby("row")}
    by_row = [(row, of.get(row.label, {})) for row in rows]
    cells = [
        [macro_f1(by.get(task, none), nan if row.from_scores else paper[row.method][task]) for task in shown]
        for row, by in by_row
    ]
    numbers = [judge[task] for row in rows for judge in row.judges for task in columns if task in judge]
    extra: dict[str, list[Any]] = dict(constant.lines(columns, numbers, data))
    for name, key in SHARES.items():
        extra |= {f"{name}: {row.label}": [share(by.get(task, none), key) for task in columns] for row, by in by_row}
    known = {name: line for name, line in extra.items() if any(str(cell) != "-" for cell in line)}
    legend = LEGEND + (SEEDS if any(len(row.judges) > 1 for row in rows) else "")
    legend += SINGLE if any(row.from_scores for row in rows) else ""
    legend += (STAR if any(published.values()) else "") + (f" {about['footnote']}" if about.get("footnote") else "")
    return Table(
        titled(about["title"]),
        "method",
        DataFrame(cells, [row.label for row in rows], shown, dtype=object),
        DataFrame(list(known.values()), list(known), columns, dtype=object).reindex(columns=shown, fill_value=""),
        explained(footnotes),
        legend,
        number=number,
    )


def records(rows: list[Row], columns: list[str], footnotes: dict[str, int]) -> DataFrame:
    """One record per judge and task, with numbers in per cent, NaN where there is none; as task "mean" also the mean of
    each judge that has all columns. `footnotes` gets the number of each mark, by its reason."""
    from pandas import DataFrame, concat

    found = [
        {"row": row.label, "seed": seed, "task": task, **_record(judge[task], footnotes)}
        for row in rows
        for task in columns
        for seed, judge in enumerate(row.judges)
        if task in judge
    ]
    frame = DataFrame(found, columns=list(TYPES)).astype(TYPES)
    by_judge = frame.pivot(index=["row", "seed"], columns="task", values="macro_f1").reindex(columns=columns)
    means = DataFrame({"macro_f1": by_judge.mean(axis=1, skipna=False).dropna()})
    means["marks"] = frame.groupby(["row", "seed"])["marks"].apply(lambda marks: " †" if any(marks) else "")
    return concat([frame, means.reset_index().assign(task=MEAN, one_class="", n=0)])


def _record(one: Scored, footnotes: dict[str, int]) -> dict[str, Any]:
    numbers, pairs = one.numbers, is_pair(tuple(one.numbers.confusion))
    low, high = numbers.macro_f1_ci95 or (None, None)
    fractions = {
        "macro_f1": None if numbers.one_class else numbers.macro_f1,  # meaningless for one class
        "low": low,
        "high": high,
        "accuracy": numbers.accuracy,
        "pair_accuracy": numbers.accuracy if pairs else None,
        "both_orders": numbers.pairwise.consistent_accuracy if numbers.pairwise else None,
        "invalid": numbers.invalid_rate,
    }
    percent = {key: None if value is None else 100 * value for key, value in fractions.items()}
    return {**percent, "n": numbers.n, "one_class": numbers.one_class or "", "marks": signs(one, footnotes)}


def signs(one: Scored, footnotes: dict[str, int], more: Sequence[str] = ()) -> str:
    """The signs of a number's marks, and of `more` reasons; `footnotes` gets the number of each."""
    reasons = [*(f"{one.of.file.parent}: {mark.reason}" for mark in one.marks), *more]
    return "".join(f" †{footnotes.setdefault(reason, len(footnotes) + 1)}" for reason in reasons)


def share(records: DataFrame, key: str) -> Number:
    """The value of `key` over the seeds of one row and task: one value, or mean and spread."""
    values = records[key].dropna()
    if not len(values):
        return Number()
    return Number(float(values.mean()), None, len(values), float(values.std()) if len(values) > 1 else None)


def macro_f1(records: DataFrame, paper: float = nan) -> Number:
    """The same for Macro-F1, with its interval where there is one seed, and the paper's number (NaN: none)."""
    low, high = map(float, records[["low", "high"]].iloc[0]) if len(records) == 1 else (nan, nan)
    return replace(
        share(records, "macro_f1"),
        paper=None if isnan(paper) else float(paper),
        interval=None if isnan(low) else (low, high),
        one_class=next(filter(None, records["one_class"]), ""),
        accuracy=share(records, "accuracy").ours,
        marks="".join(dict.fromkeys(records["marks"])),
    )


def explained(footnotes: dict[str, int]) -> tuple[str, ...]:
    return tuple(f"†{sign} {reason}" for reason, sign in footnotes.items())


def _command(method: str, task: str, plan: dict[str, Any]) -> str:
    """The command that fills a cell without a judge."""
    if method != "zero_shot":
        return f"{COMMANDS[method].format(task=task)} {plan.get('presets', '')}".rstrip()
    chosen = dict(zip(words[::2], words[1::2], strict=False)) if (words := plan.get("presets", "").split()) else {}
    model = recipe.load("zero_shot", chosen.get("--model"), chosen.get("--hardware")).model.path
    return COMMANDS[method].format(model=shlex.quote(model))


def judges(rows: list[Row], columns: list[str]) -> list[str]:
    """One line that names the judges of each row."""
    named = []
    for row in rows:
        judges = dict.fromkeys(f"{by[task].name}{by[task].step}" for by in row.judges for task in columns if task in by)
        named += [f"{row.label} = {', '.join(judges)}"] if judges else []
    return [f"Judges: {'; '.join(named)}"] if named else []
