"""training.html: the curves of one run, or of several on the same axes. It opens from disk and loads nothing.

Its charts are markup and need no script. The page's own script shows the values at a step, and loads the page again
while the run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from mtrl.core import targets
from mtrl.core.errors import UserError
from mtrl.evaluate.html import curve_cards, page
from mtrl.evaluate.html.trained import Curve, Group, Trained

FILE = "training.html"
GROUPS: dict[Group, str] = {
    "Validation": "rows that are not trained on",
    "Rollouts": "the sampled answers to training rows",
    "Optimization": "",
}


def write(curves: Sequence[Curve], runs: Sequence[Trained], target: Path, again: str) -> Path:
    """Writes `target` with those of `curves` that a run has, in this order. `again` writes it again.

    Raises UserError for too many runs and where it cannot be written, MtrlError where writing fails.
    """
    if len(runs) > curve_cards.COLOURS:
        text = f"one page shows at most {curve_cards.COLOURS} runs, not {len(runs)}"
        raise UserError(text, "name the runs that are compared")
    targets.check_file(target)
    had = {values.curve for run in runs for values in run.values}
    at = [step for run in runs for values in run.values for step, _ in values.points]
    groups = []
    for group, on in GROUPS.items():
        chosen = [curve for curve in curves if curve.group == group and curve in had]
        wide = group == "Validation" and len(runs) == 1
        cards = [curve_cards.of_curve(one, runs, (min(at), max(at)), wide and n == 0) for n, one in enumerate(chosen)]
        if cards:
            groups.append((group, on, cards))
    boxes = [chart.box for _, _, cards in groups for card in cards for chart in card.charts]
    pieces = page.environment().get_template("training.html.jinja").generate(
        runs=runs,
        legend=curve_cards.legend(runs),
        groups=groups,
        boxes=page.inert(boxes),
        second=int(time.time()),
        clock=time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        again=again,
        duration=duration,
    )  # fmt: skip
    return page.save(target, pieces)


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
