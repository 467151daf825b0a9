"""What an endpoint sends is not believed: where it comes from, how much and how long, of what types, and with whose key
in it.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import read_jsonl
from mtrl.evaluate import predictions
from mtrl.evaluate.engines import endpoint, replies
from mtrl.evaluate.engines.base import Answer
from tests.unit.standin import MODELS, Reply, completion, error, standin
from tests.unit.test_endpoint import EVAL, ask, engine, picture, requests

__all__ = ["picture"]
JSON = {"content-type": "application/json"}
KEY = "sk-" + "secret" * 5


def with_logprobs(logprobs: Any, content: str = "yes", **more: Any) -> Reply:
    status, headers, body = completion(content)
    whole = json.loads(str(body)) | more
    whole["choices"][0]["logprobs"] = logprobs
    return status, headers, json.dumps(whole)


def one(picture: Path, reply: Reply, style: str = "sft") -> Answer:
    with standin(lambda n, asked: reply) as server:
        (answer,) = ask(server.url, requests(picture, 1), style)
    return answer


def sure(answer: Answer) -> Any:
    return predictions.of_answer(answer, "sft", "").confidence


def token(**more: Any) -> dict[str, Any]:
    listed = [{"token": "yes", "logprob": -0.1}, {"token": "no", "logprob": -2.4}]
    return {"token": "yes", "logprob": -0.1, "top_logprobs": listed, **more}


@pytest.mark.parametrize(
    "logprobs",
    [
        {"content": [token(logprob=None)]},
        {"content": [token(logprob="-0.1")]},
        {"content": [token(logprob=float("inf"))]},
        {"content": [token(logprob=float("nan"))]},
        {"content": [token(logprob=1e300)]},
        {"content": [{"token": "yes"}]},
        {"content": [{"logprob": -0.1}]},
        {"content": [token(top_logprobs=[{"token": "yes", "logprob": float("inf")}])]},
        {"content": [token(top_logprobs=[{"token": "yes"}])]},
        {"content": [token(top_logprobs=[{"token": "yes", "logprob": "high"}])]},
        {"content": [token(top_logprobs=7)]},
        {"content": [token(token=7)]},
        {"content": {"token": "yes"}},
        {"content": 7},
        [1, 2],
        "none",
        {"content": [token(token="n", top_logprobs=[])]},  # of other words than the answer
        {"content": [token(top_logprobs=[])]},  # no alternatives: 1.0 was not how sure it is
        {"content": [token(top_logprobs=None, logprob=-0.7)]},
        {"content": []},
        {},
        None,
    ],
)
def test_log_probabilities_that_cannot_be_used_cost_the_confidence_only(picture: Path, logprobs: Any) -> None:
    answer = one(picture, with_logprobs(logprobs))
    assert answer.response == "yes" and sure(answer) is None
    json.dumps(asdict(predictions.of_answer(answer, "sft", "")), allow_nan=False)


def test_log_probabilities_that_can_be_used(picture: Path) -> None:
    assert sure(one(picture, with_logprobs({"content": [token()]}))) == pytest.approx(0.908877)
    said: list[str] = []
    with standin(lambda n, asked: with_logprobs({"content": [token(logprob="x")]})) as server:
        answers = list(engine(server.url, said=said).answers(requests(picture, 8), endpoint.Sampling(16)))
    assert len(answers) == 8 and len(said) == 1 and "without a confidence" in said[0]


@pytest.mark.parametrize(
    "usage", ["many", 7, [], *({"completion_tokens": told} for told in ("12", -1, 2**64, 10**400)), {}, None]
)
def test_a_usage_that_is_none_is_no_number_of_tokens(picture: Path, usage: Any) -> None:
    answer = one(picture, with_logprobs(None, usage=usage))
    assert (answer.response, answer.tokens) == ("yes", 0)


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"choices": ' + "9" * 5000 + "}",
        '{"choices": [{"message": {"content": ["yes"]}}]}',
        '{"choices": [{"message": {"content": 7}}]}',
        '{"choices": [{"message": {"content": "yes"}, "finish_reason": 7}]}',
        '{"choices": [{"message": {"content": "yes", "reasoning": {"a": 1}}}]}',
        '{"choices": {"0": 1}}',
        "\xff",
        "null",
    ],
)
def test_an_answer_of_other_types_is_one_error(picture: Path, body: str) -> None:
    with pytest.raises(MtrlError, match="something other than a chat completion") as stop:
        one(picture, (200, JSON, body.encode("latin-1")))
    assert "\n" not in str(stop.value) and len(str(stop.value)) < 300


@pytest.mark.parametrize("text", ["[" * 100_000, '{"data": [{"id": 7}]}', '{"data": {"id": "m"}}', "7"])
def test_a_list_of_models_of_other_types_is_none(picture: Path, text: str) -> None:
    with standin(lambda n, asked: completion(), (200, JSON, text)) as server:
        assert [a.response for a in ask(server.url, requests(picture, 1))] == ["yes"]


def test_a_body_without_end(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "BODY", 1 << 20)
    with pytest.raises(MtrlError, match="more than 1,048,576 bytes"):
        one(picture, (200, JSON, repeat(b" " * 65536)))


def test_a_gzip_bomb(picture: Path) -> None:
    begun = time.process_time()
    with pytest.raises(MtrlError, match="compressed"):
        one(picture, (200, {**JSON, "content-encoding": "gzip"}, gzip.compress(bytes(1 << 26))))
    assert time.process_time() - begun < 5


def test_a_body_of_one_byte_at_a_time(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "WHOLE", 0.5)

    def slowly() -> Iterator[bytes]:
        for _ in range(100):
            time.sleep(0.1)
            yield b" "

    begun = time.monotonic()
    with pytest.raises(MtrlError, match="its whole answer after"):
        one(picture, (200, JSON, slowly()))
    assert time.monotonic() - begun < 5


def test_headers_of_one_byte_at_a_time(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "PATIENCE", 0.5)

    def stuck(number: int, asked: object) -> Reply:
        time.sleep(3)
        return completion()

    with standin(stuck) as server, pytest.raises(MtrlError, match="finished no answer"):
        ask(server.url, requests(picture, 1))


@pytest.mark.parametrize("status", [301, 307, 308])
def test_no_prompt_goes_to_another_server(picture: Path, status: int) -> None:
    with standin(lambda n, asked: completion()) as other:
        moved = status, {"location": f"{other.url}/chat/completions"}, ""
        with standin(lambda n, asked: moved) as server:
            with pytest.raises(MtrlError, match=f"redirects to another server, {other.url.removesuffix('/v1')}$"):
                ask(server.url, requests(picture, 3))
            assert len(server.asked) == 1
        with (
            standin(lambda n, asked: completion(), (status, {"location": f"{other.url}/models"}, "")) as server,
            pytest.raises(MtrlError, match="redirects to another server"),
        ):
            ask(server.url, requests(picture, 3))
        assert other.asked == [] and other.keys == set()


def test_a_redirect_within_the_address_is_followed(picture: Path) -> None:
    def moved(number: int, asked: object) -> Reply:
        return (307, {"location": "/v2/chat"}, "") if number == 1 else completion()

    with standin(moved) as server:
        assert [a.response for a in ask(server.url, requests(picture, 1))] == ["yes"]
    assert server.paths == ["/v1/chat/completions", "/v2/chat"] and server.asked[0] == server.asked[1]


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://h:abc/v1",
        "http://h:99999/v1",
        "http://h\n/v1",
        "http://h\0/v1",
        "http://",
        "ftp://h",
        "",
        "http://a..b/v1",
        f"http://{'a' * 300}/v1",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UserError, match=r"is not an http\(s\) address") as stop:
        engine(url)
    assert "\n" not in str(stop.value) and stop.value.then


@pytest.mark.parametrize(("told", "says"), [("7200", "in 2 hours"), ("600", "in 10 minutes")])
def test_a_server_that_asks_for_hours_is_not_waited_for(picture: Path, told: str, says: str) -> None:
    begun = time.monotonic()
    for status in (429, 503):
        reply = error(status, "quota used up", **{"retry-after": told})
        with (
            standin(lambda n, asked, reply=reply: reply) as server,
            pytest.raises(MtrlError, match=f"asks to come back {says}.*quota used up"),
        ):
            ask(server.url, requests(picture, 2))
        assert len(server.asked) == 1
    assert time.monotonic() - begun < 5
    later = "Wed, 21 Oct 2099 07:28:00 GMT"
    assert replies.wait({"retry-after": later}).endswith("hours") and replies.wait({"retry-after": "30"}) == ""
    assert [replies.wait({"retry-after": odd}) for odd in ("soon", "nan", "inf", "-9", "1e999", "")] == [""] * 6


def test_a_key_that_comes_back_is_stored_nowhere(project: Path, cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    echo = completion(f"yes, {KEY}", reasoning=KEY, finish_reason=f"stop {KEY}")
    shown = 200, MODELS[1], json.dumps({"object": "list", "data": [{"id": KEY, "owned_by": KEY}]})

    def answer(number: int, asked: object) -> Reply:
        return error(400, f"no row for {KEY}") if number == 3 else error(400, f"seed {KEY}") if number == 4 else echo

    with standin(answer, shown) as server:
        done = cli(*EVAL, "--style", "rl", "--endpoint", server.url)
        assert server.keys == {f"Bearer {KEY}"}
    assert done.code == 0, done.err
    rows = read_jsonl(project / "runs" / "eval-org-m-1" / "predictions.jsonl")
    answered = [row["response"] for row in rows if row["response"]]  # two of sixty were refused
    assert len(answered) == 58 and all("<think>[key]" in response for response in answered)
    for file in project.rglob("*"):
        assert not file.is_file() or b"secret" not in file.read_bytes(), file
    assert "secret" not in done.out + done.err


def test_a_placeholder_for_a_key_leaves_answers_alone(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "yes")
    assert one(picture, completion("yes")).response == "yes"
