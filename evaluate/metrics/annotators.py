"""How well annotators do what the judge does: the human ceiling, and the judge next to it.

Each annotator's verdicts are compared with what the other annotators say of the same items: their majority, of a scale
their mean as a whole number. The judge is compared with the very same, item by item, so both are measured alike; its
headline number, which is against all annotators, is not. The numbers are of all such pairs of annotator and item
together. Items without a majority were left out by the conversion, and pairs whose others tie are left out here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pydantic import PositiveInt

from mtrl.config.kinds import INVALID
from mtrl.config.majority import agreed
from mtrl.core.schema import Stored
from mtrl.evaluate.metrics.alt_test import AltTest, alt_test
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
    """Pairs of annotator and item."""
    human: Side
    """The human ceiling."""
    judge: Side
    difference: Estimate
    """Judge less human, of the headline number."""
    by_name: dict[str, Annotator]
    alt_test: AltTest


class Pair(NamedTuple):
    """An annotator and the judge on one item; `label` of both is what the other annotators say."""

    human: Voted
    judge: Voted


def annotators(rows: Sequence[Prediction], choices: tuple[str, ...]) -> Annotators | None:
    """`rows`: one task's, in one order. None where there is nothing to compare."""
    verdicts = {row.id: row.annotators for row in rows if row.annotators}
    items = [item for item in voted(rows) if item.id in verdicts]
    by_name: dict[str, list[Pair]] = {}
    for item in items:
        for name, pair in _pairs(item, verdicts[item.id], choices):
            by_name.setdefault(name, []).append(pair)
    pairs = [pair for its in by_name.values() for pair in its]
    if not pairs:
        return None
    human, judge = [pair.human for pair in pairs], [pair.judge for pair in pairs]
    drawn = resampled([human, judge], [item.unit for item in human], choices, _of_scale if is_scale(choices) else _both)
    a, b = _headline(human, choices), _headline(judge, choices)
    less = None if a is None or b is None else b - a
    one, other, between = [None] * 3 if drawn is None else drawn
    return Annotators(
        n=len(pairs),
        human=Side(headline=estimate(a, one), accuracy=_accuracy(human)),
        judge=Side(headline=estimate(b, other), accuracy=_accuracy(judge)),
        difference=estimate(less, between),
        by_name={
            name: Annotator(
                n=len(its),
                human=_headline([pair.human for pair in its], choices),
                judge=_headline([pair.judge for pair in its], choices),
            )
            for name, its in sorted(by_name.items())
        },
        alt_test=alt_test(
            {item.id: item.verdict for item in items},
            {name: {i: its[name] for i, its in verdicts.items() if name in its} for name in sorted(by_name)},
            choices,
            {item.id: item.unit for item in items},
        ),
    )


def _pairs(item: Voted, verdicts: dict[str, str], choices: tuple[str, ...]) -> Iterator[tuple[str, Pair]]:
    """By annotator."""
    if is_scale(choices) and item.verdict == INVALID:
        return
    for name, verdict in verdicts.items():
        label = agreed([said for other, said in verdicts.items() if other != name], choices)
        if label is not None:
            yield name, Pair(replace(item, label=label, verdict=verdict), replace(item, label=label))


def _headline(items: Sequence[Voted], choices: tuple[str, ...]) -> float | None:
    counts = table(items, choices)
    if is_scale(choices):
        return values_of(counts)["srcc"]
    return float(macro_f1(counts[..., None])[0]) if len({item.label for item in items}) > 1 else None


def _accuracy(items: Sequence[Voted]) -> float:
    return sum(item.correct for item in items) / len(items)


def _both(human: Any, judge: Any, of: Callable[[Any], Any] = macro_f1) -> Any:
    import numpy as np

    a, b = of(human), of(judge)
    return np.stack([a, b, b - a])


def _of_scale(human: Any, judge: Any) -> Any:
    return _both(human, judge, srcc)
