"""Pairs decided from single answers: a judge that is asked about one image at a time, and the two values compared.

The line of order "given" is about the first image of the pair, that of "turned" about the second. The value of an
answer is `Prediction.graded`: P(yes), or the expected score. The image with the better value is the pair's verdict, so
the order of the images plays no part.

A pair has no verdict, and so counts as wrong, where an answer has no value, or both values are equal. ImageReward's own
test counts equal values as wrong too; half a point for them, as others give, would be a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mtrl.config.kinds import OTHER, Pointwise
from mtrl.core.schema import Stored
from mtrl.evaluate.metrics.prediction import Fraction, Prediction
from mtrl.reward_plugins import judge

EQUAL, UNKNOWN = "both values are equal", "an answer has no value: invalid, or without its log-probabilities"


class FromScores(Stored):
    """How the pairs of a task were decided from single answers."""

    pointwise: Pointwise
    """What was asked about each image."""
    equal: Fraction
    """Pairs whose two values are equal."""
    unknown: Fraction
    """Pairs with an answer that has no value."""


def better_first(choices: tuple[str, ...], asked: Pointwise) -> tuple[str, str]:
    """The verdicts at the two ends: the one that the better image of a pair should have, and the other."""
    high, low = (choices[-1], choices[0]) if judge.is_scale(choices) else (choices[0], choices[1])
    return (high, low) if asked.better == "higher" else (low, high)


def decided(rows: Sequence[Prediction], choices: tuple[str, ...], asked: Pointwise) -> list[Prediction]:
    """One per pair and vote whose two images were both asked; verdict and label are 1 or 2, in the given order.

    `rows` are one task's, and `choices` those of the pointwise task. `finish_reason` says why there is no verdict.
    """
    best, _ = better_first(choices, asked)
    by_pair: dict[tuple[str, int], dict[str, Prediction]] = {}
    for row in rows:
        by_pair.setdefault((row.id, row.vote), {})[row.order] = row
    found = []
    for both in by_pair.values():
        if len(both) < 2:
            continue
        first, second = both["given"], both["turned"]
        a, b = first.graded(choices), second.graded(choices)
        verdict, why = None, UNKNOWN
        if a is not None and b is not None:
            higher = "1" if a > b else "2"
            verdict = None if a == b else higher if asked.better == "higher" else OTHER[higher]
            why = "" if verdict else EQUAL
        said = f"first image: {_said(first, a)}\nsecond image: {_said(second, b)}"
        of_pair = replace(first, verdict=verdict, lenient=verdict, response=said, finish_reason=why)
        annotators = {name: "1" if word == best else "2" for name, word in first.annotators.items()}
        of_pair = replace(of_pair, label="1" if first.label == best else "2", annotators=annotators)
        found.append(
            replace(of_pair, confidence=None, probabilities=None, score=None, tokens=first.tokens + second.tokens)
        )
    return found


def how(pairs: Sequence[Prediction], asked: Pointwise) -> FromScores:
    """`pairs`: of `decided`, at least one."""
    reasons = [pair.finish_reason for pair in pairs]
    return FromScores(
        pointwise=asked, equal=reasons.count(EQUAL) / len(pairs), unknown=reasons.count(UNKNOWN) / len(pairs)
    )


def _said(row: Prediction, value: float | None) -> str:
    return f"{row.response.strip()} ({'no value' if value is None else f'value {value:.6g}'})"
