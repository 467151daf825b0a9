"""What asking a pair in both orders shows. Rates are fractions, of pairs whose two orders were both asked.

A flip is a pair whose two answers contradict each other, such as both times the first. MJ-Bench calls it a tie; the
verdict "tie" of a task with ties is none if it is given in both orders. An invalid answer makes no flip; it is wrong,
and its pair is never dropped.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import NonNegativeInt

from mtrl.config.kinds import INVALID, OTHER
from mtrl.config.samples import Order
from mtrl.core.schema import Stored
from mtrl.evaluate.metrics.prediction import Fraction, Voted
from mtrl.reward_plugins.judge import PAIRWISE


class Pairwise(Stored):
    """Pairs in both orders."""

    pairs: NonNegativeInt
    """Pairs asked in both orders."""
    consistent_accuracy: Fraction
    """Right in both orders."""
    accuracy_both_orders: Fraction
    """Right answers, of all answers; always choosing the first gives 0.5 where no label is a tie."""
    accuracy_with_ties: Fraction
    """Right in both orders, of all pairs: MJ-Bench's rule, where a flip is wrong (its notebook personal/tools.ipynb).

    With two orders that is `consistent_accuracy`, under the name it is known by there.
    """
    accuracy_without_ties: Fraction | None
    """Right in both orders, of the pairs that are no flip; None where all are flips."""
    flip_rate: Fraction | None
    """Flips, of the pairs with two valid answers; None without one."""
    first_position_rate: Fraction | None
    """Answers that choose the first of the two, of those that choose one (a tie does not); None without one."""


def pairwise(items: Iterable[Voted]) -> Pairwise:
    pairs: dict[str, dict[Order, Voted]] = {}
    for item in items:
        pairs.setdefault(item.id, {})[item.order] = item
    both = [(pair["given"], pair["turned"]) for pair in pairs.values() if len(pair) == 2]
    valid = [(a, b) for a, b in both if INVALID not in (a.verdict, b.verdict)]
    flips = sum(a.verdict != OTHER[b.verdict] for a, b in valid)
    right = [a.correct + b.correct for a, b in both]
    chosen = [item.verdict for pair in both for item in pair if item.verdict in PAIRWISE]
    consistent = right.count(2) / max(1, len(both))
    return Pairwise(
        pairs=len(both),
        consistent_accuracy=consistent,
        accuracy_both_orders=sum(right) / max(1, 2 * len(both)),
        accuracy_with_ties=consistent,
        accuracy_without_ties=right.count(2) / (len(both) - flips) if len(both) > flips else None,
        flip_rate=flips / len(valid) if valid else None,
        first_position_rate=chosen.count(PAIRWISE[0]) / len(chosen) if chosen else None,
    )
