"""compare.html: two judges side by side, their differences and every item where they disagree. Numbers are
compare.py's.

It has the cards and the script of report.html.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from mtrl.evaluate import predictions
from mtrl.evaluate.compare import Compared
from mtrl.evaluate.html import cards, page
from mtrl.evaluate.html.content import Card, Content
from mtrl.evaluate.metrics import conclusion
from mtrl.evaluate.metrics.paired import Comparison, Kind

FILE = "compare.html"
FILTERS = {
    "only_a": "only A is right",
    "only_b": "only B is right",
    "both_wrong": "both are wrong",
    "invalid": "invalid",
}
TERMS = (
    "verdict", "label", "invalid", "confidence", "n", "Macro-F1", "SRCC", "95% interval", "paired bootstrap",
    "accuracy", "both right", "only A", "only B", "both wrong", "McNemar p", "votes", "group",
)  # fmt: skip


def write(
    target: Path,
    folders: tuple[Path, Path],
    found: Compared,
    data: Path,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Writes `target` from two evaluation folders and what compare.folders found in them. Raises UserError."""
    runs = [predictions.load(folder) for folder in folders]
    tasks, shown = {}, []
    for name, numbers in found.tasks.items():
        kinds = {(d.id, d.order): d.kind for d in numbers.disagreements}
        tasks[name], of_task = cards.of_task(name, runs, data, partial(_found_by, kinds), set(kinds))
        shown += of_task
    sides = named(folders)
    return page.write(
        target,
        "compare.html.jinja",
        Content(shown, tasks, FILTERS, sides),
        data,
        tick,
        sides=sides,
        runs=[run.identity for run in runs],
        reach=_reach(found.tasks),
        rated=any(numbers.srcc for numbers in found.tasks.values()),
        conclusion=conclusion.sentence(found.tasks, sides),
        terms=TERMS,
        tasks=found.tasks,
        passed_over=found.passed_over,
        notes=found.notes,
    )


def named(folders: tuple[Path, Path]) -> tuple[str, str]:
    """The page's names of the two judges."""
    return f"A: {page.run_name(folders[0])}", f"B: {page.run_name(folders[1])}"


def _found_by(kinds: dict[cards.Item, Kind], card: Card) -> list[str]:
    kind = kinds[(card.id, card.order)]
    return [kind, "invalid"] if any(answer.verdict is None for answer in card.answers) else [kind]


def _reach(found: dict[str, Comparison]) -> float:
    """The axis of the differences goes from minus this to plus this, so that all intervals fit: a multiple of 5 per
    cent.
    """
    ends = [abs(end) for m in found.values() for end in (m.headline.between.ci95 or [m.headline.between.difference])]
    return max(0.05, -(-max(ends, default=0.0) // 0.05) * 0.05)
