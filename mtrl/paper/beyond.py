"""Table 4: our judges on benchmarks beyond the paper, next to what others published there (recipes/published.yaml).

A row per number of ours, then a row per published figure with the difference to each of our judges. A difference is
shown only where the figure has the same protocol as one of our numbers, and ours is of the whole benchmark.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path

from mtrl.config import published
from mtrl.config.published import Benchmark, Measure
from mtrl.config.recipe_types import METHODS
from mtrl.core import hints
from mtrl.paper import measures, results, scored
from mtrl.paper.results import Row
from mtrl.paper.scored import Scored
from mtrl.paper.shown import Number, Table

LEGEND = (
    "Table 4: ours: value [95% bootstrap interval], per cent (correlations times 100). Below: published figures, and"
    " ours minus the figure, only where metric, rule and rows are the same. Every judge has its own prompt. (1): the"
    " source. *: the published figure is outside our interval."
)
OTHER = "other protocol"
PUBLISHED = "published"


@dataclass
class _Signs:
    """The footnotes of the table, numbered as they come."""

    sources: dict[str, int] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)


def of_runs(runs: Path, data: Path = Path("data")) -> Table:
    """From every evaluation below `runs`. Raises UserError."""
    found, over = scored.everything(runs, data)
    columns = published.table_tasks(4)
    mine = [one for one in found if one.task in columns and not one.from_scores]
    rows = [Row(label, method, [by]) for method in METHODS for label, by in scored.rows(method, mine).items()]
    table, missing = build(rows), set(published.table_methods(4)) - {row.method for row in rows}
    return Table(
        table.title,
        table.head,
        table.rows,
        notes=(*results.judges(rows, columns), *table.notes),
        legend=table.legend,
        todo=(_command(),) if missing else (),
        passed_over=tuple(one.text for one in over if one.task in ("", *columns)),
        number=4,
    )


def build(rows: list[Row]) -> Table:
    """The table of these rows, one column per row of ours."""
    from pandas import DataFrame

    about, signs = published.beyond(), _Signs()
    names: list[str] = []
    cells: list[list[object]] = []
    for task, benchmark in about.benchmarks.items():
        ours = {name: [_number(row, task, name, benchmark, signs) for row in rows] for name in benchmark.ours}
        for name, numbers in ours.items():
            names.append(f"{task}, ours: {measures.LABELS[name]}")
            cells.append(["", *numbers])
        invalid = [_invalid(row, task) for row in rows]
        if any(number.ours for number in invalid):
            names.append(f"{task}, ours: invalid answers")
            cells.append(["", *invalid])
        for figures in benchmark.published:
            protocol = f"{figures.source}: {figures.metric}; {figures.protocol}"
            sign = signs.sources.setdefault(protocol, len(signs.sources) + 1)
            for judge, value in sorted(figures.judges.items(), key=lambda item: item[1]):
                names.append(f"{task}: {judge}")
                text = f"{value:.2f} ({sign})"
                if figures.same_as is None:
                    cells.append([f"{text}, {OTHER}", *("" for _ in rows)])
                    continue
                whole = [_whole(row, task, benchmark) for row in rows]
                pairs = zip(ours[figures.same_as], whole, strict=True)
                cells.append([text, *(_difference(number, value) if all_of_it else "" for number, all_of_it in pairs)])
    notes = (*(f"({number}) {text}" for text, number in signs.sources.items()), *results.explained(signs.marks))
    frame = DataFrame(cells, names, [PUBLISHED, *(row.label for row in rows)], dtype=object)
    legend = LEGEND + (results.SEEDS if any(len(row.judges) > 1 for row in rows) else "")
    return Table(published.titled(about.title), "benchmark: judge", frame, notes=notes, legend=legend, number=4)


def _number(row: Row, task: str, name: Measure, benchmark: Benchmark, signs: _Signs) -> Number:
    """One seed's number with its interval, or the mean and spread over several."""
    seeds = [judge[task] for judge in row.judges if task in judge]
    found = [measures.of(one, name) for one in seeds]
    values = [100 * one.value for one in found if one.value is not None]
    marks = "".join(dict.fromkeys(_marks(one, name, benchmark, signs) for one in seeds))
    if not values:
        return Number(marks=marks)
    if len(values) > 1:
        return Number(statistics.fmean(values), None, len(values), statistics.stdev(values), marks=marks)
    low, high = found[0].ci95 or (None, None)
    return Number(values[0], interval=None if low is None or high is None else (100 * low, 100 * high), marks=marks)


def _invalid(row: Row, task: str) -> Number:
    rates = [100 * judge[task].numbers.invalid_rate for judge in row.judges if task in judge]
    return Number(statistics.fmean(rates)) if rates else Number()


def _marks(one: Scored, name: Measure, benchmark: Benchmark, signs: _Signs) -> str:
    extra = []
    if left_out := measures.left_out(one, name):
        extra = [f"{one.of.file.parent}: {one.task}: {measures.LABELS[name]} leaves out {left_out}"]
    if benchmark.rows and one.numbers.n != benchmark.rows:
        extra += [f"{one.task}: of {one.numbers.n:,} rows; the benchmark has {benchmark.rows:,}"]
    return results.signs(one, signs.marks, extra)


def _whole(row: Row, task: str, benchmark: Benchmark) -> bool:
    return all(judge[task].numbers.n == benchmark.rows for judge in row.judges if task in judge)


def _difference(ours: Number, published: float) -> str:
    if ours.ours is None:
        return ""
    inside = ours.interval is None or ours.interval[0] <= published <= ours.interval[1]
    return f"{ours.ours - published:+.2f}{'' if inside else '*'}"


def _command() -> str:
    """What fills the cells that have no judge."""
    words = str(published.layout().get("presets", "")).split()
    given = dict(zip(words[::2], words[1::2], strict=False))
    return hints.line("reproduce", "table4", model=given.get("--model"), hardware=given.get("--hardware"), raw="raw")
