"""The official number of EditReward-Bench (TIGER-Lab) for groups of 3 and 4 edits, from our predictions.

As inference_3pair_hf.py of TIGER-AI-Lab/EditReward counts: the share of groups whose pairs are all there and all right.
Each pair is asked once, in one order; an answer that cannot be read is wrong. Of two edits a group is one pair, and the
number is the accuracy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from mtrl.evaluate.metrics.prediction import Prediction


class Official(NamedTuple):
    """The number of one task."""

    right: int
    """Groups that are right."""
    groups: int
    """Groups with an answer."""

    @property
    def accuracy(self) -> float | None:
        """The official number, as a fraction; None without a group."""
        return self.right / self.groups if self.groups else None


def official(rows: Iterable[Prediction], ways: int) -> Official:
    """`rows`: the predictions of the task of `ways` edits per group; the given order and the first vote count."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        if row.order == "given" and row.vote == 0:
            groups[row.group].append(row.correct)
    pairs = ways * (ways - 1) // 2
    return Official(sum(len(group) == pairs and all(group) for group in groups.values()), len(groups))
