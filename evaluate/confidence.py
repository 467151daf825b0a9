"""Confidence: how sure a judge was of its verdict, from the log-probabilities of the verdict's first token.

    confidence = P(verdict) / (P(verdict) + P(the other choice))        ours; of the tokens an engine lists, 20 at most

It is read where the verdict begins: the first token that is not blank (style sft), or the first after <answer> (style rl).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

ALTERNATIVES = 20  # most that vLLM and OpenAI list for a token by default
Step = tuple[str, Mapping[str, float]]  # a generated token's text, and the log-probability of each listed alternative


def of(steps: Sequence[Step], style: str, verdict: str | None, choices: tuple[str, str]) -> float | None:
    """From 0 to 1, for a strictly read `verdict`; None where there is none, or where the tokens do not show it."""
    if verdict is None:
        return None
    begin = 0
    if style == "rl":
        text = "".join(token for token, _ in steps)
        begin = text.rfind("<answer>") + len("<answer>")
        if begin < len("<answer>"):
            return None
    place = 0
    for token, listed in steps:
        cut = max(0, begin - place)
        place += len(token)
        if token[cut:].strip():
            weight = dict.fromkeys(choices, 0.0)
            for other, logprob in listed.items():
                if other.startswith(token[:cut]) and (choice := _stands_for(other[cut:], choices)):
                    weight[choice] += math.exp(logprob)
            total = sum(weight.values())
            return weight[verdict] / total if total > 0 else None
    return None


def _stands_for(token: str, choices: tuple[str, str]) -> str | None:
    """The choice that a token begins: "Y", " yes" and "yes." do, "yesterday" does not."""
    text = token.strip().casefold().rstrip(".<")
    return next((choice for choice in choices if text and choice.startswith(text)), None)
