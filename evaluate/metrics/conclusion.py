"""One sentence about two judges: which is better, by how much, and how certain that is. Numbers are paired.py's."""

from __future__ import annotations

from mtrl.evaluate.metrics import intervals
from mtrl.evaluate.metrics.paired import SRCC, Comparison, Headline


def sentence(found: dict[str, Comparison], sides: tuple[str, str]) -> str:
    """`found` is by task, `sides` are the names of A and B.

    A difference is clear where its 95% interval excludes 0. Without an interval (one cluster) no difference is. It is
    of Macro-F1, or of a score task's SRCC. A mean over the tasks is told where they all have the same of the two.
    """
    a, b = sides
    rated = {task: numbers for task, numbers in found.items() if not numbers.one_class}
    if not rated:
        points = ", ".join(f"{100 * m.accuracy.difference:+.1f} points on {task}" for task, m in found.items())
        return f"Macro-F1 cannot compare {a} and {b}, since all labels are the same; accuracy, B - A: {points}."
    if len(rated) == 1:
        return _of_one(*next(iter(rated.items())), sides)
    names = {m.headline.name for m in rated.values()}
    name = names.pop() if len(names) == 1 else ""
    mean = sum(m.headline.between.difference for m in rated.values()) / len(rated)
    average = f"; on average over {len(rated)} tasks"
    clear = [[task + _rough(m) for task, m in rated.items() if _clear(m.headline) == side] for side in (-1, 1)]
    for side in (0, 1):
        if clear[side] and not clear[1 - side]:
            direction = "higher" if (mean > 0 if side else mean < 0) else "lower"
            over = f"{average} its {name} is {_amount(name, abs(mean))} {direction}" if name else ""
            return (
                f"{sides[side]} is better than {sides[1 - side]} on {_listed(clear[side])}, where the 95% interval of"
                f" the difference excludes 0, and on no task clearly worse{over}."
            )
    over = f"{average} {_higher(name, mean, sides)}" if name else ""
    if clear[0]:
        return (
            f"Neither is better on all tasks: {a} is clearly better on {_listed(clear[0])}, {b} on {_listed(clear[1])}"
            f" (95% intervals that exclude 0){over}."
        )
    return (
        f"No clear difference between {a} and {b}: on none of the {len(rated)} tasks does the 95% interval of the"
        f" difference exclude 0{over}."
    )


def _of_one(task: str, numbers: Comparison, sides: tuple[str, str]) -> str:
    a, b = sides
    name, between = numbers.headline.name, numbers.headline.between
    difference, interval = between.difference, between.ci95
    higher, rough = _higher(name, difference, sides), _rough(numbers)
    if interval is None:
        why = "all samples are in one cluster" if numbers.clusters == 1 else f"many resamples have no {name}"
        return f"Which of {a} and {b} is better is not known: {higher} on {task}, but {why}, so there is no interval."
    if _clear(numbers.headline):
        better, worse = (b, a) if difference > 0 else (a, b)
        low, high = sorted(abs(bound) for bound in interval)
        return (
            f"{better} is better than {worse}: its {name} on {task} is {_amount(name, abs(difference))} higher, with a"
            f" 95% interval from {_amount(name, low, unit='')} to {_amount(name, high)}{rough}, which excludes 0:"
            " chance alone would seldom cause such a difference."
        )
    low, high = interval
    return (
        f"No clear difference between {a} and {b}: {higher} on {task}, but the 95% interval of B - A,"
        f" {_amount(name, low, '+', '')} to {_amount(name, high, '+')}{rough}, includes 0."
    )


def _clear(headline: Headline) -> int:
    """1 where B is clearly better, -1 where A is, else 0."""
    interval = headline.between.ci95
    if interval is None or interval[0] <= 0 <= interval[1]:
        return 0
    return 1 if interval[0] > 0 else -1


def _rough(numbers: Comparison) -> str:
    few = numbers.clusters < min(intervals.FEW, numbers.n)
    return f" (a rough interval, from {numbers.clusters} clusters)" if few else ""


def _higher(name: str, difference: float, sides: tuple[str, str]) -> str:
    if not difference:
        return f"both have the same {name}"
    return f"{sides[difference > 0]} has the higher {name}, by {_amount(name, abs(difference))}"


def _amount(name: str, value: float, sign: str = "", unit: str = " points") -> str:
    """Macro-F1 in points, SRCC as it is."""
    return f"{value:{sign}.3f}" if name == SRCC else f"{100 * value:{sign}.1f}{unit}"


def _listed(tasks: list[str]) -> str:
    return tasks[0] if len(tasks) == 1 else f"{', '.join(tasks[:-1])} and {tasks[-1]}"
