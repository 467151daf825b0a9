"""`mtrl serve`: the app with real HTTP, in front of a stand-in model server that answers, fails and dies on demand."""

from __future__ import annotations

import base64
import json
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from mtrl.config import prompting
from mtrl.evaluate.decision import Decision
from mtrl.evaluate.serving import answering, counting
from tests.unit.serving_fixture import JUDGE, body, png, says, serving
from tests.unit.standin import completion, error

SURE = {"yes": 0.9, "no": 0.1}
PAIR = "genaibench_generation"


def test_a_verdict_and_the_same_from_the_cache() -> None:
    with serving(lambda n, asked: says("yes", SURE)) as server:
        first = server.judge("seetrue", png(), caption="a red square")
        again = server.judge("seetrue", png(), caption="a red square")
        other = server.judge("seetrue", png("blue"), caption="a red square")
        assert first.status_code == 200, first.text
        found = first.json()
        assert (found["task"], found["verdict"], found["response"]) == ("seetrue", "yes", "yes")
        assert found["probabilities"] == pytest.approx(SURE) and found["confidence"] == pytest.approx(0.9)
        assert found["decided"] is None and found["cached"] is False  # nothing is promised without a threshold
        assert found["versions"]["judge"] == JUDGE.fingerprint and found["versions"]["model_server"] == "vllm 0"
        assert again.json() == {**found, "cached": True} and other.json()["cached"] is False
        assert len(server.asked) == 2
        sent = server.asked[0]
        assert (sent["model"], sent["max_tokens"], sent["temperature"]) == ("mine", 16, 0.0)
        assert (sent["logprobs"], sent["top_logprobs"], sent["top_k"], sent["repetition_penalty"]) == (True, 20, -1, 1)
        text = "".join(part.get("text", "<image>") for part in sent["messages"][0]["content"])
        assert "a red square" in text and text.count(prompting.MARKER) == 1
        shown = next(p["image_url"]["url"] for p in sent["messages"][0]["content"] if p["type"] == "image_url")
        assert base64.b64decode(shown.partition(",")[2]) == png()  # as it came
        page = server.client.get("/metrics").text
        assert "mtrl_cache_hits_total 1.0" in page and "mtrl_cache_misses_total 2.0" in page
        assert 'mtrl_verdicts_total{task="seetrue",verdict="yes"} 3.0' in page
        assert 'mtrl_verdicts_total{task="seetrue",verdict="no"} 0.0' in page  # from the start: a rate sees the first
        assert 'mtrl_invalid_total{task="seetrue"} 0.0' in page and 'mtrl_undecided_total{task="seetrue"} 0.0' in page
        assert 'mtrl_requests_total{path="/v1/judge",status="200"} 3.0' in page
        assert f"mtrl_cache_hit_rate {1 / 3}" in page


@pytest.mark.parametrize("package", ["transformers", "Pillow"])
def test_a_cached_verdict_is_of_the_packages_that_are_installed(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cached() -> bool:
        answering.versions.cache_clear()  # as in a new process
        with serving(lambda n, asked: says("yes", SURE), cache=tmp_path / "verdicts.sqlite3") as server:
            return bool(server.judge("seetrue", png(), caption="a dog").json()["cached"])

    assert [cached(), cached()] == [False, True]
    installed = metadata.version
    with monkeypatch.context() as other:
        other.setattr(metadata, "version", lambda name: "0.0.1" if name == package else installed(name))
        assert cached() is False
    assert cached() is True


def test_a_form_is_answered_as_json_is() -> None:
    with serving(lambda n, asked: says("no", {"yes": 0.2, "no": 0.8})) as server:
        form = {"task": "seetrue", "fields": json.dumps({"caption": "a dog"})}
        found = server.client.post("/v1/judge", data=form, files=[("images", ("../a.png", png(), "image/png"))])
        assert found.json()["verdict"] == "no" and found.json()["confidence"] == pytest.approx(0.8)
        assert server.judge("seetrue", png(), caption="a dog").json()["cached"] is True


def test_a_pair_is_asked_in_both_orders_at_once() -> None:
    def answer(_: int, asked: dict[str, Any]) -> Any:
        urls = [p["image_url"]["url"] for p in asked["messages"][0]["content"] if p["type"] == "image_url"]
        first = base64.b64decode(urls[0].partition(",")[2]) == png("red")
        return says("1", {"1": 0.8, "2": 0.2}) if first else says("2", {"1": 0.3, "2": 0.7})

    with serving(answer, (PAIR,)) as server:
        fields = dict.fromkeys(server_fields(PAIR), "a red square")
        found = server.judge(PAIR, png("red"), png("blue"), **fields).json()
        assert (found["verdict"], found["flipped"], found["response_turned"]) == ("1", False, "2")
        assert found["confidence"] == pytest.approx(0.8) and found["confidence_turned"] == pytest.approx(0.7)
        swapped = server.judge(PAIR, png("blue"), png("red"), **fields).json()
        assert (swapped["verdict"], swapped["cached"]) == ("2", False)


def server_fields(task: str) -> list[str]:
    return prompting.fields(JUDGE.task(task), "sft")


def decision(threshold: float) -> Decision:
    return Decision(
        style="sft", prompt_sha256="0" * 64, choices=("yes", "no"), both_orders=False, alpha=0.1, delta=0.1,
        threshold=threshold, coverage=0.5, coverage_ci95=[0.4, 0.6], rows=10, clusters=10, decided=5, wrong=0,
        split="val", samples_sha256="", predictions_sha256="0" * 64,
    )  # fmt: skip


def test_a_verdict_below_the_threshold_is_undecided() -> None:
    with serving(lambda n, asked: says("yes", SURE), decisions={"seetrue": decision(0.95)}) as server:
        found = server.judge("seetrue", png(), caption="a dog").json()
        assert (found["verdict"], found["raw"], found["decided"]) == ("undecided", "yes", False)
        assert found["probabilities"] == pytest.approx(SURE)
        assert 'mtrl_undecided_total{task="seetrue"} 1.0' in server.client.get("/metrics").text
    with serving(lambda n, asked: says("yes", SURE), decisions={"seetrue": decision(0.85)}) as server:
        found = server.judge("seetrue", png(), caption="a dog").json()
        assert (found["verdict"], found["raw"], found["decided"]) == ("yes", "yes", True)


def test_what_is_wrong_with_a_request_is_said() -> None:
    with serving(lambda n, asked: says("yes", SURE), ("seetrue", "koniq")) as server:
        image = png()
        for status, code, given in (
            (404, "unknown_task", body("seetru", image, caption="x")),
            (404, "unknown_task", body("../seetrue", image)),
            (400, "invalid_request", {**body("seetrue", image), "threshold": 0.5}),
            (400, "invalid_request", {**body("seetrue", image), "task": 5}),
            (400, "invalid_request", {**body("seetrue", image), "fields": {"caption": 5}}),
            (400, "unknown_field", body("seetrue", image, caption="x", captoin="y")),
            (400, "unknown_field", body("koniq", image, caption="x")),
            (422, "missing_field", body("seetrue", image, caption="  ")),
            (422, "wrong_images", body("seetrue", caption="x")),
            (422, "wrong_images", body("seetrue", image, image, caption="x")),
        ):
            found = server.client.post("/v1/judge", json=given)
            assert (found.status_code, found.json()["error"]["code"]) == (status, code), found.text
        assert "Did you mean 'seetrue'?" in server.client.post("/v1/judge", json=body("seetru", image)).text
        assert not server.asked


def test_an_answer_that_cannot_be_read_is_invalid() -> None:
    with serving(lambda n, asked: says("perhaps")) as server:
        found = server.judge("seetrue", png(), caption="a dog").json()
        assert (found["verdict"], found["probabilities"], found["response"]) == ("invalid", None, "perhaps")
        assert 'mtrl_invalid_total{task="seetrue"} 1.0' in server.client.get("/metrics").text


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (error(400, "the prompt is too long"), 422, "rejected"),
        (error(401, "no"), 502, "model_server_denies"),
        (error(500, "the engine is dead"), 503, "model_server_unavailable"),
        ((200, {"content-type": "application/json"}, "{}"), 502, "model_server_reply"),
        (None, 503, "model_server_unavailable"),  # it hangs up
    ],
)
def test_a_model_server_that_fails(reply: Any, status: int, code: str) -> None:
    replies = [reply]
    with serving(lambda n, asked: replies.pop() if replies else says("yes", SURE)) as server:
        found = server.judge("seetrue", png(), caption="a dog")
        assert (found.status_code, found.json()["error"]["code"]) == (status, code), found.text
        assert ("retry-after" in found.headers) == (status == 503)
        assert server.judge("seetrue", png(), caption="a dog").json()["cached"] is False  # failures are not kept


def test_a_request_that_the_end_cuts_off_can_be_sent_again(capfd: pytest.CaptureFixture[str]) -> None:
    """Without a traceback in the log, and with a status that clients try again."""
    asked, released = threading.Event(), threading.Event()

    def slow(n: int, request: Any) -> Any:
        asked.set()
        released.wait(8)
        return says("yes", SURE)

    with ThreadPoolExecutor(1) as pool:
        with serving(slow, grace=1) as server:
            url = f"{server.url}/v1/judge"
            waiting = pool.submit(httpx2.post, url, json=body("seetrue", png(), caption="a dog"), timeout=60)
            assert asked.wait(20)
        found = waiting.result()
    assert not released.is_set() and (found.status_code, found.json()["error"]["code"]) == (503, "ending"), found.text
    assert found.headers["retry-after"] == "1" and "Traceback" not in capfd.readouterr().err


def test_while_the_model_server_is_down_cached_verdicts_are_answered() -> None:
    with serving(lambda n, asked: says("yes", SURE)) as server:
        assert server.client.get("/healthz").json() == {"status": "ok"}
        server.judge("seetrue", png(), caption="a dog")
        server.model.why = "it has ended and is being started again"
        down = server.judge("seetrue", png(), caption="a cat")
        assert (down.status_code, down.headers["retry-after"]) == (503, "7") and server.model.why in down.text
        assert server.client.get("/healthz").status_code == 503
        assert server.client.post("/v1/chat/completions", json={}).status_code == 503
        assert server.judge("seetrue", png(), caption="a dog").json()["cached"] is True
        server.model.why = ""
        assert server.judge("seetrue", png(), caption="a cat").status_code == 200
        assert server.client.get("/healthz").status_code == 200


def test_64_clients_at_once_are_all_with_the_model_server() -> None:
    import threading

    together = threading.Barrier(64, timeout=60)

    def answer(_: int, asked: dict[str, Any]) -> Any:
        together.wait()  # no answer before 64 are asked
        return says("yes", SURE)

    with serving(answer) as server, ThreadPoolExecutor(64) as pool:
        found = list(pool.map(lambda n: server.judge("seetrue", png(), caption=f"dog {n}").status_code, range(64)))
    assert found == [200] * 64


def test_more_requests_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr(counting, "AT_ONCE", 1)
    come, go = threading.Event(), threading.Event()

    def answer(_: int, asked: dict[str, Any]) -> Any:
        come.set()
        go.wait(30)
        return says("yes", SURE)

    with serving(answer) as server, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.judge, "seetrue", png(), caption="a dog")
        assert come.wait(30)
        busy = server.judge("seetrue", png(), caption="a cat")
        assert (busy.status_code, busy.headers["retry-after"], busy.json()["error"]["code"]) == (503, "1", "busy")
        assert server.client.get("/healthz").status_code == 200
        go.set()
        assert slow.result().status_code == 200


def test_a_key_guards_every_path_but_health() -> None:
    with serving(lambda n, asked: says("yes", SURE), key="a-key-of-24-characters-x") as server:
        for path in ("/v1/models", "/metrics", "/docs"):
            assert server.client.get(path).status_code == 401, path
        for path in ("/v1/judge", "/v1/decisions", "/v1/chat/completions"):
            assert server.client.post(path, json=body("seetrue", png())).status_code == 401, path
        assert server.client.get("/healthz").status_code == 200 and not server.asked
        told = {"Authorization": "Bearer a-key-of-24-characters-x"}
        assert server.client.get("/metrics", headers=told).status_code == 200


def test_the_openai_client_reaches_vllm_with_its_key() -> None:
    from tests.unit import standin

    pieces = [b'data: {"choices": [{"index": 0, "delta": {"content": "yes"}}]}\n\n', b"data: [DONE]\n\n"]

    def answer(_: int, asked: dict[str, Any]) -> Any:
        return (200, {"content-type": "text/event-stream"}, pieces) if asked.get("stream") else completion("yes")

    with serving(answer) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)
        assert [model.id for model in client.models.list()] == ["m"]
        asked: Any = [{"role": "user", "content": "?"}]
        assert client.chat.completions.create(model="mine", messages=asked).choices[0].message.content == "yes"
        stream = client.chat.completions.create(model="mine", messages=asked, stream=True)
        assert [piece.choices[0].delta.content for piece in stream] == ["yes"]
    assert standin


def test_openais_decisions_by_its_own_client() -> None:
    shares = {"1": 0.1, "2": 0.1, "3": 0.1, "4": 0.6, "5": 0.1}

    def answer(_: int, asked: dict[str, Any]) -> Any:
        text = str(asked["messages"])
        return says("4", shares) if "how good is the quality" in text.casefold() else says("yes", SURE)

    with serving(answer, ("seetrue", "koniq")) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)
        url = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
        seen: Any = {"type": "input_image", "image_url": url}
        shown: Any = [{"role": "user", "content": [seen, {"type": "input_json", "data": {"caption": "a dog"}}]}]
        alone: Any = [{"role": "user", "content": [seen]}]
        choices: Any = [{"value": "no"}, {"value": "yes"}]
        asked: Any = [
            {"type": "predicate", "instructions": "seetrue", "name": "match"},
            {"type": "choice", "instructions": "seetrue", "choices": choices},
        ]
        found = client.decisions.create(model="mine", input=shown, questions=asked)
        match, chosen = found.answers
        assert match.type == "predicate" and match.name == "match" and match.probability == pytest.approx(0.9)
        assert chosen.type == "choice" and (chosen.choice, chosen.name) == ("yes", None)
        assert [one.value for one in chosen.probabilities] == ["no", "yes"]
        levels: Any = [{"label": str(n)} for n in range(1, 6)]
        asked = [{"type": "score", "instructions": "koniq", "levels": levels}]
        (scored,) = client.decisions.create(model="mine", input=alone, questions=asked).answers
        assert scored.type == "score" and scored.score == pytest.approx(0.1 + 0.2 + 1.8 + 0.4)
        for wrong, status in (
            ({"questions": [{"type": "predicate", "instructions": "Is there a dog?"}]}, 404),  # not its own question
            ({"questions": [{"type": "predicate", "instructions": "koniq"}]}, 400),
            ({"questions": [{"type": "choice", "instructions": "seetrue", "choices": [{"value": "a"}]}]}, 400),
            ({"model": "gpt-6-luna"}, 404),
            ({"input": "a dog"}, 400),
            ({"input": [{"role": "user", "content": [*shown[0]["content"], shown[0]["content"][1]]}]}, 400),  # twice
            ({"questions": [{"type": "score", "instructions": "koniq", "levels": levels[:3]}]}, 400),
            ({"input": [{"role": "user", "content": [{**seen, "detail": "original"}]}]}, 400),  # it would not be used
        ):
            given: Any = {"model": "mine", "input": shown, "questions": asked, **wrong}
            with pytest.raises(openai.APIStatusError) as raised:
                client.decisions.create(**given)
            assert raised.value.status_code == status, raised.value


def test_a_decision_that_the_judge_cannot_make_is_a_refusal() -> None:
    with serving(lambda n, asked: says("perhaps")) as server:
        url = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
        content = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": "a dog"}]
        given = {
            "model": "mine",
            "input": [{"role": "user", "content": content}],
            "questions": [{"type": "predicate", "instructions": "seetrue"}],
        }
        found = server.client.post("/v1/decisions", json=given)
        assert found.json()["answers"] == [{"type": "refusal", "name": None}]
        assert "a dog" in str(server.asked[0])


@pytest.mark.timed
def test_a_cached_verdict_takes_under_5_ms(tmp_path: Path) -> None:
    with serving(lambda n, asked: says("yes", SURE), cache=tmp_path / "verdicts.sqlite3") as server:
        times = []
        for _ in range(40):
            begun = time.perf_counter()
            assert server.judge("seetrue", png(), caption="a dog").status_code == 200
            times.append(time.perf_counter() - begun)
    assert statistics.median(times[1:]) < 0.005


def test_the_page_of_paths_has_no_script() -> None:
    with serving(lambda n, asked: says("yes", SURE)) as server:
        page = server.client.get("/docs")
        assert page.headers["content-type"].startswith("text/plain") and "seetrue: 1 image(s)" in page.text
        assert {"/v1/judge", "/v1/decisions", "/healthz", "/metrics"} <= server.client.get("/openapi.json").json()[
            "paths"
        ].keys()
        assert "default-src 'none'" in page.headers["content-security-policy"]
