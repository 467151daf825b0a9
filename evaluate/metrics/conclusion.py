"""One sentence about two judges: which is better, by how much, and how certain that is. Numbers are paired.py's."""

from __future__ import annotations

from mtrl.evaluate.metrics import intervals
from mtrl.evaluate.metrics.paired import Comparison, Difference


def sentence(found: dict[str, Comparison], sides: tuple[str, str]) -> str:
    """`found` is by task, `sides` are the names of A and B.

    A difference is clear where its 95% interval leaves out 0. Without an interval (one cluster) nothing is certain.
    """
    rated = {task: numbers for task, numbers in found.items() if not numbers.one_class}
    if not rated:
        apart = ", ".join(f"{100 * m.accuracy.difference:+.1f} points on {task}" for task, m in found.items())
        return f"Macro-F1 cannot tell {sides[0]} and {sides[1]} apart, since all labels are the same; accuracy, B - A: {apart}."
    found = rated
    if len(found) == 1:
        ((task, numbers),) = found.items()
        return _of_one(task, numbers, sides)
    mean = sum(numbers.macro_f1.difference for numbers in found.values()) / len(found)
    clear = [[task + _rough(m) for task, m in found.items() if _clear(m.macro_f1) == side] for side in (-1, 1)]
    for side in (0, 1):
        if clear[side] and not clear[1 - side]:
            points = f"on average over {len(found)} tasks its Macro-F1 is {_points(abs(mean))} {'higher' if _ahead(mean, side) else 'lower'}"
            return (
                f"{sides[side]} is better than {sides[1 - side]} on {_listed(clear[side])}, where the 95% interval of the"
                f" difference leaves out 0, and on no task clearly worse; {points}."
            )
    if clear[0]:
        return (
            f"Neither is better throughout: {sides[0]} is clearly better on {_listed(clear[0])}, {sides[1]} on"
            f" {_listed(clear[1])} (95% intervals that leave out 0); on average over {len(found)} tasks {_mean(mean, sides)}."
        )
    return (
        f"No clear difference between {sides[0]} and {sides[1]}: on none of the {len(found)} tasks does the 95% interval of"
        f" the difference leave out 0; on average over them {_mean(mean, sides)}."
    )


def _of_one(task: str, numbers: Comparison, sides: tuple[str, str]) -> str:
    macro_f1, rough = numbers.macro_f1, _rough(numbers)
    difference, interval = macro_f1.difference, macro_f1.ci95
    better = sides[difference > 0], sides[difference <= 0]
    points = f"its Macro-F1 on {task} is {_points(abs(difference))} higher"
    if interval is None:
        return (
            f"Which of {sides[0]} and {sides[1]} is better cannot be told: {_mean(difference, sides)} on {task}, but all"
            " samples belong to one cluster, so there is no interval."
        )
    low, high = sorted(abs(bound) for bound in interval)
    if _clear(macro_f1):
        return (
            f"{better[0]} is better than {better[1]}: {points}, with a 95% interval from {100 * low:.1f} to {100 * high:.1f}"
            f" points{rough}, which leaves out 0: chance would seldom make such a difference."
        )
    signed = "{:+.1f} to {:+.1f}".format(*(100 * bound for bound in interval))
    return (
        f"No clear difference between {sides[0]} and {sides[1]}: {_mean(difference, sides)} on {task}, but the 95% interval"
        f" of B - A, {signed} points{rough}, holds 0."
    )


def _clear(macro_f1: Difference) -> int:
    """1 where B is clearly better, -1 where A is, else 0."""
    interval = macro_f1.ci95
    if interval is None or interval[0] <= 0 <= interval[1]:
        return 0
    return 1 if interval[0] > 0 else -1


def _rough(numbers: Comparison) -> str:
    few = numbers.clusters < min(intervals.FEW, numbers.n)
    return f" (a rough interval, of {numbers.clusters} clusters)" if few else ""


def _ahead(mean: float, side: int) -> bool:
    return mean > 0 if side else mean < 0


def _mean(difference: float, sides: tuple[str, str]) -> str:
    if not difference:
        return "both have the same Macro-F1"
    return f"{sides[difference > 0]} has the higher Macro-F1, by {_points(abs(difference))}"


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"


def _listed(tasks: list[str]) -> str:
    return tasks[0] if len(tasks) == 1 else f"{', '.join(tasks[:-1])} and {tasks[-1]}"
