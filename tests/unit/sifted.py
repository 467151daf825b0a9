"""A finished sift without a model: what each vote on a row says is a function of the request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from mtrl.evaluate import run
from mtrl.evaluate.engines.base import Answer
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.subject import Subject
from tests.unit.test_scored import judge

VOTES = 4
Says = Callable[[Request], str]


def trace(verdict: str, why: str = "It looks so.") -> str:
    return f"<think>{why}</think><answer>{verdict}</answer>"


def always_right(request: Request) -> str:
    """Each vote in other words."""
    return trace(request.label, f"Because of {request.vote}.")


class _Engine:
    def __init__(self, says: Says) -> None:
        self.says = says

    def describe(self) -> dict[str, Any]:
        return {"engine": "test"}

    def answers(self, asked: Iterable[Request], _: Any) -> Iterator[Answer]:
        """In another order than they were asked in, as vLLM answers them."""
        return (
            Answer(one, self.says(one), 9, "stop", 0.1)
            for one in sorted(asked, key=lambda one: (one.task, one.id[::-1]))
        )


def make(folder: Path, *names: str, says: Says = always_right, of: Subject | None = None) -> Path:
    """Writes the sift of these tasks into `folder`."""
    of, engine = of or judge("m", style="rl"), _Engine(says)
    run.ask(of, list(names), Path("data"), "train", folder, VOTES, None, lambda *_: engine, lambda *_: None, sift=True)
    return folder
