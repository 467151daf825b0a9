"""The numbers of a report in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping

from mtrl.evaluate.html.charts import percent
from mtrl.evaluate.metrics.score import Score
from mtrl.evaluate.metrics.task import TaskMetrics


def overall(metrics: Mapping[str, TaskMetrics]) -> str:
    """On which tasks the judge is better than a constant answer; "" where no task has an interval. Without the score
    tasks, whose numbers a constant answer does not have."""
    found: dict[str, list[str]] = {"better": [], "not clearly better": [], "worse": []}
    for name, one in metrics.items():
        if one.one_class or one.score or not one.macro_f1_ci95:
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
    if one.score:
        return f"{counts} {_of_score(one.score)}"
    between = "" if one.macro_f1_ci95 is None else " (95% interval {} to {})".format(*map(percent, one.macro_f1_ci95))
    baseline = one.baselines["majority"].macro_f1
    return (
        f"{counts} Macro-F1 is {percent(one.macro_f1)}{between}; always giving the most frequent label would get"
        f" {percent(baseline)}."
    )


def _of_score(score: Score) -> str:
    srcc, mae = score.srcc, score.mae
    if mae.value is None:
        return "No answer is valid, so there is no SRCC."
    off = f"On average, a valid verdict is {mae.value:.2f} away from its label."
    if srcc.value is None:
        return f"{off} SRCC is not defined: all labels or all verdicts are the same, or there are too few."
    between = "" if srcc.ci95 is None else " (95% interval {:.3f} to {:.3f})".format(*srcc.ci95)
    worst = "" if srcc.worst is None or srcc.worst == srcc.value else f", and {srcc.worst:.3f} at worst"
    return f"{off} SRCC is {srcc.value:.3f}{between}{worst}."
