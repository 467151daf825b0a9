"""The one verdict that several annotators' verdicts on an item come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from mtrl.reward_plugins.judge import is_scale


def majority(verdicts: Collection[str]) -> str | None:
    """The most frequent one; None for a tie, and for no verdict."""
    most = Counter(verdicts).most_common(2)
    return most[0][0] if most and (len(most) == 1 or most[0][1] > most[1][1]) else None


def agreed(verdicts: Collection[str], choices: tuple[str, ...]) -> str | None:
    """The majority, or of a scale the mean as its nearest whole number (a half is rounded up)."""
    if not is_scale(choices) or not verdicts:
        return majority(verdicts)
    return str((2 * sum(map(int, verdicts)) + len(verdicts)) // (2 * len(verdicts)))
