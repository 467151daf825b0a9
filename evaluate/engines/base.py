"""What an engine is: requests in, answers out as they finish, in any order. vllm_engine.py is the one here.

Whoever writes another (an endpoint, replicas on Ray) provides `answers` and `describe`, and evaluation asks no more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mtrl.evaluate.engines.confidence import Step
from mtrl.evaluate.engines.request import Request


@dataclass(frozen=True)
class Answer:
    """`finish_reason` is the engine's ("stop", "length"), or "rejected: why" for a request it would not take.

    `tokens` counts what was generated, `latency` is in seconds from asking to the last token. `steps`, one a token, are
    there where the sampling asked for confidence and the engine could say.
    """

    request: Request
    response: str
    tokens: int
    finish_reason: str
    latency: float
    steps: Sequence[Step] | None = None


@dataclass(frozen=True)
class Sampling:
    """Greedy at temperature 0. `max_tokens` caps what is generated for one answer; `confidence` wants log-probabilities."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    confidence: bool = False

    def seed_of(self, request: Request) -> int:
        """A request's own seed. One seed for all would draw the same numbers for every item, and bend a vote one way."""
        name = json.dumps([self.seed, request.task, request.id, request.order, request.vote])
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> 1  # 31 bits: every server takes it


class Engine(Protocol):
    def answers(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Answer]: ...

    def describe(self) -> dict[str, Any]: ...
