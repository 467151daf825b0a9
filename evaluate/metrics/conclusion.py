"""One sentence about two judges: which is better, by how much, and how certain that is. Numbers are paired.py's."""

from __future__ import annotations

from mtrl.evaluate.metrics import intervals
from mtrl.evaluate.metrics.paired import Comparison, Difference


def sentence(found: dict[str, Comparison], sides: tuple[str, str]) -> str:
    """`found` is by task, `sides` are the names of A and B.

    A difference is clear where its 95% interval excludes 0. Without an interval (one cluster) no difference is.
    """
    a, b = sides
    rated = {task: numbers for task, numbers in found.items() if not numbers.one_class}
    if not rated:
        points = ", ".join(f"{100 * m.accuracy.difference:+.1f} points on {task}" for task, m in found.items())
        return f"Macro-F1 cannot compare {a} and {b}, since all labels are the same; accuracy, B - A: {points}."
    if len(rated) == 1:
        return _of_one(*next(iter(rated.items())), sides)
    mean = sum(m.macro_f1.difference for m in rated.values()) / len(rated)
    average = f"on average over {len(rated)} tasks"
    clear = [[task + _rough(m) for task, m in rated.items() if _clear(m.macro_f1) == side] for side in (-1, 1)]
    for side in (0, 1):
        if clear[side] and not clear[1 - side]:
            direction = "higher" if (mean > 0 if side else mean < 0) else "lower"
            return (
                f"{sides[side]} is better than {sides[1 - side]} on {_listed(clear[side])}, where the 95% interval of"
                f" the difference excludes 0, and on no task clearly worse; {average} its Macro-F1 is"
                f" {_points(abs(mean))} {direction}."
            )
    if clear[0]:
        return (
            f"Neither is better on all tasks: {a} is clearly better on {_listed(clear[0])}, {b} on {_listed(clear[1])}"
            f" (95% intervals that exclude 0); {average} {_mean(mean, sides)}."
        )
    return (
        f"No clear difference between {a} and {b}: on none of the {len(rated)} tasks does the 95% interval of the"
        f" difference exclude 0; {average} {_mean(mean, sides)}."
    )


def _of_one(task: str, numbers: Comparison, sides: tuple[str, str]) -> str:
    a, b = sides
    difference, interval, rough = numbers.macro_f1.difference, numbers.macro_f1.ci95, _rough(numbers)
    if interval is None:
        return (
            f"Which of {a} and {b} is better is not known: {_mean(difference, sides)} on {task}, but all samples are in"
            " one cluster, so there is no interval."
        )
    if _clear(numbers.macro_f1):
        better, worse = (b, a) if difference > 0 else (a, b)
        low, high = sorted(abs(bound) for bound in interval)
        return (
            f"{better} is better than {worse}: its Macro-F1 on {task} is {_points(abs(difference))} higher, with a 95%"
            f" interval from {100 * low:.1f} to {100 * high:.1f} points{rough}, which excludes 0: chance alone would"
            " seldom cause such a difference."
        )
    signed = "{:+.1f} to {:+.1f}".format(*(100 * bound for bound in interval))
    return (
        f"No clear difference between {a} and {b}: {_mean(difference, sides)} on {task}, but the 95% interval of B - A,"
        f" {signed} points{rough}, includes 0."
    )


def _clear(macro_f1: Difference) -> int:
    """1 where B is clearly better, -1 where A is, else 0."""
    interval = macro_f1.ci95
    if interval is None or interval[0] <= 0 <= interval[1]:
        return 0
    return 1 if interval[0] > 0 else -1


def _rough(numbers: Comparison) -> str:
    few = numbers.clusters < min(intervals.FEW, numbers.n)
    return f" (a rough interval, from {numbers.clusters} clusters)" if few else ""


def _mean(difference: float, sides: tuple[str, str]) -> str:
    if not difference:
        return "both have the same Macro-F1"
    return f"{sides[difference > 0]} has the higher Macro-F1, by {_points(abs(difference))}"


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"


def _listed(tasks: list[str]) -> str:
    return tasks[0] if len(tasks) == 1 else f"{', '.join(tasks[:-1])} and {tasks[-1]}"
