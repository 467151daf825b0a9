"""Confidence is read at the verdict's first token, wherever the tokens part."""

from __future__ import annotations

from collections import Counter
from math import log
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtrl.evaluate.engines import confidence

CHOICES = ("yes", "no")


def sure(steps: list[confidence.Step], style: str, verdict: str | None, choices: tuple[str, ...]) -> float | None:
    found = confidence.of(steps, style, verdict, choices)
    return found[verdict] if found and verdict else None


SURE = {"yes": log(0.6), " No": log(0.2), "yesterday": log(0.1), "maybe": log(0.1)}


def test_bare_verdict_after_white_space() -> None:
    steps = [("\n", {"\n": 0.0}), ("yes", SURE)]
    assert sure(steps, "sft", "yes", CHOICES) == pytest.approx(0.75)
    assert sure([("\n", {"\n": 0.0}), (" No", SURE)], "sft", "no", CHOICES) == pytest.approx(0.25)


def test_reasoned_verdict_is_read_after_its_tag_even_inside_a_token() -> None:
    thought = [("<think>yes</think>", {}), ("<answ", {})]
    assert sure([*thought, ("er>", {}), ("yes", SURE)], "rl", "yes", CHOICES) == pytest.approx(0.75)
    joined = {"er>" + text: value for text, value in SURE.items()} | {"no": log(0.5)}
    assert sure([*thought, ("er>yes", joined)], "rl", "yes", CHOICES) == pytest.approx(0.75)


def test_a_choice_that_is_not_listed_leaves_the_confidence_open() -> None:
    def of(verdict: str, **listed: float) -> float | None:
        return sure([("yes", {name: log(share) for name, share in listed.items()})], "sft", verdict, CHOICES)

    assert of("yes", yes=0.5) is None  # log-probability -0.7 and nothing else: it is not known what the rest is
    assert of("yes", yes=0.999999) is None  # or only the surest answers would have one, and calibration be of those
    assert of("yes", yes=0.6, maybe=0.3) is None  # no may have 0.1
    assert of("yes", yes=0.6, maybe=0.3, so=0.0001) == 1.0  # no has less than 0.0001
    assert of("yes", yes=0.9, maybe=0.1) == 1.0  # nothing is left over
    assert of("yes", yes=0.0001, no=0.5, so=0.2) == pytest.approx(0.0001 / 0.5001)
    unlikely = {"so": 0.6, "maybe": 0.2, "yes": 0.0001}  # 0.2 is left, and the least likely alternative has as much
    assert of("yes", **unlikely) is None


def test_tokens_of_another_answer_are_no_evidence() -> None:
    assert sure([("yes", SURE)], "sft", "no", CHOICES) is None
    assert sure([("no", SURE)], "sft", "no", CHOICES) == pytest.approx(0.25)
    rl = [("<answer>", {}), ("maybe", SURE)]
    assert sure(rl, "rl", "yes", CHOICES) is None


def test_no_verdict_or_no_evidence_is_no_confidence() -> None:
    assert sure([("yes", SURE)], "sft", None, CHOICES) is None
    assert sure([("yes", {"so": 0.0})], "sft", "yes", CHOICES) is None
    assert sure([("yes", SURE)], "rl", "yes", CHOICES) is None
    assert sure([], "sft", "yes", CHOICES) is None


def shares(**listed: float) -> dict[str, float]:
    return {text: log(share) for text, share in listed.items()}


def test_a_choice_that_an_earlier_token_does_not_list_is_not_known() -> None:
    ten = tuple(map(str, range(11)))
    rest = {"0": log(0.6), "<": log(0.4)}
    assert confidence.of([("1", {"1": log(0.7), "x": log(0.1)}), ("<", rest)], "sft", "1", ten) is None  # 9 may be 0.1
    found = confidence.of([("1", {"1": log(0.9999), "x": log(0.0001)}), ("<", rest)], "sft", "1", ten)
    assert found and found["10"] == pytest.approx(0.6)


def test_a_word_that_ends_before_a_choice_does_is_not_that_choice() -> None:
    assert sure([("yes", {"yes": log(0.5), "n.": log(0.5)})], "sft", "yes", CHOICES) == 1.0
    assert sure([("yes", {"yes": log(0.5), "no, not": log(0.5)})], "sft", "yes", CHOICES) == 1.0
    assert sure([("yes", {"yes": log(0.5), "no.\n</": log(0.5)})], "sft", "yes", CHOICES) == pytest.approx(0.5)


def test_a_part_of_a_character_may_begin_a_choice() -> None:
    seen = ("清晰", "模糊")
    part = "\ufffd"
    assert sure([("清晰", {"清晰": log(0.6), part: log(0.4)})], "sft", "清晰", seen) is None
    assert sure([("yes", {"yes": log(0.6), part: log(0.4)})], "sft", "yes", CHOICES) == 1.0
    twice = confidence.step("清晰", [("清晰", log(0.998)), (part, log(0.0015)), (part, log(0.0005))])
    assert sure([twice], "sft", "清晰", seen) is None  # two tokens with one text
    assert confidence.step("a", [("a", log(0.5)), ("a", log(0.5))])[1]["a"] == pytest.approx(log(0.5))  # listed twice


WORDS = st.sets(st.text("ab0-_é", min_size=1, max_size=4), min_size=2, max_size=6)


def cut(draw: Any, text: str) -> tuple[str, ...]:
    """The text in tokens of any length."""
    ends = [at for at in range(1, len(text)) if draw(st.booleans())]
    return tuple(text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True))


@given(WORDS, st.data(), st.booleans())
@settings(max_examples=400)
def test_it_is_the_true_probability_or_none(words: set[str], data: st.DataObject, whole: bool) -> None:
    """Of a model that writes a choice or another word: all its answers are enumerated, each as a list of tokens. Where
    every token is listed, an answer may be written by other tokens too."""
    choices = tuple(sorted(words))
    weight: dict[tuple[str, ...], int] = {}
    for text in [*choices, "zz", "z", "yy"] * (2 if whole else 1):
        weight[cut(data.draw, f"{text}<")] = data.draw(st.integers(1, 1000)) ** 3
    verdict = data.draw(st.sampled_from(choices))
    written = data.draw(st.sampled_from([tokens for tokens in weight if "".join(tokens) == f"{verdict}<"]))
    steps = []
    for place, token in enumerate(written):
        following = Counter[str]()
        for tokens, share in weight.items():
            if tokens[:place] == written[:place]:
                following[tokens[place]] += share
        kept = dict(following.most_common(None if whole else data.draw(st.integers(1, 5))))
        kept[token] = following[token]
        steps.append((token, {text: log(share / following.total()) for text, share in kept.items()}))
    found = confidence.of(steps, "sft", verdict, choices)
    true = Counter[str]()
    for tokens, share in weight.items():
        true["".join(tokens)] += share
    total = sum(true[f"{word}<"] for word in choices)
    for word, share in (found or {}).items():
        assert share == pytest.approx(true[f"{word}<"] / total, abs=2 * confidence.LEAST)
