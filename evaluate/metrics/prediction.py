"""One answer of a judge, as predictions.jsonl records it; and what several answers to one item come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import ConfigDict, Field

from mtrl.config.kinds import INVALID, is_pair
from mtrl.config.samples import Key, Order
from mtrl.reward_plugins import judge

Fraction = Annotated[float, Field(ge=0, le=1, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A line of predictions.jsonl. Fields with a default are missing in lines that an older mtrl wrote."""

    __pydantic_config__ = ConfigDict(allow_inf_nan=False)

    id: str
    """The sample's id."""
    task: str
    """The task's name."""
    order: Order
    """In which order the images of a pair were shown."""
    vote: Annotated[int, Field(ge=0, strict=True)]
    """Which of the votes on this item and order it is, from 0."""
    response: str
    """The judge's text."""
    verdict: str | None
    """The strict parse of the response; None where it is invalid."""
    lenient: str | None
    """The lenient parse of the response."""
    label: str
    """The right verdict for this order."""
    variant: str = ""
    """What `mtrl probe` changed in the request, such as "blur-2"; "" where nothing is."""
    cluster: str = ""
    """Samples with the same cluster are not independent, see groups.py; "" where it is not recorded."""
    prompt_sha256: str | None = None
    """The template it was asked with."""
    confidence: Fraction | None = None
    """Of the strict verdict, see engines/confidence.py; None where it is not known."""
    probabilities: dict[str, Fraction] | None = None
    """Of each choice, for a task with more than two; None where it is not known."""
    group: str = ""
    """What the sample comes from, such as a prompt."""
    score: Annotated[float, Field(strict=True)] | None = None
    """The release's own number for the sample, such as a mean opinion score."""
    annotators: dict[str, str] = field(default_factory=dict)
    """Where several labelled the sample, the verdict of each by name, for this order."""
    tokens: Annotated[int, Field(strict=True)] = 0
    """Number of generated tokens."""
    finish_reason: str = ""
    """The engine's "stop" or "length", or "rejected: why"."""
    latency: Annotated[float, Field(strict=True)] = 0.0
    """Seconds from asking to the last token."""

    @property
    def key(self) -> Key:
        return Key(self.task, self.id, self.order, self.vote, self.variant)

    @property
    def unit(self) -> str:
        """What an interval resamples: the cluster, or the item itself where none is recorded."""
        return self.cluster or self.id

    @property
    def correct(self) -> bool:
        return self.verdict == self.label

    def graded(self, choices: tuple[str, ...]) -> float | None:
        """The judge's answer as a number: P(the first of two choices), or the expected score of a scale, or for a pair
        with ties P(1) + P(tie) / 2. None for other choices, and where the confidence is not known."""
        if len(choices) == 2:
            sure = self.confidence
            return sure if sure is None or self.verdict == choices[0] else 1 - sure
        if not self.probabilities:
            return None
        if judge.is_scale(choices):
            return sum(int(choice) * share for choice, share in self.probabilities.items())
        return self.probabilities["1"] + self.probabilities[judge.TIE] / 2 if is_pair(choices) else None


@dataclass(frozen=True, slots=True)
class Voted:
    """What a judge answered to one item in one order: the majority of its votes."""

    id: str
    """The sample's id."""
    order: Order
    """In which order the images of a pair were shown."""
    label: str
    """The right verdict for this order."""
    verdict: str
    """One of the task's verdicts, or INVALID."""
    cluster: str = ""
    """As in Prediction."""

    @property
    def unit(self) -> str:
        """As in Prediction."""
        return self.cluster or self.id

    @property
    def correct(self) -> bool:
        return self.verdict == self.label


def voted(rows: Iterable[Prediction], lenient: bool = False) -> list[Voted]:
    """One per item and order, in order of the first votes. A tie goes to the earlier vote. `lenient`: of that parse."""
    rows = sorted(rows, key=lambda row: row.vote)
    if not rows or rows[-1].vote == 0:  # one vote each, as nearly always: without a list per item
        return [
            Voted(r.id, r.order, r.label, (r.lenient if lenient else r.verdict) or INVALID, r.cluster) for r in rows
        ]
    votes: dict[tuple[str, Order], list[Prediction]] = {}
    for row in rows:
        votes.setdefault((row.id, row.order), []).append(row)
    found = []
    for (name, order), group in votes.items():
        verdicts = Counter((row.lenient if lenient else row.verdict) or INVALID for row in group)
        found.append(Voted(name, order, group[0].label, verdicts.most_common(1)[0][0], group[0].cluster))
    return found
