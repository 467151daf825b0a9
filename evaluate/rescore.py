"""Reads recorded responses again with the current parser, whose rules may have been fixed since they were written.

The verdicts follow from the response. Where they changed, the predictions file is written again, so that metrics,
report, compare and tables all see one reading. Responses stay as they are.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mtrl.core.errors import UserError
from mtrl.core.files import open_regular
from mtrl.core.locks import take
from mtrl.evaluate import predictions
from mtrl.evaluate.identity import Purpose
from mtrl.evaluate.metrics.prediction import Prediction
from mtrl.reward_plugins import judge


class Reread(NamedTuple):
    """What reading again changed."""

    answers: int
    """All answers."""
    verdict: int
    """Those with another strict verdict."""
    lenient: int
    """Those with another lenient verdict."""


def reread(folder: Path, file: str = predictions.FILE, purpose: Purpose = "eval") -> Reread:
    """Raises UserError where there are no predictions, a line is not one, or an evaluation is writing to the file."""
    path = folder / file
    empty = UserError(f"there are no predictions in {path} yet", predictions.SCORE_FIRST)
    if not path.exists():
        raise empty
    with open_regular(path) as held:
        if not take(held.fileno()):
            raise UserError(f"an mtrl eval is writing to {path}", "wait for it, then run mtrl score again")
        identity, before, _ = predictions.load(folder, file, purpose)
        if not before:
            raise empty
        now = [_read(row, identity.style, identity.tasks[row.task].choices) for row in before]
        if now != before:
            predictions.rewrite(path, now)
    pairs = list(zip(before, now, strict=True))
    return Reread(
        len(now), sum(a.verdict != b.verdict for a, b in pairs), sum(a.lenient != b.lenient for a, b in pairs)
    )


def _read(row: Prediction, style: str, choices: tuple[str, ...]) -> Prediction:
    verdict, sure = judge.parse(row.response, style, choices), row.confidence
    if sure is not None and verdict != row.verdict:
        # it was of the other verdict; log-probabilities are not kept, so for a new one nothing more is known
        both = row.verdict and verdict and len(choices) == 2
        sure = round(1 - sure, 12) if both else (row.probabilities or {}).get(verdict or "")
    return replace(row, verdict=verdict, lenient=judge.parse_lenient(row.response, style, choices), confidence=sure)
