"""`mtrl serve --endpoint`: what an endpoint does not take, or does not give, is known before the address is printed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mtrl.core.errors import MtrlError, UserError
from mtrl.evaluate.serving.asking import Asking
from mtrl.evaluate.serving.model_server import External
from mtrl.evaluate.serving.trying import tried
from tests.unit.serving_fixture import JUDGE, says
from tests.unit.standin import Reply, error, standin


def said(reply: Reply) -> tuple[list[str], dict[str, Any]]:
    """What is said about an endpoint that replies so, and what it was asked."""
    notes: list[str] = []
    with standin(lambda n, asked: reply) as there:
        asking = Asking(External(there.url, "k"), "m", JUDGE.style, own=False)
        asyncio.run(tried(asking, JUDGE, notes.append))
        (asked,) = there.asked
    return notes, asked


def test_one_that_takes_and_gives_all() -> None:
    notes, asked = said(says("yes", {"yes": 0.9, "no": 0.1}))
    assert not notes and (asked["model"], asked["max_tokens"], asked["top_k"]) == ("m", 1, -1)
    assert "image_url" in [part["type"] for part in asked["messages"][0]["content"]]


def test_one_without_probabilities() -> None:
    notes, _ = said(says("yes"))
    assert len(notes) == 1 and "no log-probabilities" in notes[0]


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (error(400, "Unrecognized request argument supplied: top_k"), UserError, "does not take .* argument .* top_k"),
        (error(404, "The model `m` does not exist"), UserError, "`m` does not exist"),
        (error(401, "no such key"), UserError, "no such key"),
        (error(500, "x"), MtrlError, "status 500"),
        ((200, {}, "<html>"), MtrlError, "not an answer"),
    ],
)
def test_one_that_cannot_be_used(reply: Reply, kind: type[MtrlError], words: str) -> None:
    with pytest.raises(kind, match=words) as raised:
        said(reply)
    assert type(raised.value) is kind and raised.value.then
