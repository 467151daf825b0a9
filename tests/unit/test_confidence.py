"""Confidence is read at the verdict's first token, wherever the tokens part."""

from __future__ import annotations

from math import log

import pytest

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
