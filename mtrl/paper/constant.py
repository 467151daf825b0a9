"""What a constant answer gets on the test splits: the rows "majority class" and "always first" below Tables 2 and 3."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mtrl.config import datacard, samples
from mtrl.config.kinds import OTHER
from mtrl.evaluate.metrics.classification import baselines
from mtrl.paper.scored import Scored
from mtrl.paper.shown import Constant
from mtrl.reward_plugins.judge import PAIRWISE, POINTWISE


def lines(columns: list[str], numbers: list[Scored], data: Path) -> dict[str, list[Constant | str]]:
    """Name -> one cell per column; "-" where the answer makes no sense for the task, or no label is known."""
    labels = {task: _labels(task, data, [one for one in numbers if one.task == task]) for task in columns}
    released = {task: _released(task, data) for task in columns}
    return {
        "majority class": [_constant(labels[task], "majority") for task in columns],
        "always first": [_constant(labels[task], "always_first") for task in columns],
        "always first, as released": [_constant(released[task], "always_first") for task in columns],
    }


def _labels(task: str, data: Path, evaluated: list[Scored]) -> Counter[str]:
    """How often each verdict is right in the test split: of an evaluation that holds, else of the converted data."""
    holds = [one for one in evaluated if not one.marks]
    card = datacard.path_of(data, task)
    if holds or (evaluated and not card.exists()):
        confusion = (holds or evaluated)[0].numbers.confusion
        return Counter({label: sum(counts.values()) for label, counts in confusion.items()})
    return Counter(datacard.read(data, task).counts.get("test", {})) if card.exists() else Counter()


def _released(task: str, data: Path) -> Counter[str]:
    """How often each verdict would be right in the release's own order of the pairs; empty where that is not known."""
    if not samples.path_of(data, task, "test").exists():
        return Counter()
    pairs = [sample for sample in samples.read(data, task, "test") if sample.kind == "pairwise"]
    return Counter(OTHER[pair.answer] if pair.source.get("swapped") else pair.answer for pair in pairs)


def _constant(labels: Counter[str], name: str) -> Constant | str:
    choices = PAIRWISE if set(PAIRWISE) & set(labels) else POINTWISE  # the paper's tasks have no other verdicts
    found = baselines(labels, choices).get(name) if labels else None
    return Constant(100 * found.macro_f1, 100 * found.accuracy) if found else "-"
