"""Small charts as SVG text. Colours are classes of the pages' CSS, so charts follow the page's dark mode.

Input is fractions, output is per cent, but for `lines`, whose caller says how a number is written. Only `lines` takes
text of others (names), which it escapes. Each mark has a <title>, which browsers show as a tooltip and screen readers
read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from mtrl.evaluate.html.points import FEW, Drawn, Point, whole_ticks
from mtrl.evaluate.metrics.calibration import Bin
from mtrl.evaluate.metrics.selective import RiskPoint
from mtrl.evaluate.metrics.task import VotesPoint

PLOT, LEFT, TOP = 180.0, 34.0, 8.0  # pixels: the plot's side, and the room for axis labels on the left and above
FEW_DOTS = 20  # points of a curve; the dots of more are small
COUNTS = 36.0  # height of the bars under the reliability diagram
WIDE, TALL = 400.0, 190.0  # pixels of a line chart, and the room in it around the plot:
ROOM_LEFT, ROOM_RIGHT, ROOM_TOP, ROOM_BELOW = 46.0, 10.0, 12.0, 32.0


class Line(NamedTuple):
    """One line of a line chart."""

    name: str
    """What its marks are called; escaped where it is drawn."""
    colour: str
    """A class of the page's CSS."""
    drawn: Drawn
    mark: int | None = None
    """The step that gets a ring, if the line has a value there."""


def percent(value: float | None, digits: int = 1) -> str:
    """0.934 is 93.4; a dash where there is no number."""
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}"


def decimal(value: float | None, digits: int = 3) -> str:
    """A correlation, from -1 to 1; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval(
    value: float,
    low: float,
    high: float,
    marks: dict[str, float] | None = None,
    ends: tuple[float, float] = (0, 1),
    text: Callable[[float], str] = percent,
) -> Markup:
    """A dot at `value` on its interval. `marks` are reference values by name, each a thin line; `ends` are the axis's
    ends; `text` says the numbers.
    """

    def x(number: float) -> float:
        return 6 + 188 * (min(max(number, ends[0]), ends[1]) - ends[0]) / (ends[1] - ends[0])

    middle = sum(ends) / 2
    said = f"{text(value)}, 95% interval {text(low)} to {text(high)}"
    parts = [_line("axis", x(ends[0]), 11, x(ends[1]), 11)]
    parts += [_line("axis", x(tick), 8, x(tick), 14) for tick in (ends[0], middle, ends[1])]
    parts += [_line("mark", x(at), 2, x(at), 20, f"{name} {text(at)}") for name, at in (marks or {}).items()]
    parts.append(_line("range", x(low), 11, x(high), 11, said))
    parts.append(_dot("dot", x(value), 11, 4, said))
    return _svg(200, 22, said, parts, "interval")


def reliability(bins: Sequence[Bin]) -> Markup:
    """The share of right answers over the confidence, one dot per bin; below it, the number of answers in each bin.

    The dots of a calibrated judge are on the diagonal.
    """
    shown = [b for b in bins if b.n]
    most = max((b.n for b in shown), default=1)
    # of two choices a confidence is seldom below one half, which is in the bin that begins at 7 / 15
    begin = 0.4 if min((b.low for b in shown), default=0.0) > 0.4 else 0.0
    parts = _frame(begin, 1.0, 0.0, 1.0)
    parts.append(_line("ideal", *_at(begin, begin, begin, 1, 0, 1), *_at(1, 1, begin, 1, 0, 1)))
    bottom = TOP + PLOT + 22 + COUNTS
    for one in shown:
        said = f"confidence {percent(one.confidence)}: {percent(one.accuracy)} right, {one.n} answers"
        x, y = _at(one.confidence, one.accuracy, begin, 1, 0, 1)
        parts.append(_line("gap", x, y, *_at(one.confidence, one.confidence, begin, 1, 0, 1)))
        parts.append(_dot("dot", x, y, 3 + 4 * math.sqrt(one.n / most), said))
        left, right = (_at(k, 0, begin, 1, 0, 1)[0] for k in (one.low, one.high))
        tall = max(1.0, COUNTS * one.n / most)
        parts.append(
            f'<rect class="count" x="{left + 1:.1f}" y="{bottom - tall:.1f}" width="{max(1.0, right - left - 2):.1f}" '
            f'height="{tall:.1f}"><title>{said}</title></rect>'
        )
    parts.append(_line("axis", LEFT, bottom, LEFT + PLOT, bottom))
    parts.append(_text(LEFT + PLOT / 2, bottom + 13, "answers at each confidence", "middle"))
    return _svg(LEFT + PLOT + 16, bottom + 18, "share of right answers over confidence", parts, "chart")


def risk(points: Sequence[RiskPoint]) -> Markup:
    """The share of wrong verdicts over the share of items that are decided, from the surest on."""
    high = max(0.05, math.ceil(max(p.error for p in points) * 20) / 20)  # whole steps of 5 per cent
    places = [_at(p.coverage, p.error, 0, 1, 0, high) for p in points]
    parts = _frame(0, 1, 0, high)
    parts.append(f'<polyline class="curve" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>')
    for one, (x, y) in zip(points, places, strict=True):
        said = f"confidence from {one.confidence:.6g}: {percent(one.coverage)} decided, {percent(one.error)} wrong"
        parts.append(_dot("dot", x, y, 4 if len(points) < FEW_DOTS else 1.5, said))
    return _svg(LEFT + PLOT + 16, TOP + PLOT + 22, "share of wrong verdicts over share decided", parts, "chart")


def votes(points: Sequence[VotesPoint]) -> Markup:
    """Macro-F1 over the number of votes. Points are in order."""
    first, last = points[0].votes, max(points[-1].votes, points[0].votes + 1)
    scores = [p.macro_f1 for p in points]
    low, high = math.floor(min(scores) * 20) / 20, math.ceil(max(scores) * 20) / 20  # whole steps of 5 per cent
    low, high = (low, high) if high > low else (max(0.0, low - 0.05), min(1.0, high + 0.05))
    places = [_at(p.votes, p.macro_f1, first, last, low, high) for p in points]
    parts = _frame(first, last, low, high, whole=True)
    parts.append(f'<polyline class="curve" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>')
    for one, (x, y) in zip(points, places, strict=True):
        said = f"{one.votes} votes: Macro-F1 {percent(one.macro_f1)}, invalid {percent(one.invalid_rate)}"
        parts.append(_dot("dot", x, y, 4, said))
    return _svg(LEFT + PLOT + 16, TOP + PLOT + 22, "Macro-F1 over the number of votes", parts, "chart")


def lines(
    found: Sequence[Line],
    steps: tuple[int, int],
    ticks: Sequence[float],
    label: Callable[[float], str],
    text: Callable[[float], str],
    said: str,
    width: float = WIDE,
) -> Markup:
    """Lines over the steps from steps[0] to steps[1].

    `ticks` are the labelled values of the upright axis, its ends are the first and the last; `label` writes them, and
    `text` the value of a mark. Where a line has means, they are strong and its values faint.
    """
    right, bottom = width - ROOM_RIGHT, TALL - ROOM_BELOW
    span, low, high = max(1, steps[1] - steps[0]), ticks[0], ticks[-1]

    def at(step: float, value: float) -> tuple[float, float]:
        x = ROOM_LEFT + (right - ROOM_LEFT) * (step - steps[0]) / span
        return x, ROOM_TOP + (bottom - ROOM_TOP) * (high - value) / (high - low)

    parts = []
    for tick in ticks:
        y = at(steps[0], tick)[1]
        parts += [_line("grid", ROOM_LEFT, y, right, y), _text(ROOM_LEFT - 6, y + 3.5, label(tick), "end")]
    for step in whole_ticks(*steps):
        x = at(step, low)[0]
        parts += [_line("tick", x, bottom, x, bottom + 4), _text(x, bottom + 15, f"{step}", "middle")]
    parts.append(_text((ROOM_LEFT + right) / 2, TALL - 3, "step", "middle"))
    for line in found:
        if line.drawn.mean:
            parts += _strokes(f"faint {line.colour}", line.drawn.each, at)
    for line in found:
        parts += _strokes(f"curve {line.colour}", line.drawn.main, at)
        values = dict(point for part in line.drawn.each for point in part)
        for step, value in values.items() if line.drawn.total <= FEW else ():
            said_here = f"{escape(line.name)}, step {step}: {text(value)}"
            parts.append(
                _dot(f"dot {line.colour}", *at(step, value), 2.6 if line.drawn.total <= 12 else 1.8, said_here)
            )
        if line.mark is not None and line.mark in values:
            x, y = at(line.mark, values[line.mark])
            parts.append(_line(f"chosen {line.colour}", x, ROOM_TOP, x, bottom))
            parts.append(_dot(f"ring {line.colour}", x, y, 6, f"{escape(line.name)}, chosen: step {line.mark}"))
            side, anchor = (-8, "end") if x > (ROOM_LEFT + right) / 2 else (8, "start")
            if line.colour == "all":
                parts.append(_text(x + side, bottom - 7, f"chosen: step {line.mark}", anchor))
    return _svg(width, TALL, str(escape(said)), parts, "lines")


def _strokes(
    kind: str, parts: Sequence[Sequence[Point]], at: Callable[[float, float], tuple[float, float]]
) -> list[str]:
    """One stroke for each part of a line; a part of one point is a small dot."""
    found = []
    for part in parts:
        places = [at(*point) for point in part]
        if len(places) == 1:
            found.append(f'<circle class="{kind} single" cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="1.5"/>')
        else:
            found.append(f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>')
    return found


def _at(x: float, y: float, left: float, right: float, low: float, high: float) -> tuple[float, float]:
    """The pixel of the point (x, y) in the plot's scales."""
    return LEFT + PLOT * (x - left) / (right - left), TOP + PLOT * (high - y) / (high - low)


def _frame(left: float, right: float, low: float, high: float, whole: bool = False) -> list[str]:
    """Both axes with labels at the ends and in the middle. The lower axis has `whole` numbers, else per cent."""
    scale = (left, right, low, high)
    parts = [_line("axis", *_at(left, low, *scale), *_at(right, low, *scale))]
    for y in (low, (low + high) / 2, high):
        parts.append(_line("grid", *_at(left, y, *scale), *_at(right, y, *scale)))
        parts.append(_text(LEFT - 5, _at(left, y, *scale)[1] + 4, f"{100 * y:g}" if whole else f"{100 * y:.0f}", "end"))
    for x in (left, right) if whole else (left, (left + right) / 2, right):
        parts.append(_text(_at(x, low, *scale)[0], TOP + PLOT + 14, f"{x:g}" if whole else f"{100 * x:.0f}", "middle"))
    return parts


def _svg(width: float, height: float, said: str, parts: list[str], kind: str) -> Markup:
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    return Markup(f'<svg class="{kind}" {size} role="img" aria-label="{said}">{"".join(parts)}</svg>')


def _line(kind: str, x1: float, y1: float, x2: float, y2: float, said: str = "") -> str:
    title = f"<title>{said}</title>" if said else ""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}">{title}</line>'


def _dot(kind: str, x: float, y: float, radius: float, said: str) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{said}</title></circle>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
