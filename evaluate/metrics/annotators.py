"""How well annotators do what the judge does: the human ceiling, and the judge next to it.

Each annotator's verdicts are compared with what the other annotators say of the same items: their majority, of a scale
their mean as a whole number. The judge is compared with the very same, item by item, so both are measured alike; its
headline number, which is against all annotators, is not. The numbers are of all such pairs of annotator and item.

The conversion left out the items on which annotators tie. Where an annotator's verdict could make a tie, the item is
here only if it did not, mostly when the annotator agrees. Counting such pairs would make the ceiling too high (with
two labels per item: 100%), so they are not compared.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pydantic import NonNegativeInt, PositiveInt

from mtrl.config.kinds import INVALID
from mtrl.config.majority import agreed, majority
from mtrl.core.schema import Stored
from mtrl.evaluate.metrics.alt_test import AltTest, Pair, alt_test
from mtrl.evaluate.metrics.classification import macro_f1, resampled, table
from mtrl.evaluate.metrics.intervals import Estimate, estimate
from mtrl.evaluate.metrics.prediction import Fraction, Prediction, Voted, voted
from mtrl.evaluate.metrics.score import srcc, values_of
from mtrl.reward_plugins.judge import is_scale


class Side(Stored):
    """One side's verdicts against those of the other annotators."""

    headline: Estimate
    """Macro-F1, or SRCC of a scale; its value is None where what the others say is all one verdict."""
    accuracy: Fraction


class Annotator(Stored):
    """One annotator, and the judge on the same items."""

    n: PositiveInt
    """Items that this annotator and others labelled, and the others do not tie."""
    human: float | None
    """The headline number of Side."""
    judge: float | None


class Annotators(Stored):
    """Annotators and judge on one task. Of a scale, only items to which the judge's answer is valid."""

    n: PositiveInt
    """Pairs of annotator and item, without those whose others tie."""
    left_out: NonNegativeInt
    """Labels that are not compared, since with another label of the annotator the item would have been a tie."""
    human: Side
    """The human ceiling."""
    judge: Side
    difference: Estimate
    """Judge less human, of the headline number."""
    by_name: dict[str, Annotator]
    alt_test: AltTest


class Sides(NamedTuple):
    """An annotator and the judge on one item; `label` of both is what the other annotators say."""

    human: Voted
    judge: Voted


def annotators(rows: Sequence[Prediction], choices: tuple[str, ...]) -> Annotators | None:
    """`rows`: one task's, in one order. None where there is nothing to compare."""
    verdicts = {row.id: row.annotators for row in rows if row.annotators}
    pairs = [(item, pair) for item in voted(rows) for pair in _pairs(item, verdicts.get(item.id, {}), choices)]
    free = [(item, pair) for item, pair in pairs if is_scale(choices) or _free(tuple(sorted(pair.others)), choices)]
    by_name: dict[str, list[Sides]] = {}
    for item, pair in sorted(free, key=lambda both: both[1].annotator):
        if (label := agreed(pair.others, choices)) is not None:
            sides = Sides(replace(item, label=label, verdict=pair.human), replace(item, label=label))
            by_name.setdefault(pair.annotator, []).append(sides)
    human = [sides.human for its in by_name.values() for sides in its]
    judge = [sides.judge for its in by_name.values() for sides in its]
    if not human:
        return None
    of = functools.partial(_both, srcc if is_scale(choices) else macro_f1)
    drawn = resampled([human, judge], [item.unit for item in human], choices, of)
    a, b = _headline(human, choices), _headline(judge, choices)
    less = None if a is None or b is None else b - a
    one, other, between = [None] * 3 if drawn is None else drawn
    return Annotators(
        n=len(human),
        left_out=len(pairs) - len(free),
        human=Side(headline=estimate(a, one), accuracy=_accuracy(human)),
        judge=Side(headline=estimate(b, other), accuracy=_accuracy(judge)),
        difference=estimate(less, between),
        by_name={
            name: Annotator(
                n=len(its),
                human=_headline([sides.human for sides in its], choices),
                judge=_headline([sides.judge for sides in its], choices),
            )
            for name, its in by_name.items()
        },
        alt_test=alt_test([pair for _, pair in free], choices),
    )


def _pairs(item: Voted, verdicts: dict[str, str], choices: tuple[str, ...]) -> Iterator[Pair]:
    if is_scale(choices) and item.verdict == INVALID:
        return
    for name, verdict in verdicts.items():
        if others := [said for other, said in verdicts.items() if other != name]:
            yield Pair(name, verdict, item.verdict, others, item.unit)


@functools.cache
def _free(others: tuple[str, ...], choices: tuple[str, ...]) -> bool:
    """Whether the item has a majority whatever one more annotator says."""
    return all(majority([*others, choice]) for choice in choices)


def _headline(items: Sequence[Voted], choices: tuple[str, ...]) -> float | None:
    counts = table(items, choices)
    if is_scale(choices):
        return values_of(counts)["srcc"]
    return float(macro_f1(counts[..., None])[0]) if len({item.label for item in items}) > 1 else None


def _accuracy(items: Sequence[Voted]) -> float:
    return sum(item.correct for item in items) / len(items)


def _both(of: Callable[[Any], Any], human: Any, judge: Any) -> Any:
    import numpy as np

    a, b = of(human), of(judge)
    return np.stack([a, b, b - a])
