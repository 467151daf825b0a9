"""What asking a pair in both orders says. All numbers are of pairs whose two orders were both asked; fractions.

A tie is a pair whose two orders contradict each other: both times the first image, or both times the second. An invalid
answer makes no tie; it is wrong, and its pair is never dropped.
"""

from __future__ import annotations

from typing import Any

from mtrl.config.tasks import INVALID


def pairwise(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Of one row a pair and order:

    pairs                   asked in both orders
    consistent_accuracy     right in both orders
    accuracy_both_orders    right answers of all answers; always naming the first image gives 0.5
    accuracy_with_ties      right in both orders, of all pairs: MJ-Bench's rule, where a tie is wrong (its notebook
                            personal/tools.ipynb); with two orders that is consistent_accuracy, under the name known there
    accuracy_without_ties   right in both orders, of the pairs that are no tie; null where all are ties
    flip_rate               ties, of the pairs with two valid answers
    first_position_rate     the first image shown was named, of the valid answers
    """
    pairs: dict[str, dict[str, dict[str, Any]]] = {}
    for row in items:
        pairs.setdefault(row["id"], {})[row["order"]] = row
    both = [(pair["given"], pair["turned"]) for pair in pairs.values() if len(pair) == 2]
    valid = [(a, b) for a, b in both if INVALID not in (a["verdict"], b["verdict"])]
    ties = sum(a["verdict"] == b["verdict"] for a, b in valid)
    right = [sum(row["verdict"] == row["label"] for row in pair) for pair in both]
    named = [row["verdict"] for pair in both for row in pair if row["verdict"] != INVALID]
    consistent = right.count(2) / max(1, len(both))
    return {
        "pairs": len(both),
        "consistent_accuracy": consistent,
        "accuracy_both_orders": sum(right) / max(1, 2 * len(both)),
        "accuracy_with_ties": consistent,
        "accuracy_without_ties": right.count(2) / (len(both) - ties) if len(both) > ties else None,
        "flip_rate": ties / max(1, len(valid)),
        "first_position_rate": named.count("1") / max(1, len(named)),
    }
