"""What the study's plot shows: three panels of its results, drawn by study_plot.py."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from statistics import fmean

from mtrl.demo.study_analysis import score
from mtrl.demo.study_plan import Plan
from mtrl.demo.study_plot import LIGHT, Mark, Panel, svg, ticks
from mtrl.demo.study_results import Cell, Results
from mtrl.demo.study_verdict import points

SPREAD = 0.5  # of an arm's width, over which its seeds are spread
GRAY = len(LIGHT) - 1


def plot(results: Results, plan: Plan) -> str:
    """The SVG. Scores are shares of pairs right in both orders, asked as trained."""
    panels = [_by_arm(results, plan), _over_steps(results, plan), _over_distance(results, plan)]
    return svg(panels, "pairs right in both orders: by arm, over training steps, over the KL divergence from the base")


def _by_arm(results: Results, plan: Plan) -> Panel:
    marks, means = [], []
    for place, (name, arm) in enumerate(plan.arms.items()):
        cells = results.of(list(plan.bases), name, plan.seeds)
        for number, cell in enumerate(cells):
            x = place + 1 + SPREAD * ((number + 0.5) / len(cells) - 0.5)
            marks.append(_mark(plan, cell, x))
        if cells:
            mean = fmean(map(score, cells))
            means.append(Mark(place, place + 1, mean, f"{name}, mean of {len(cells)}: {points(mean)}"))
            asked = [untrained[arm.style].share("right") for untrained in results.zero.values()]
            means += [Mark(GRAY, place + 1, value, f"base model: {points(value)}") for value in asked]
    labels = [(0.4, ""), *((place + 1.0, name) for place, name in enumerate(plan.arms)), (len(plan.arms) + 0.6, "")]
    return Panel("Pairs right in both orders, %", "arm", labels, marks, means=means)


def _over_steps(results: Results, plan: Plan) -> Panel:
    paths, names = [], []
    for cell in results.cells.values():
        place, style = _place(plan, cell), plan.arms[cell.result.arm].style
        if not cell.steps:
            continue
        base = results.zero.get(cell.result.base)
        start = [(0, base[style])] if base else []
        path = [
            Mark(place, step, found.share("right"), f"{_name(cell)}, step {step}: {points(found.share('right'))}")
            for step, found in chain(start, cell.steps.items())
        ]
        paths.append(path)
        names.append((path[-1], cell.result.arm))
    last = max((mark.x for path in paths for mark in path), default=1)
    return Panel("The same while training", "training step", ticks([last]), [], paths, names=names)


def _over_distance(results: Results, plan: Plan) -> Panel:
    marks = [_mark(plan, cell, cell.result.kl) for cell in results.cells.values()]
    return Panel(
        "The same over the distance",
        "KL divergence from the base, nats",
        ticks([mark.x for mark in marks]),
        marks,
        names=list(_centres(results, plan)),
    )


def _centres(results: Results, plan: Plan) -> Iterator[tuple[Mark, str]]:
    for place, name in enumerate(plan.arms):
        if cells := results.of(list(plan.bases), name, plan.seeds):
            x, y = fmean(cell.result.kl for cell in cells), fmean(map(score, cells))
            yield Mark(place, x, y, ""), name


def _mark(plan: Plan, cell: Cell, x: float) -> Mark:
    said = f"{_name(cell)}: {points(score(cell))}, KL {cell.result.kl:.2f}"
    return Mark(_place(plan, cell), x, score(cell), said, cell.result.base != next(iter(plan.bases)))


def _place(plan: Plan, cell: Cell) -> int:
    return list(plan.arms).index(cell.result.arm)


def _name(cell: Cell) -> str:
    return f"{cell.result.arm}, seed {cell.result.seed} on {cell.result.base}"
