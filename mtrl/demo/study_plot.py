"""The study's plot: one SVG that is read next to a page in light and in dark, with three panels of the same height.

    score of every training by arm | score over training steps | score over the distance from the base

A training is a dot in the colour of its arm, hollow on a second base; the letter is that of the arm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

LIGHT = ("#c2410c", "#8a6d00", "#15803d", "#1d4ed8", "#8b2fc9", "#4b5563")
DARK = ("#fb923c", "#e3c341", "#4ade80", "#7dabff", "#d19bff", "#9aa5b5")
STYLE = (
    "text{{font:12px system-ui,sans-serif;fill:{ink}}}.title{{font-weight:600}}.back{{fill:{page}}}"
    ".grid{{stroke:{line};stroke-width:1}}.mean{{stroke-width:3}}.path{{stroke-width:1.5;opacity:.8}}"
    ".hollow{{fill-opacity:0}}circle{{stroke-width:1.5}}"
)
SIDE, HIGH, LEFT, TOP, BELOW, GAP = 250.0, 210.0, 44.0, 34.0, 44.0, 24.0  # pixels of a panel, and around it


class Mark(NamedTuple):
    """One training, or one of its checkpoints."""

    arm: int
    """The place of its arm in the plan, which is its colour."""
    x: float
    y: float
    """A fraction."""
    said: str
    """Its tooltip."""
    hollow: bool = False


class Panel(NamedTuple):
    """One plot. An upright axis of per cent is the same for all."""

    title: str
    axis: str
    """What the other axis shows."""
    ticks: list[tuple[float, str]]
    """Its labelled values; it ends at the first and the last."""
    marks: list[Mark]
    paths: list[list[Mark]] = []
    """Marks joined by a line, each drawn as a dot too."""
    means: list[Mark] = []
    """Short bars."""
    names: list[tuple[Mark, str]] = []
    """Letters next to a mark."""


def ticks(values: Sequence[float]) -> list[tuple[float, str]]:
    """Four to seven round numbers from 0 to above the largest value."""
    most = max([*values, 1e-9])
    step = 10.0 ** math.floor(math.log10(most))
    step = next(s for s in (step / 5, step / 2, step, step * 2) if most / s <= 6)
    return [(k * step, f"{k * step:g}") for k in range(math.ceil(most / step) + 1)]


def svg(panels: Sequence[Panel], said: str) -> str:
    """The file's text; names and numbers are the study's own, so nothing needs escaping."""
    width, height = len(panels) * (LEFT + SIDE + GAP), TOP + HIGH + BELOW
    body = [
        f'<g transform="translate({place * (LEFT + SIDE + GAP) + LEFT:g} {TOP:g})">{"".join(_panel(panel))}</g>'
        for place, panel in enumerate(panels)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
        f' height="{height:g}" role="img" aria-label="{said}">\n<style>{_css("#fff", "#1b2230", "#dfe3ea", LIGHT)}'
        f"@media(prefers-color-scheme:dark){{{_css('#12151b', '#e4e8ef', '#39424f', DARK)}}}</style>\n"
        f'<rect class="back" width="{width:g}" height="{height:g}"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _css(page: str, ink: str, line: str, colours: Sequence[str]) -> str:
    arms = (f".a{place}{{fill:{colour};stroke:{colour}}}" for place, colour in enumerate(colours))
    over = f".path{{fill:none}}.name{{font-weight:700;stroke:{page};stroke-width:3;paint-order:stroke}}"
    return STYLE.format(page=page, ink=ink, line=line) + "".join(arms) + over


def _panel(panel: Panel) -> list[str]:
    first, last = panel.ticks[0][0], panel.ticks[-1][0]

    def at(mark: Mark) -> tuple[float, float]:
        return SIDE * (mark.x - first) / (last - first), HIGH * (1 - mark.y)

    parts = [f'<text class="title" x="0" y="-14">{panel.title}</text>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = HIGH * (1 - share)
        parts.append(f'<line class="grid" x1="0" y1="{y:g}" x2="{SIDE:g}" y2="{y:g}"/>')
        parts.append(f'<text x="-8" y="{y + 4:g}" text-anchor="end">{100 * share:.0f}</text>')
    for value, label in panel.ticks:
        x = SIDE * (value - first) / (last - first)
        parts.append(f'<text x="{x:.1f}" y="{HIGH + 17:g}" text-anchor="middle">{label}</text>')
    parts.append(f'<text x="{SIDE / 2:g}" y="{HIGH + 36:g}" text-anchor="middle">{panel.axis}</text>')
    for path in panel.paths:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, path))
        parts.append(f'<polyline class="path a{_colour(path[0])}" points="{points}"/>')
    for mark in (*panel.marks, *(mark for path in panel.paths for mark in path)):
        x, y = at(mark)
        kind = f"a{_colour(mark)}{' hollow' if mark.hollow else ''}"
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.2"><title>{mark.said}</title></circle>')
    for mark in panel.means:
        x, y = at(mark)
        line = f'x1="{x - 15:.1f}" y1="{y:.1f}" x2="{x + 15:.1f}" y2="{y:.1f}"'
        parts.append(f'<line class="mean a{_colour(mark)}" {line}><title>{mark.said}</title></line>')
    for mark, name in panel.names:
        x, y = at(mark)
        parts.append(f'<text class="name a{_colour(mark)}" x="{x + 7:.1f}" y="{y + 4:.1f}">{name}</text>')
    return parts


def _colour(mark: Mark) -> int:
    return mark.arm % len(LIGHT)
