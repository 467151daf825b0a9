"""How sure a judge was of each verdict, from the log-probabilities of the tokens of its own.

    P(choice) = weight of the choice / weight of all choices        ours; over the listed tokens, at most 20 per step

It is read where the verdict begins: at the first token that is not blank (style sft), or the first after <answer>
(style rl). A listed token that only one choice can begin with adds its probability to that choice. While the generated
token leaves several ("1" of 1 and 10), the next token is read too. A token that leaves several and was not generated
could mean any of them, and one that is a part of a character any choice that goes on with such a character. A choice
that no listed token of a step means alone has at most the probability of the least likely alternative there, or what
the listed ones leave to 1. Where what is not known could change a probability by more than LEAST, or only the token
itself is listed, there is none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

ALTERNATIVES = 20  # the most that vLLM and OpenAI list per token by default
LEAST = 0.001  # ours
PART = "\ufffd"  # the text of a token that is a part of a character
Step = tuple[str, Mapping[str, float]]  # a generated token, and the log-probability of each listed alternative


def step(token: str, listed: Iterable[tuple[str, float]]) -> Step:
    """From (text, log-probability) of each listed token. Several may have one text, such as parts of characters."""
    pairs = list(listed)
    if len(alone := dict(pairs)) == len(pairs):
        return token, alone
    found: dict[str, float] = {}
    for text, logprob in dict.fromkeys(pairs):  # a server may list the generated token twice
        both = math.exp(found[text]) + math.exp(logprob) if text in found else 0.0
        found[text] = math.log(both) if both else logprob
    return token, found


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
    unknown, path, said, place, left = 0.0, 1.0, "", 0, list(choices)
    for token, listed in steps:
        cut = max(0, begin - place)
        place += len(token)
        if not (said + token[cut:]).strip():
            continue
        shown: set[str] = set()
        for other, logprob in listed.items():
            meant = _meant(said + other[cut:], choices) if other.startswith(token[:cut]) else []
            if len(meant) == 1 and PART not in other:
                shown.add(meant[0])
                weight[meant[0]] += path * math.exp(logprob)
            elif meant and other != token:
                unknown += path * math.exp(logprob)
        said += token[cut:]
        unknown += path * _unseen(token, listed, len(set(left) - shown))
        left = _meant(said, choices)
        if len(left) < 2:
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
    """The choices that an answer may be that begins like this: " Y" and "yes." may be yes, "yesterday" and "y." may
    not. A word that has ended is that choice alone: "1<" is not the beginning of 10."""
    found = re.match(r"\s*([\w-]*)(.*)", text.casefold(), re.DOTALL)
    word, rest = found.groups() if found else ("", "")
    if rest.startswith(PART):
        return [choice for choice in choices if choice.startswith(word) and not choice[len(word) :][:1].isascii()]
    if rest:
        return [word] if word in choices and re.match(r"\s*\.?\s*(<|$)", rest) else []
    return [choice for choice in choices if word and choice.startswith(word)]
