"""MMRB2's official number, from our predictions.

As compute_accuracy.py of facebookresearch/MMRB2 counts: the right share of the judgements that are there. Each order of
a pair is a judgement of its own, so a task has 2,000. An answer that cannot be read is no judgement: it leaves the
denominator, which our other numbers never do. A pair that was not asked, or asked in one order, lacks judgements too.
Of several votes the first one counts, since the official judge answers once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mtrl.evaluate.metrics.prediction import Prediction

JUDGEMENTS = 2000  # of a task: 1,000 pairs in both orders


class Official(NamedTuple):
    """The number of one task."""

    right: int
    """Judgements that are right."""
    judged: int
    """Judgements that are there."""

    @property
    def accuracy(self) -> float | None:
        """The official number, as a fraction; None where no judgement is there."""
        return self.right / self.judged if self.judged else None

    @property
    def missing(self) -> int:
        """Judgements of the task that are not there: the number is of fewer than the published ones."""
        return JUDGEMENTS - self.judged


def official(rows: Iterable[Prediction]) -> Official:
    """`rows`: the predictions of one task, in whatever orders it was asked."""
    judged = [row for row in rows if row.vote == 0 and row.verdict is not None]
    return Official(sum(row.correct for row in judged), len(judged))
