"""The numbers of one task from its predictions, and from nothing else. Rates are fractions, not per cent.

Of a pair, the headline numbers are of the seeded order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, PositiveInt

from mtrl.config.datacard import Agreement
from mtrl.config.samples import SplitName
from mtrl.core.schema import Stored
from mtrl.evaluate.metrics.annotators import Annotators, annotators
from mtrl.evaluate.metrics.calibration import Calibration, calibration
from mtrl.evaluate.metrics.classification import (
    Baseline,
    Classification,
    Interval,
    baselines,
    classification,
    macro_f1,
    resampled,
    table,
)
from mtrl.evaluate.metrics.from_scores import FromScores
from mtrl.evaluate.metrics.graded import Graded, graded, items_of
from mtrl.evaluate.metrics.intervals import estimate
from mtrl.evaluate.metrics.pairwise import Pairwise, pairwise
from mtrl.evaluate.metrics.prediction import Fraction, Prediction, voted
from mtrl.evaluate.metrics.score import Score, numbers, score
from mtrl.reward_plugins.judge import is_scale

SCHEMA = 2  # of metrics.json; 1 had `f1` in place of `per_class`, and intervals that knew no clusters


class Lenient(Stored):
    """The numbers of the lenient parse."""

    macro_f1: Fraction
    invalid_rate: Fraction


class VotesPoint(Stored):
    """The numbers of the majority of the first `votes` votes."""

    votes: PositiveInt
    macro_f1: Fraction
    invalid_rate: Fraction


class TaskMetrics(Classification):
    """One task in metrics.json: its numbers, and what they are of.

    What an older mtrl did not record is None. `of_task` leaves out what follows `pairwise`.
    """

    clusters: PositiveInt
    """Clusters of items that are not independent, see groups.py."""
    macro_f1_ci95: Interval | None
    """95% interval by resampling clusters; None where there is only one."""
    lenient: Lenient
    """The lenient parse."""
    one_class: str | None = None
    """The label, where all items have the same one: Macro-F1 is meaningless then."""
    baselines: dict[str, Baseline]
    """What constant answers get, by name."""
    calibration: Calibration | None
    """None where no answer has a confidence."""
    votes_curve: list[VotesPoint] | None
    """For 1 vote up to all of them; None where each item was asked once."""
    score: Score | None = None
    """Only of a score task: verdicts and labels as numbers."""
    graded: Graded | None = None
    """None where no answer has a confidence, or there is nothing to compare it with."""
    pairwise: Pairwise | None = None
    """Only in the file where pairs were asked in both orders."""
    from_scores: FromScores | None = None
    """Only in the file where pairs were decided from single answers."""
    annotators: Annotators | None = None
    """Only in the file where samples have verdicts of several annotators."""
    agreement: Agreement | None = None
    """Of the annotators of the whole release; only in the file where there are several."""
    split: SplitName = "test"
    """The split that was asked."""
    limit: PositiveInt | None = None
    """The `--limit` of the evaluation: only the first samples were asked."""
    conversion_limit: PositiveInt | None = None
    """The `--limit` of the conversion: only a part of the release was converted."""
    samples_sha256: str | None = None
    """Of the samples file that was asked."""
    prompt_sha256: str | None = None
    """Of the template that was asked with."""
    answered: Annotated[float, Field(ge=0)] | None = None
    """When the last answer was generated, in seconds since 1970."""


def of_task(rows: Sequence[Prediction], choices: tuple[str, ...]) -> TaskMetrics:
    """All numbers of one task; `rows` hold at least one answer in the given order."""
    items = voted(rows)
    given = [item for item in items if item.order == "given"]
    lenient = classification([item for item in voted(rows, lenient=True) if item.order == "given"], choices)
    labels = Counter(item.label for item in given)
    scale = is_scale(choices)
    drawn = resampled([given], [item.unit for item in given], choices, _of_scale if scale else macro_f1)
    whole = classification(given, choices)
    found = TaskMetrics(
        **dict(whole),
        clusters=len({item.unit for item in given}),
        macro_f1_ci95=estimate(whole.macro_f1, drawn[-1] if scale and drawn is not None else drawn).ci95,
        lenient=Lenient(macro_f1=lenient.macro_f1, invalid_rate=lenient.invalid_rate),
        one_class=next(iter(labels)) if len(labels) == 1 else None,
        baselines=baselines(labels, choices),
        calibration=calibration(rows, choices),
        votes_curve=votes_curve(rows, choices),
        score=score(table(given, choices), drawn) if scale else None,
        graded=graded(items_of(rows, choices)),
    )
    both = any(item.order == "turned" for item in items)
    people = annotators([row for row in rows if row.order == "given"], choices)
    of = {"pairwise": pairwise(items) if both else None, "annotators": people}
    return found.model_copy(update={name: value for name, value in of.items() if value is not None})


def _of_scale(counts: Any) -> Any:
    """The numbers of a scale, then Macro-F1: one draw is of all of them."""
    import numpy as np

    return np.stack([*numbers(counts), macro_f1(counts)])


def votes_curve(rows: Sequence[Prediction], choices: tuple[str, ...]) -> list[VotesPoint] | None:
    """The majority of the first k votes, for k = 1 to all; None for one vote. Of the given order.

    Votes are drawn alike, so the first k are as good as any k of them; the curve is one such draw, not a mean.
    """
    last = max(row.vote for row in rows)
    if last == 0:
        return None
    given = [row for row in rows if row.order == "given"]
    curve = []
    for k in range(1, last + 2):
        found = classification(voted(row for row in given if row.vote < k), choices)
        curve.append(VotesPoint(votes=k, macro_f1=found.macro_f1, invalid_rate=found.invalid_rate))
    return curve
