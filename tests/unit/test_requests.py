"""The votes on one item are asked together, also where a queue was empty in between."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from mtrl.evaluate.engines.base import Sampling
from mtrl.evaluate.engines.replicas import _Waiting
from mtrl.evaluate.engines.request import Items, Request


def vote(item: str, number: int) -> Request:
    return Request(item, "t", "given", number, "<image>?", (Path("a.png"),), "yes", ("yes", "no"))


def names(items: list[list[Request]]) -> list[str]:
    return ["".join(f"{one.id}{one.vote}" for one in votes) for votes in items]


def test_consecutive_votes_on_an_item_come_together() -> None:
    asked = [*(vote("a", n) for n in range(3)), vote("b", 0), vote("c", 1), vote("c", 3), vote("c", 4)]
    assert names(list(Items(asked))) == ["a0a1a2", "b0", "c1", "c3c4"]
    assert names(list(Items(reversed(asked[:3])))) == ["a2", "a1", "a0"]


def test_a_queue_that_was_empty_continues() -> None:
    queue: deque[Request] = _Waiting([vote("a", 0), vote("a", 1)])
    items = Items(queue)
    assert names([next(items)]) == ["a0a1"] and next(items, None) is None
    queue.extend([vote("a", 2), vote("b", 0)])
    assert names(list(items)) == ["a2", "b0"]


def test_a_vote_has_one_seed_whatever_it_is_asked_with() -> None:
    """vLLM gives the answer i of a request the request's seed + i."""
    sampling = Sampling(16, 1.0)
    first = sampling.seed_of(vote("a", 0))
    assert [sampling.seed_of(vote("a", n)) for n in range(3)] == [first, first + 1, first + 2]
    assert abs(sampling.seed_of(vote("b", 0)) - first) > 2
