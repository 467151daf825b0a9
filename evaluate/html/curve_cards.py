"""The charts of one curve: of one run, a line per task in one chart; of several, a line per run in a chart per task.

All charts of a curve have the same axes. What is not drawn as it was logged is said in a note.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from mtrl.evaluate.html import charts, points
from mtrl.evaluate.html.charts import Line
from mtrl.evaluate.html.trained import Curve, Trained, Values

COLOURS = 8  # in training.css.jinja
WIDER, NARROWER = 2 * charts.WIDE + 40, 290.0  # pixels: the place of two charts, and of one of a row
ALL = "all tasks"

Row = tuple[str, str, str, str, str, str]
Box = dict[str, Any]
"""What the script needs to show the values at a step: see training.js.jinja."""


class Chart(NamedTuple):
    """One chart with its text."""

    title: str
    """The task, where each has a chart."""
    picture: Markup
    box: Box
    rows: list[Row]
    """Of each line: name, number of values, first, last, lowest, highest."""


class Card(NamedTuple):
    """One curve with its charts."""

    curve: Curve
    charts: list[Chart]
    now: str
    """The last value, where there is one main line."""
    notes: list[str]
    wide: bool


def by_task(runs: Sequence[Trained]) -> bool:
    """Whether each task has a chart of its own."""
    return len(runs) > 1 or len(runs[0].tasks) > COLOURS


def legend(runs: Sequence[Trained]) -> list[tuple[str, str]]:
    """(colour, name) of the lines; nothing where every chart has one line."""
    if by_task(runs):
        return [(f"s{n}", run.name) for n, run in enumerate(runs)] if len(runs) > 1 else []
    logged = {values.task for values in runs[0].values}
    tasks = [(f"s{n}", task) for n, task in enumerate(runs[0].tasks) if task in logged]
    return [("all", ALL), *tasks] if tasks else []


def of_curve(curve: Curve, runs: Sequence[Trained], steps: tuple[int, int], wide: bool) -> Card:
    """The charts go from steps[0] to steps[1]. `wide`: a card with one chart gets the room of two."""
    found = [(n, values) for n, run in enumerate(runs) for values in run.values if values.curve == curve]
    window = 1 if curve.exact else points.window(max(len(values.points) for _, values in found))
    grouped: dict[str, list[Line]] = {}
    for n, values in found:
        grouped.setdefault(values.task if by_task(runs) else "", []).append(_line(runs, n, values, window))
    lines = [line for group in grouped.values() for line in group]
    notes = _notes(lines, window, len(runs) > 1)
    if without := [run.name for n, run in enumerate(runs) if all(n != other for other, _ in found)]:
        notes.append(f"not in {', '.join(without)}")
    shown = [value for line in lines for part in line.drawn.each for _, value in part]
    if not shown:
        return Card(curve, [], "", notes, False)
    wide = wide and len(grouped) == 1
    width = WIDER if wide else charts.WIDE if len(grouped) == 1 else NARROWER
    draw = _Drawing(curve, steps, _ticks(curve, shown), width)
    pictures = [draw.chart(task or (ALL if len(grouped) > 1 else ""), group) for task, group in grouped.items()]
    main = lines[0].drawn.main if len(grouped) == 1 and lines[0].colour == "all" else []
    return Card(curve, pictures, _text(curve)(main[-1][-1][1]) if main else "", notes, wide)


def _line(runs: Sequence[Trained], n: int, values: Values, window: int) -> Line:
    run = runs[n]
    mark = run.chosen.step if run.chosen and values.curve.group == "Validation" else None
    drawn = points.drawn(values.points, window)
    if by_task(runs):
        return Line(run.name, f"s{n}" if len(runs) > 1 else "all", drawn, mark)
    if values.task:
        return Line(values.task, f"s{run.tasks.index(values.task)}", drawn)
    return Line(ALL if run.tasks else run.name, "all", drawn, mark)


class _Drawing(NamedTuple):
    """What the charts of a curve have in common."""

    curve: Curve
    steps: tuple[int, int]
    ticks: list[float]
    width: float

    def chart(self, title: str, lines: list[Line]) -> Chart:
        text = _text(self.curve)
        rows = [_row(line, text) for line in lines]
        said = f"{self.curve.title}{', ' if title else ''}{title}, steps {self.steps[0]} to {self.steps[1]}. "
        said += ". ".join(f"{row[0]}: first {row[2]}, last {row[3]}" for row in rows)
        picture = charts.lines(lines, self.steps, self.ticks, _tick(self.curve), text, said, self.width)
        box = {
            "steps": self.steps,
            "cent": self.curve.unit == "per cent",
            "unit": "" if self.curve.unit == "per cent" else self.curve.unit,
            "frame": [
                charts.ROOM_LEFT,
                self.width - charts.ROOM_RIGHT,
                charts.ROOM_TOP,
                charts.TALL - charts.ROOM_BELOW,
            ],
            "window": max(line.drawn.window for line in lines),
            "lines": [[line.name, line.colour, _rounded(line)] for line in lines],
        }
        return Chart(title, picture, box, rows)


def _rounded(line: Line) -> list[tuple[int, float]]:
    return [(step, float(f"{value:.5g}")) for part in line.drawn.main for step, value in part]


def _text(curve: Curve) -> Callable[[float], str]:
    return (lambda value: f"{100 * value:.1f}%") if curve.unit == "per cent" else (lambda value: f"{value:.4g}")


def _tick(curve: Curve) -> Callable[[float], str]:
    return (lambda value: f"{100 * value:.4g}%") if curve.unit == "per cent" else (lambda value: f"{value:.4g}")


def _ticks(curve: Curve, shown: list[float]) -> list[float]:
    low, high = min(shown), max(shown)
    found = points.ticks(min(0.0, low) if curve.from_zero else low, high)
    if (curve.bounded or curve.unit == "per cent") and low >= 0 and high <= 1:
        return [tick for tick in found if -1e-9 < tick < 1 + 1e-9]
    return found


def _row(line: Line, text: Callable[[float], str]) -> Row:
    values = [point for part in line.drawn.each for point in part]
    if not values:
        return (line.name, "0", "-", "-", "-", "-")
    low, high = (end(values, key=points.VALUE) for end in (min, max))
    ends = (values[0], values[-1], low, high)
    first, last, lowest, highest = (f"{text(value)} (step {step})" for step, value in ends)
    return (line.name, f"{line.drawn.total:,}", first, last, lowest, highest)


def _notes(lines: list[Line], window: int, several: bool) -> list[str]:
    """What differs from the values as they were logged."""
    notes = [f"strong: mean of the last {window} values; faint: each value"] if window > 1 else []
    if most := max((line.drawn.total for line in lines if line.drawn.thinned), default=0):
        notes.append(f"thinned: of {most:,} values, the lowest and the highest of each stretch")
    notes = ["; ".join(notes)] if notes else []
    for line in lines:
        if gaps := line.drawn.gaps:
            named = ", ".join(map(str, gaps[:5])) + (", ..." if len(gaps) > 5 else "")
            whose = "" if line.name == ALL and not several else f"{line.name}: "
            many = f"{len(gaps):,} values are" if len(gaps) > 1 else "1 value is"
            notes.append(f"{whose}{many} NaN or infinite (step{'s' * (len(gaps) > 1)} {named}): a gap in the line")
    return notes
