"""What one evaluation of `mtrl study` says: the outcome of each pair, and Macro-F1 of the pointwise tasks.

A pair is asked in both orders of its images. It is right if both answers are. Each other pair has one cause: invalid
(an answer without a strict verdict), flipped (both answers name the same position), wrong (the same image in both
orders, and not the right one). Rates are fractions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from statistics import mean
from typing import Literal, NamedTuple

from mtrl.config.kinds import INVALID
from mtrl.config.samples import Order
from mtrl.core.errors import UserError
from mtrl.demo import study_world
from mtrl.evaluate import predictions
from mtrl.evaluate.identity import Identity
from mtrl.evaluate.metrics.classification import macro_f1, table
from mtrl.evaluate.metrics.prediction import Prediction, Voted, voted

IN_DOMAIN = "in-domain"
POINTWISE = {IN_DOMAIN: study_world.POINTWISE, **study_world.SHIFTS}
Outcome = Literal["right", "invalid", "flipped", "wrong"]


class Pair(NamedTuple):
    """One pair in both orders."""

    id: str
    caption: str
    """The cluster of the pairs with its caption."""
    outcome: Outcome
    given: bool
    """Whether the answer in the given order is right."""
    turned: bool
    """The same of the swapped order."""


class Outcomes(NamedTuple):
    """One evaluation."""

    folder: Path
    identity: Identity
    """Which judge was asked what, and in which style."""
    pairs: tuple[Pair, ...]
    """In the order of the ids."""
    macro_f1: dict[str, float]
    """By shift, the mean of its three tasks; {} where only the pairs were asked."""

    def share(self, outcome: Outcome) -> float:
        return sum(pair.outcome == outcome for pair in self.pairs) / len(self.pairs)

    def accuracy(self, order: Order) -> float:
        """Right answers in one order."""
        return sum(pair.given if order == "given" else pair.turned for pair in self.pairs) / len(self.pairs)


def load(folder: Path, pairs_only: bool = False, again: str = "") -> Outcomes:
    """Raises UserError where it is no evaluation, is not finished, or lacks a task of the study; `again` is then the
    next command."""
    found = predictions.load(folder)
    answered = Counter(row.task for row in found.rows)
    for name, asked in found.identity.tasks.items():
        if answered[name] != asked.requests:
            text = f"{folder} has {answered[name]:,} answers to task {name}; {asked.requests:,} were asked for"
            raise UserError(text, again)
    shifts = {} if pairs_only else POINTWISE
    wanted = [study_world.PAIRS, *chain.from_iterable(shifts.values())]
    if gone := [name for name in wanted if name not in found.identity.tasks]:
        raise UserError(f"{folder} lacks task {', '.join(gone)}", again)
    scores = {shift: mean(_macro_f1(*found.of_task(name)) for name in names) for shift, names in shifts.items()}
    return Outcomes(folder, found.identity, tuple(pairs_of(voted(found.of_task(study_world.PAIRS).rows))), scores)


def pairs_of(items: Sequence[Voted]) -> list[Pair]:
    """One per pair; every pair has an answer in both orders."""
    orders: dict[Order, dict[str, Voted]] = {"given": {}, "turned": {}}
    for item in items:
        orders[item.order][item.id] = item
    return [_pair(given, orders["turned"][name]) for name, given in orders["given"].items()]


def _pair(given: Voted, turned: Voted) -> Pair:
    outcome: Outcome = "wrong"
    if INVALID in (given.verdict, turned.verdict):
        outcome = "invalid"
    elif given.verdict == turned.verdict:
        outcome = "flipped"
    elif given.correct and turned.correct:
        outcome = "right"
    return Pair(given.id, given.unit, outcome, given.correct, turned.correct)


def _macro_f1(rows: Sequence[Prediction], choices: tuple[str, ...]) -> float:
    return float(macro_f1(table(voted(rows), choices)[:, :, None])[0])
