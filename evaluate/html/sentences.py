"""The numbers of a report in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping

from mtrl.evaluate.html.charts import percent
from mtrl.evaluate.metrics.task import TaskMetrics


def overall(metrics: Mapping[str, TaskMetrics]) -> str:
    """On which tasks the judge is better than a constant answer; "" where no task has an interval."""
    found: dict[str, list[str]] = {"better": [], "not clearly better": [], "worse": []}
    for name, one in metrics.items():
        if one.one_class or not one.macro_f1_ci95:
            continue
        low, high = one.macro_f1_ci95
        baseline = one.baselines["majority"].macro_f1
        found["better" if low > baseline else "worse" if high < baseline else "not clearly better"].append(name)
    said = ""
    for word, names in found.items():
        if names:
            than = "" if said else " than always giving the most frequent label"
            said += f"{'; ' if said else ''}{word}{than} on {', '.join(names)}"
    return f"This judge is {said} (Macro-F1, by its 95% interval)." if said else ""


def of_task(one: TaskMetrics) -> str:
    """One task's headline numbers."""
    right, invalid = round(one.accuracy * one.n), round(one.invalid_rate * one.n)
    read = f"; {invalid:,} answers could not be read and count as wrong" if invalid else ""
    counts = f"{right:,} of {one.n:,} verdicts are right (accuracy {percent(one.accuracy)}){read}."
    if one.one_class:
        return f"{counts} All labels are {one.one_class}, so Macro-F1 has no meaning here."
    between = "" if one.macro_f1_ci95 is None else " (95% interval {} to {})".format(*map(percent, one.macro_f1_ci95))
    baseline = one.baselines["majority"].macro_f1
    return (
        f"{counts} Macro-F1 is {percent(one.macro_f1)}{between}; always giving the most frequent label would get"
        f" {percent(baseline)}."
    )
