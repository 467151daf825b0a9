"""How sure a judge was of each verdict, from the log-probabilities of the tokens of its own.

    P(choice) = weight of the choice / weight of all choices        ours; over the listed tokens, at most 20 per step

It is read where the verdict begins: at the first token that is not blank (style sft), or the first after <answer>
(style rl). A listed token that only one choice can begin with adds its probability to that choice. While the generated
token leaves several ("1" of 1 and 10), the next token is read too; a token that leaves several and was not generated
could mean any of them. A choice that is not listed has at most the probability of the least likely alternative, or
what the listed ones leave to 1. Where what is not known could change a probability by more than LEAST, or only the
token itself is listed, there is none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

ALTERNATIVES = 20  # the most that vLLM and OpenAI list per token by default
LEAST = 0.001  # ours
Step = tuple[str, Mapping[str, float]]  # a generated token, and the log-probability of each listed alternative


def of(steps: Sequence[Step], style: str, verdict: str | None, choices: tuple[str, ...]) -> dict[str, float] | None:
    """{choice: its probability, from 0 to 1} where `verdict` is the strict parse; None where there is no verdict, or
    the tokens do not show it."""
    if verdict is None:
        return None
    text, begin = "".join(token for token, _ in steps), 0
    if style == "rl":
        begin = text.rfind("<answer>") + len("<answer>")
        if begin < len("<answer>"):
            return None
    if not text[begin:].lstrip().casefold().startswith(verdict):
        return None  # these are not the tokens of this answer, or not all
    weight = dict.fromkeys(choices, 0.0)
    unknown, path, said, place = 0.0, 1.0, "", 0
    for token, listed in steps:
        cut = max(0, begin - place)
        place += len(token)
        if not (said + token[cut:]).strip():
            continue
        for other, logprob in listed.items():
            meant = _meant(said + other[cut:], choices) if other.startswith(token[:cut]) else []
            if len(meant) == 1:
                weight[meant[0]] += path * math.exp(logprob)
            elif meant and other != token:
                unknown += path * math.exp(logprob)
        said += token[cut:]
        missing = sum(not share for share in weight.values())
        if len(_meant(said, choices)) < 2:
            unknown += path * _unseen(token, listed, missing)
            break
        path *= math.exp(listed.get(token, -math.inf))
    else:
        return None  # the tokens end before they tell the choices apart
    total = sum(weight.values())
    known = total > 0 and weight[verdict] > 0 and unknown <= LEAST * total
    return {choice: share / total for choice, share in weight.items()} if known else None


def _unseen(token: str, listed: Mapping[str, float], missing: int) -> float:
    """The highest probability of `missing` tokens that are not listed, together. The generated one is listed even if
    it is less likely."""
    others = [math.exp(logprob) for other, logprob in listed.items() if other != token]
    left = max(0.0, 1 - sum(map(math.exp, listed.values())))
    return 0.0 if not missing else min(left, missing * min(others)) if others else 1.0


def _meant(text: str, choices: tuple[str, ...]) -> list[str]:
    """The choices that an answer may be that begins like this: " Y" and "yes." may be yes, "yesterday" may not. A word
    that has ended is that choice alone: "1<" is not the beginning of 10."""
    found = re.match(r"\s*([\w-]*)(.*)", text.casefold(), re.DOTALL)
    word, rest = found.groups() if found else ("", "")
    if rest and word in choices:
        return [word]
    return [choice for choice in choices if word and choice.startswith(word)]
