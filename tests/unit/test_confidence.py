"""Confidence is read at the verdict's first token, wherever the tokens part."""

from __future__ import annotations

from math import log

import pytest

from mtrl.evaluate import confidence

CHOICES = ("yes", "no")
SURE = {"yes": log(0.6), " No": log(0.2), "yesterday": log(0.1), "maybe": log(0.1)}


def test_bare_verdict_after_white_space() -> None:
    steps = [("\n", {"\n": 0.0}), ("yes", SURE)]
    assert confidence.of(steps, "sft", "yes", CHOICES) == pytest.approx(0.75)
    assert confidence.of(steps, "sft", "no", CHOICES) == pytest.approx(0.25)


def test_reasoned_verdict_is_read_after_its_tag_even_inside_a_token() -> None:
    thought = [("<think>yes</think>", {}), ("<answ", {})]
    assert confidence.of([*thought, ("er>", {}), ("yes", SURE)], "rl", "yes", CHOICES) == pytest.approx(0.75)
    joined = {"er>" + text: value for text, value in SURE.items()} | {"no": log(0.5)}
    assert confidence.of([*thought, ("er>yes", joined)], "rl", "yes", CHOICES) == pytest.approx(0.75)


def test_no_verdict_or_no_evidence_is_no_confidence() -> None:
    assert confidence.of([("yes", SURE)], "sft", None, CHOICES) is None
    assert confidence.of([("yes", {"so": 0.0})], "sft", "yes", CHOICES) is None
    assert confidence.of([("yes", SURE)], "rl", "yes", CHOICES) is None
    assert confidence.of([], "sft", "yes", CHOICES) is None
