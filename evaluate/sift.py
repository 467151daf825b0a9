"""A sift: how often a judge answers each training row right, from the K votes per row that `mtrl sift` asks for.

Its folder is an evaluation folder of the split train (eval.json with `sift`, predictions.jsonl); all numbers come from
the predictions. A row's share of right answers is its pass rate: near 0 or 1 GRPO learns nothing from it, since the
rewards of a group of answers are then all equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mtrl.config import datacard, samples
from mtrl.config.kinds import INVALID
from mtrl.core.errors import UserError
from mtrl.core.files import sha256_file
from mtrl.evaluate import predictions
from mtrl.evaluate.identity import Identity
from mtrl.evaluate.metrics import intervals
from mtrl.evaluate.metrics.intervals import Estimate
from mtrl.evaluate.metrics.prediction import Prediction
from mtrl.evaluate.predictions import Evaluation

MOST = 0.5  # of the answers; ours
AGAIN = "run the same mtrl sift again: it continues"


class RowVotes(NamedTuple):
    """One training row and its votes."""

    task: str
    id: str
    """The sample's id."""
    label: str
    votes: int
    right: int
    """Votes for the label."""
    invalid: int
    """Votes that the strict parse cannot read. They are not right."""
    said: str
    """The verdict of most votes, or INVALID. A tie goes to the earlier vote."""
    agree: int
    """Votes for `said`."""
    cluster: str = ""
    """As in Prediction."""

    @property
    def pass_rate(self) -> float:
        return self.right / self.votes

    @property
    def interval(self) -> tuple[float, float]:
        """95% Wilson interval of the pass rate."""
        return wilson(self.right, self.votes)

    @property
    def suspect(self) -> bool:
        """Whether the label may be wrong: another verdict has more than half of the answers that this judge would give,
        also at the lower end of the interval. Of 8 votes that takes 7; of 4 all; fewer than 4 cannot show it."""
        return self.said not in (self.label, INVALID) and wilson(self.agree, self.votes)[0] > MOST


class Sifted(NamedTuple):
    """A finished sift."""

    identity: Identity
    """Which judge was asked what."""
    rows: dict[str, list[RowVotes]]
    """By task, each row once, in the order of the ids."""
    traces: dict[str, dict[str, list[str]]]
    """By task and id: the responses that are right, in the order of the votes; rows without one are left out."""


class Summary(NamedTuple):
    """The rows of one task."""

    rows: int
    right: Estimate
    """The mean pass rate; the interval resamples clusters."""
    invalid: float
    """The share of invalid votes."""
    all_right: int
    """Rows without a vote that is not right."""
    none_right: int
    """Rows without a right vote."""
    suspects: int
    """Rows whose label may be wrong."""
    constant: float
    """The share of the most frequent label: the pass rate of always giving it."""

    @property
    def between(self) -> int:
        """Rows with right and other votes."""
        return self.rows - self.all_right - self.none_right

    @property
    def learnt(self) -> bool:
        """Whether the judge is right more often than a constant answer, also at the lower end of the interval. If not,
        its votes say little about labels."""
        return self.right.ci95 is not None and self.right.ci95[0] > self.constant


@cache
def wilson(right: int, votes: int) -> tuple[float, float]:
    """95% Wilson interval of a share."""
    from scipy.stats import binomtest

    found = binomtest(right, votes).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def needed(votes: int) -> int | None:
    """How many of a row's votes must be for one other verdict to suspect its label; None where `votes` are too few."""
    return next((number for number in range(1, votes + 1) if wilson(number, votes)[0] > MOST), None)


def load(folder: Path) -> Sifted:
    """Raises UserError where there is no sift, or it is not finished."""
    return of(predictions.load(folder, purpose="sift"), folder)


def of(run: Evaluation, folder: Path) -> Sifted:
    """As `load`, of what predictions.load read in `folder`."""
    identity, answers, _ = run
    by_row: dict[str, dict[str, list[Prediction]]] = {name: {} for name in identity.tasks}
    for answer in sorted(answers, key=lambda answer: answer.vote):
        by_row[answer.task].setdefault(answer.id, []).append(answer)
    votes = identity.sampling.votes
    for name, asked in identity.tasks.items():
        there = sum(map(len, by_row[name].values()))
        if asked.split != "train" or there != asked.requests or any(len(of) != votes for of in by_row[name].values()):
            what = f"{there:,} of {asked.requests:,} votes on task {name} are answered"
            raise UserError(f"{folder} is not finished: {what}", AGAIN)
    rows = {name: [_row(of) for of in by_row[name].values()] for name in by_row}
    traces = {
        name: {id_: right for id_, of in by_row[name].items() if (right := [a.response for a in of if a.correct])}
        for name in by_row
    }
    return Sifted(identity, rows, traces)


def check(sifted: Sifted, prompts: Mapping[str, str], data: Path, fingerprint: str, style: str) -> None:
    """Raises UserError where the sift does not tell how this model answers these rows.

    `prompts`: the sha256 of each task's template, by task; `data` has the rows; `fingerprint`: the model's identity
    (`Subject.fingerprint`).
    """
    identity = sifted.identity
    wrong = []
    if identity.checkpoint != fingerprint:
        wrong.append(f"it is of another model, {identity.path}")
    if identity.style != style:
        wrong.append(f"it was asked in the style {identity.style}, not {style}")
    for name, prompt in prompts.items():
        asked = identity.tasks.get(name)
        if asked is None:
            wrong.append(f"it has no task {name}")
            continue
        if asked.prompt_sha256 != prompt:
            wrong.append(f"task {name} was asked with another prompt")
        if not (file := samples.path_of(data, name, "train")).exists():
            raise UserError(f"task {name} is not converted: {file} is missing", datacard.convert_again(name, data))
        if asked.samples_sha256 != sha256_file(file):
            wrong.append(f"task {name} had other rows or labels in {data}")
        if asked.limit is not None and len(sifted.rows[name]) < samples.count(data, name, "train"):
            wrong.append(f"task {name} was asked with --limit {asked.limit}: the other rows have no votes")
    if wrong:
        raise UserError(f"the sift does not fit: {'; '.join(wrong)}", "run mtrl sift with this model, prompts and data")


def summary(rows: Sequence[RowVotes]) -> Summary:
    """Of at least one row."""
    import numpy as np

    rates, clusters = np.array([row.pass_rate for row in rows]), [row.cluster or row.id for row in rows]
    drawn = intervals.of_weights(lambda weights: weights @ rates / weights.sum(axis=-1), clusters)
    return Summary(
        rows=len(rows),
        right=intervals.estimate(float(rates.mean()), drawn),
        invalid=sum(row.invalid for row in rows) / sum(row.votes for row in rows),
        all_right=sum(row.right == row.votes for row in rows),
        none_right=sum(row.right == 0 for row in rows),
        suspects=sum(row.suspect for row in rows),
        constant=max(Counter(row.label for row in rows).values()) / len(rows),
    )


def _row(votes: list[Prediction]) -> RowVotes:
    first, said = votes[0], Counter(vote.verdict or INVALID for vote in votes)
    return RowVotes(
        first.task, first.id, first.label, len(votes), sum(vote.correct for vote in votes), said[INVALID],
        *said.most_common(1)[0], first.cluster,
    )  # fmt: skip
