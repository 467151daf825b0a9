"""Which label rule gives Table 1's counts? Every rule that a task could mean, tried on the release's own label columns.

Rules pick the rows that Table 1 calls positive: ">= v" (then positive is the good verdict), "<= v" (then it is the
bad one), "== v" where a column has few values, and the values of a column of words. A column of many values (a mean
opinion score) always has a cut-off for any count: the result has the value on either side, the roundest number
between, and whether one number fits all tasks over the same table. Nothing is changed: the user writes what fits into
the task's YAML.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mtrl.config import tasks
from mtrl.config.tasks import Task
from mtrl.converters.pipeline import release
from mtrl.core.errors import UserError

LOW_IS_GOOD = {"rank"}  # 1 is the best
FEW = 50  # distinct values: up to here every "== v" is a rule worth trying


class Fit(NamedTuple):
    """A rule, and how near it comes to Table 1."""

    column: str
    when: str
    """As in label.rule.when; of a column of words "is WORD"."""
    then: str
    """As in label.rule.then; of a column of words "positive"."""
    off: int
    """How many rows the counts differ in; 0: every cell that must agree does."""
    counts: dict[str, int]
    """The rows that it picks: of "all", and of each official split."""
    remark: str = ""


class Picked(NamedTuple):
    """A rule to try, and for each row whether it picks it."""

    when: str
    then: str
    rows: list[bool]


class Columns(NamedTuple):
    """The release, as far as labels go."""

    splits: list[str | None]
    """Each row's official split."""
    values: dict[str, list[Any]]
    """The columns that can be labels: all of numbers, or words of few kinds."""


def fit(task: Task, raw: Path) -> list[Fit]:
    """All rules, best first. Raises UserError for a task that is not in Table 1."""
    if not task.expected:
        raise UserError(f"task {task.name} has no `expected` counts to fit labels to", "mtrl tasks")
    splits, columns = _columns(task, raw)
    target = {"all": sum(cell["positive"] for cell in task.expected.values())}
    target |= {split: task.expected[split]["positive"] for split in task.split.kept if split in task.expected}
    found = []
    for column, values in columns.items():
        for rule in _rules(values, column in LOW_IS_GOOD):
            counts = {"all": sum(rule.rows)}
            for split in target:
                if split != "all":
                    counts[split] = sum(p for p, s in zip(rule.rows, splits, strict=True) if s == split)
            off = sum(abs(counts[cell] - target[cell]) for cell in target)
            found.append(Fit(column, rule.when, rule.then, off, counts))
    values = columns.get(task.label.column, [""])
    if len(set(values)) > FEW:
        found += [_ranked(task.label.column, values, end, target["all"]) for end in ("highest", "lowest")]
    # a task's own column first, then the shorter number: 3.1 before 3.0972
    return sorted(found, key=lambda f: (f.off, f.when[0] in "hl", f.column != task.label.column, len(f.when), f.when))


def shared(task: Task, raw: Path) -> Iterator[str]:
    """Per direction the cut-off that gives Table 1's counts in all tasks over one table, or why there is none."""
    family = [t for t in tasks.load_all() if t.converter == task.converter and t.source == task.source and t.expected]
    _, columns = _columns(task, raw)
    family = [t for t in family if t.label.column in columns and not isinstance(columns[t.label.column][0], str)]
    if len(family) < 2:
        return
    for end in ("highest", "lowest"):
        low, high = -math.inf, math.inf
        for member in family:
            count = sum(cell["positive"] for cell in member.expected.values())
            inner, outer = _edges(columns[member.label.column], end, count)
            low, high = max(low, min(inner, outer)), min(high, max(inner, outer))
            if math.isnan(inner):
                return  # fewer rows than Table 1 counts: `fit` says so
        names = ", ".join(member.name for member in family)
        if low < high:
            sign = ">=" if end == "highest" else "<="
            cut = roundest(low, high)
            cut = low if sign == "<=" and cut == high else cut
            yield f"one cut-off for {names}: positive is {sign} {cut:.10g} (between {low:.10g} and {high:.10g})"
        else:
            yield f"no one cut-off gives the counts of {names} with positive = {end}"


def roundest(low: float, high: float) -> float:
    """The number with the fewest digits in [low, high], strictly inside where there is room."""
    for digits in range(-3, 12):
        step = 10.0**-digits
        number = round(math.floor(low / step + 1) * step, max(digits, 0))
        if low < number <= high:
            return number
    return high


def _columns(task: Task, raw: Path) -> Columns:
    rows = release.labels(task, raw)
    if not rows:
        raise UserError(f"task {task.name}: the release in {raw} has no rows")
    columns: dict[str, list[Any]] = {}
    for name in rows[0]:
        values: list[Any] = [record.get(name) for record in rows]
        try:
            numbers = [float(value) for value in values]
            if all(map(math.isfinite, numbers)) and len(set(numbers)) > 1:
                columns[name] = numbers
        except (TypeError, ValueError):
            words = [str(value).strip() for value in values]
            if 1 < len(set(words)) <= FEW:
                columns[name] = words
    return Columns([record.split for record in rows], columns)


def _rules(values: list[Any], low_is_good: bool) -> Iterator[Picked]:
    """A column of many values has no thresholds here: it is ranked."""
    kinds = sorted(Counter(values))
    if isinstance(values[0], str):
        for kind in kinds:
            yield Picked(f"is {kind}", "positive", [value == kind for value in values])
        return
    if len(kinds) > FEW:
        return
    high, low = ("no", "yes") if low_is_good else ("yes", "no")
    middle = (kinds[0] + kinds[-1]) / 2
    for kind in kinds[1:]:
        yield Picked(f">= {kind:.10g}", high, [value >= kind for value in values])
    for kind in kinds[:-1]:
        yield Picked(f"<= {kind:.10g}", low, [value <= kind for value in values])
    for kind in kinds[1:-1]:
        yield Picked(f"== {kind:.10g}", high if kind > middle else low, [value == kind for value in values])


def _edges(values: list[float], end: str, count: int) -> tuple[float, float]:
    """The last value inside the `count` highest (or lowest), and the first outside."""
    ordered = sorted(values, reverse=end == "highest")
    if not 0 < count < len(ordered):
        return math.nan, math.nan
    return ordered[count - 1], ordered[count]


def _ranked(column: str, values: list[float], end: str, count: int) -> Fit:
    inner, outer = _edges(values, end, count)
    then = "yes" if end == "highest" else "no"
    if math.isnan(inner):
        return Fit(
            column, f"{end} {count}", then, abs(len(values) - count), {"all": len(values)}, "more than there are rows"
        )
    if inner == outer:
        tied = sum((v > inner) if end == "highest" else (v < inner) for v in values)
        remark = f"ties: {sum(v == inner for v in values)} rows have {inner:.10g}, so no cut-off gives {count:,}"
        return Fit(column, f"{end} {count}", then, min(count - tied, 1), {"all": count}, remark)
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
    cut = roundest(min(inner, outer), max(inner, outer))
    sign = ">=" if end == "highest" else "<="
    if sign == "<=" and not inner <= cut < outer:
        cut = inner
    remark = (
        f"is {sign} {cut:.10g} (next to it are {inner:.10g} and {outer:.10g}; "
        f"{(cut - mean) / spread:+.2f} sd of the mean)"
    )
    return Fit(column, f"{end} {count}", then, 0, {"all": count}, remark)
