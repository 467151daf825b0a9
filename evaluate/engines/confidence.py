"""How sure a judge was of its verdict, from the log-probabilities of the verdict's first token.

    confidence = P(verdict) / (P(verdict) + P(the other choice))        ours; over the listed tokens, at most 20

It is read where the verdict begins: at the first token that is not blank (style sft), or the first after <answer>
(style rl). A choice that is not listed has at most the probability of the least likely alternative, or what the listed
ones leave to 1. Where that could change the confidence by more than LEAST, or only the token itself is listed, there
is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

ALTERNATIVES = 20  # the most that vLLM and OpenAI list per token by default
LEAST = 0.001  # ours
Step = tuple[str, Mapping[str, float]]  # a generated token, and the log-probability of each listed alternative


def of(steps: Sequence[Step], style: str, verdict: str | None, choices: tuple[str, str]) -> float | None:
    """From 0 to 1, of the strict parse `verdict`; None where it is None, or the tokens do not show it."""
    if verdict is None:
        return None
    text, begin = "".join(token for token, _ in steps), 0
    if style == "rl":
        begin = text.rfind("<answer>") + len("<answer>")
        if begin < len("<answer>"):
            return None
    if not text[begin:].lstrip().casefold().startswith(verdict):
        return None  # these are not the tokens of this answer, or not all
    place = 0
    for token, listed in steps:
        cut = max(0, begin - place)
        place += len(token)
        if token[cut:].strip():
            weight = dict.fromkeys(choices, 0.0)
            for other, logprob in listed.items():
                if other.startswith(token[:cut]) and (choice := _begins(other[cut:], choices)):
                    weight[choice] += math.exp(logprob)
            total = sum(weight.values())
            unseen = 0.0 if all(weight.values()) else _unseen(token, listed)
            return weight[verdict] / total if total > 0 and unseen <= LEAST * total else None
    return None


def _unseen(token: str, listed: Mapping[str, float]) -> float:
    """The highest probability of a token that is not listed. The generated one is listed even if it is less likely."""
    others = [math.exp(logprob) for other, logprob in listed.items() if other != token]
    left = max(0.0, 1 - sum(map(math.exp, listed.values())))
    return min(left, *others) if others else 1.0


def _begins(token: str, choices: tuple[str, str]) -> str | None:
    """The choice that a token is the beginning of: "Y", " yes" and "yes.", but not "yesterday"."""
    text = token.strip().casefold().rstrip(".<")
    return next((choice for choice in choices if text and choice.startswith(text)), None)
