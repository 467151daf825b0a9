"""The interface of an engine: requests in, answers out as they finish, in any order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mtrl.evaluate.engines import confidence
from mtrl.evaluate.engines.confidence import Step
from mtrl.evaluate.engines.request import Request

CONTINUES = "run the same command again; it continues from there"


@dataclass(frozen=True)
class Answer:
    """What an engine brings back for one request."""

    request: Request
    response: str
    """The judge's text."""
    tokens: int
    """Number of generated tokens."""
    finish_reason: str
    """The engine's "stop" or "length", or "rejected: why" for a request that it would not take."""
    latency: float
    """Seconds from asking to the last token."""
    steps: Sequence[Step] | None = None
    """One per token, where the sampling asked for confidence and the engine has log-probabilities."""

    def probabilities(self, style: str, verdict: str | None) -> dict[str, float] | None:
        """How sure the judge was of each choice, to 12 digits; None where it is not known. `verdict` is its strict
        parse."""
        found = confidence.of(self.steps or (), style, verdict, self.request.choices)
        return None if found is None else {choice: round(share, 12) for choice, share in found.items()}


@dataclass(frozen=True)
class Sampling:
    """How answers are generated."""

    max_tokens: int
    """Most tokens of one answer."""
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    seed: int = 0
    confidence: bool = False
    """Whether log-probabilities are wanted."""

    def seed_of(self, request: Request) -> int:
        """A request's own seed: its item's, and the number of its vote, as vLLM numbers the answers to one request.

        With one seed for all items, all would draw the same numbers, which biases votes.
        """
        name = json.dumps([self.seed, *request.item])
        first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> 2
        return first + request.vote  # below 31 bits: every server takes it


class Engine(Protocol):
    """offline.py, replicas.py and endpoint.py have one each."""

    @property
    def continues(self) -> bool:
        """Whether it can continue an answer that has begun (`Request.prefix`)."""

    def answers(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Answer]:
        """One answer for every request, as they finish. Raises MtrlError where the engine fails."""

    def describe(self) -> dict[str, Any]:
        """What eval.json records of the engine: its name, its version and what it did not do as asked."""
