"""The endpoint engine against a real HTTP server that misbehaves: what is retried, kept, refused, and never written."""

from __future__ import annotations

import base64
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import read_jsonl
from mtrl.evaluate.engines import endpoint
from mtrl.evaluate.engines.base import Answer, Sampling
from mtrl.evaluate.engines.endpoint import EndpointEngine
from mtrl.evaluate.engines.image_url import data_url
from mtrl.evaluate.engines.request import Request
from tests.unit.standin import MODELS, Reply, completion, error, html, standin

RANGE, SIDE = {"min_pixels": 4096, "max_pixels": 65536}, 32
SAMPLING = Sampling(16, confidence=True)
SOON = {"retry-after-ms": "1"}


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "p.png")
    return tmp_path / "p.png"


def requests(picture: Path, count: int) -> list[Request]:
    return [Request(str(n), "t", "given", 0, f"<image>{n}?", (picture,), "yes", ("yes", "no")) for n in range(count)]


def engine(url: str, style: str = "sft", said: list[str] | None = None) -> EndpointEngine:
    return EndpointEngine(url, "m", style, RANGE, SIDE, (said if said is not None else []).append)


def ask(url: str, wanted: list[Request], style: str = "sft", sampling: Sampling = SAMPLING) -> list[Answer]:
    return list(engine(url, style).answers(wanted, sampling))


def test_what_is_sent_and_what_comes_back(picture: Path) -> None:
    listed = {
        "token": "yes",
        "logprob": -0.1,
        "top_logprobs": [{"token": "yes", "logprob": -0.1}, {"token": "no", "logprob": -2.0}],
    }
    status, headers, body = completion("yes")
    whole = json.loads(body)
    whole["choices"][0]["logprobs"] = {"content": [listed]}
    with standin(lambda n, asked: (status, headers, json.dumps(whole))) as server:
        answers = ask(server.url, requests(picture, 40))
    assert sorted(int(a.request.id) for a in answers) == list(range(40))
    assert {(a.response, a.tokens, a.finish_reason) for a in answers} == {("yes", 1, "stop")}
    assert answers[0].steps == [("yes", {"yes": -0.1, "no": -2.0})]
    sent = server.asked[0]
    assert (sent["temperature"], sent["max_tokens"], sent["logprobs"], sent["top_logprobs"]) == (0.0, 16, True, 20)
    assert "seed" not in sent and "top_k" not in sent  # nothing that only vLLM knows
    shown, text = sent["messages"][0]["content"]
    assert base64.b64decode(shown["image_url"]["url"].partition(",")[2]) == picture.read_bytes()  # as stored
    assert text == {"type": "text", "text": "0?"} and server.keys == {"Bearer EMPTY"}


def test_votes_have_seeds_and_vllm_is_told_more(picture: Path) -> None:
    models = 200, MODELS[1], json.dumps({"object": "list", "data": [{"id": "m", "owned_by": "vllm"}]})
    votes = [
        Request(name, "t", "given", vote, "<image>?", (picture,), "yes", ("yes", "no"))
        for name in "ab"  # with one seed for both, the same noise would fall on every item
        for vote in range(3)
    ]
    with standin(lambda n, asked: completion(), models) as server:
        ask(server.url, votes, sampling=Sampling(16, temperature=1.0))
    seeds = [asked["seed"] for asked in server.asked]
    assert sorted(seeds) == sorted({Sampling(16).seed_of(vote) for vote in votes}) and len(set(seeds)) == 6
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert all(asked["top_k"] == -1 and "logprobs" not in asked for asked in server.asked)


@pytest.mark.parametrize("bad", [error(429, "slow down", **SOON), error(503, "busy", **SOON), None])
def test_the_client_tries_again(picture: Path, bad: Reply | None) -> None:
    with standin(lambda n, asked: bad if n in (2, 3) else completion()) as server:
        answers = ask(server.url, requests(picture, 3))
    assert len(answers) == 3 and len(server.asked) == 5


def test_a_storm_of_429_stops_and_keeps_what_there_is(picture: Path) -> None:
    got: list[Answer] = []
    with (
        standin(lambda n, asked: completion() if n <= 10 else error(429, "slow down", **SOON)) as server,
        pytest.raises(MtrlError, match=r"slow down after 5 retries") as stop,
    ):
        for answer in engine(server.url).answers(requests(picture, 200), SAMPLING):
            got.append(answer)
    assert len(got) == 10 and "it continues from there" in stop.value.then and stop.value.exit_code == 1
    assert len(server.asked) <= 10 + endpoint.CONCURRENCY * (endpoint.RETRIES + 1)  # no more is asked once it gave out


def test_no_more_are_in_flight_than_is_said(picture: Path) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def slow(number: int, asked: object) -> Reply:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return completion()

    with standin(slow) as server:
        ask(server.url, requests(picture, 100))
    assert 2 <= most <= endpoint.CONCURRENCY


def test_what_a_model_refuses_to_be_told_is_left_out_and_said(picture: Path) -> None:
    def strict(number: int, asked: dict[str, object]) -> Reply:
        if "max_tokens" in asked:
            return error(
                400,
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.",
            )
        if "temperature" in asked:
            return error(400, "Unsupported value: 'temperature' does not support 0 with this model.")
        if "logprobs" in asked:
            return error(400, "You are not allowed to request logprobs from this model.")
        return completion()

    said: list[str] = []
    with standin(strict) as server:
        asking = engine(server.url, said=said)
        answers = list(asking.answers(requests(picture, 4), SAMPLING))
    assert [a.response for a in answers] == ["yes"] * 4 and answers[0].steps is None
    assert len(server.asked) == 4 + 3 and server.asked[-1]["max_completion_tokens"] == 16
    assert len(said) == 3 and any("logprobs" in words for words in said)
    assert asking.describe()["left_out"] == ["logprobs", "max_tokens", "temperature"]


def test_one_bad_row_is_rejected_alone(picture: Path, tmp_path: Path) -> None:
    long = "This model's maximum context length is 9 tokens; 'max_tokens' is too large"
    rows = requests(picture, 6)
    (tmp_path / "broken.png").write_bytes(picture.read_bytes()[:60])
    rows[3] = Request("3", "t", "given", 0, "<image>?", (tmp_path / "broken.png",), "yes", ("yes", "no"))

    def answer(number: int, asked: dict[str, list[dict[str, list[dict[str, str]]]]]) -> Reply:
        return error(400, long) if asked["messages"][0]["content"][1]["text"] == "1?" else completion()

    with standin(answer) as server:
        reasons = {a.request.id: a.finish_reason for a in ask(server.url, rows)}
    assert reasons["1"] == f"rejected: {long}" and reasons["3"].startswith("rejected: ")
    assert [reasons[n] for n in "0245"] == ["stop"] * 4


def test_when_every_row_is_rejected_it_is_not_the_rows(picture: Path) -> None:
    with standin(lambda n, asked: error(400, "this model sees no images")) as server:
        with pytest.raises(MtrlError, match=r"rejects every request.*sees no images"):
            ask(server.url, requests(picture, 50))
        assert len(server.asked) == endpoint.REJECTED
        assert [a.finish_reason for a in ask(server.url, requests(picture, 1))] == [
            "rejected: this model sees no images"
        ]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (html(), r"something other than a chat completion .*: <html><body><script>"),
        (html(502), r"fails with status 502: <html>"),
        ((200, {"content-type": "application/json"}, "{not json"), "not valid JSON.*: {not json"),
        ((200, {"content-type": "application/json"}, "[]"), "something other than a chat completion"),
        ((200, {"content-type": "application/json"}, '{"error": {"message": "upstream is down"}}'), "upstream is down"),
        ((200, {"content-type": "application/json"}, '{"choices": []}'), "something other than a chat completion"),
        ((200, {"content-type": "application/json"}, '{"choices": [{"message": 7}]}'), "something other"),
        (error(401, "Incorrect API key provided"), "denies access: Incorrect API key"),
        (error(404, "The model `m` does not exist"), "has no model 'm'"),
    ],
)
def test_nonsense_is_one_plain_error(picture: Path, reply: Reply, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "RETRIES", 0)
    with standin(lambda n, asked: reply) as server, pytest.raises(MtrlError, match=says) as stop:
        ask(server.url, requests(picture, 3))
    assert stop.value.then and len(str(stop.value)) < 250
    if reply[0] == 404:
        assert "it serves: m" in stop.value.then


def test_the_key_goes_to_the_endpoint_and_nowhere_else(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-" + "secret" * 5
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with standin(lambda n, asked: error(401, f"Bearer {key}: no such key")) as server:
        with pytest.raises(UserError) as stop:
            ask(server.url, requests(picture, 1))
        assert server.keys == {f"Bearer {key}"}
    assert "secret" not in str(stop.value) + stop.value.then and "[key]" in str(stop.value)
    with pytest.raises(UserError, match="more than an address"):
        engine(f"http://me:{key}@127.0.0.1/v1")


@pytest.mark.parametrize(
    "models", [html(), html(404), error(500, "x"), (200, MODELS[1], '{"data": null}'), (200, {}, "")]
)
def test_an_endpoint_need_not_list_its_models(picture: Path, models: Reply) -> None:
    with standin(lambda n, asked: completion(), models) as server:
        assert [a.response for a in ask(server.url, requests(picture, 1))] == ["yes"]


def test_a_key_that_no_header_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-\nsecret")
    with pytest.raises(UserError, match="no key has") as stop:
        engine("http://127.0.0.1:1/v1")
    assert "secret" not in str(stop.value)


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(MtrlError, match="refused") as stop:
        engine(f"http://127.0.0.1:{port}/v1")
    assert "start the server" in stop.value.then
    with pytest.raises(UserError, match=r"is not an http\(s\) address"):
        engine("127.0.0.1:8000/v1")


def test_answers_of_every_shape(picture: Path) -> None:
    thought = {"reasoning_content": "red"}
    shapes = [
        (completion(None), "sft", ""),
        (completion(None, refusal="I will not"), "sft", "I will not"),
        (completion("yes", reasoning="it is red"), "sft", "yes"),
        (
            completion("<answer>yes</answer>", reasoning="it is red"),
            "rl",
            "<think>it is red</think><answer>yes</answer>",
        ),
        (completion(None, finish_reason="length", **thought), "rl", "<think>red</think>"),
        (completion("<think>a</think><answer>no</answer>", **thought), "rl", "<think>a</think><answer>no</answer>"),
        (completion("x" * 100_000), "sft", "x" * 100_000),
        (completion("half \ud800 a pair"), "sft", "half ? a pair"),
    ]
    for reply, style, expected in shapes:
        with standin(lambda n, asked, reply=reply: reply) as server:
            assert [a.response for a in ask(server.url, requests(picture, 1), style)] == [expected]


SIZES = [
    ((64, 64), (64, 64)),  # in the range
    ((100, 70), (100, 70)),  # and no multiple of 32: the server rounds it as the offline engine does
    ((640, 480), (288, 192)),  # above it: what smart_resize makes of it
    ((20, 20), (64, 64)),  # below it
]


@pytest.mark.parametrize(("size", "sent"), SIZES)
def test_an_image_outside_the_range_goes_at_the_size_the_judge_sees(
    tmp_path: Path, size: tuple[int, int], sent: tuple[int, int]
) -> None:
    Image.new("RGB", size, "blue").save(tmp_path / "p.jpg")
    kind, _, data = data_url(tmp_path / "p.jpg", RANGE, SIDE).partition(";base64,")
    found = base64.b64decode(data)
    assert Image.open(io.BytesIO(found)).size == sent
    assert (found == (tmp_path / "p.jpg").read_bytes()) == (size == sent)
    assert kind == ("data:image/jpeg" if size == sent else "data:image/png")


def test_what_servers_read_otherwise_goes_as_training_saw_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (96, 64), "blue").save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGBA", (64, 64), (200, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "old.bmp")
    shown = {
        name: Image.open(io.BytesIO(base64.b64decode(data_url(tmp_path / name, RANGE, SIDE).partition(",")[2])))
        for name in ("turned.jpg", "clear.png", "old.bmp")
    }
    assert all(image.format == "PNG" and image.mode == "RGB" for image in shown.values())
    assert shown["turned.jpg"].size == (96, 64) and not shown["turned.jpg"].getexif()
    assert shown["clear.png"].getpixel((0, 0)) == (200, 0, 0)  # vLLM would put it on white


EVAL = ("eval", "--model", "org/m: 1", "--tasks", "demo_quality", "--limit", "60")


def test_mtrl_eval_over_an_endpoint_that_dies_half_way(project: Path, cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "RETRIES", 1)
    key = "sk-" + "secret" * 5
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with standin(lambda n, asked: completion() if n <= 25 else None) as server:
        stopped = cli(*EVAL, "--endpoint", server.url)
    assert stopped.code == 1 and "does not answer" in stopped.err and "it continues from there" in stopped.err
    folder = project / "runs" / "eval-org-m-1"
    kept = read_jsonl(folder / "predictions.jsonl")
    assert len(kept) == 25 and "Traceback" not in stopped.err
    with standin(lambda n, asked: completion("no")) as server:  # another port, the same judge
        done = cli(*EVAL, "--endpoint", server.url)
        assert len(server.asked) == 60 - 25  # nothing is asked twice
    assert done.code == 0, done.err
    rows = read_jsonl(folder / "predictions.jsonl")
    assert len({row["id"] for row in rows}) == len(rows) == 60 and rows[:25] == kept
    identity = json.loads((folder / "eval.json").read_text())
    assert (identity["checkpoint"], identity["method"], identity["style"]) == ("org/m: 1", "zero_shot", "sft")
    assert identity["engine"]["engine"] == "openai" and (folder / "report.html").exists()
    for file in project.rglob("*"):
        assert not file.is_file() or key.encode() not in file.read_bytes(), file
    assert key not in stopped.out + stopped.err + done.out + done.err
    other = cli("eval", "--served-model", "m2", "--out", folder, *EVAL[3:], "--endpoint", server.url)
    assert other.code == 2 and "another evaluation" in other.err


def test_options_that_do_not_go_together(cli) -> None:
    assert "--endpoint needs --served-model" in cli("eval", "--endpoint", "http://127.0.0.1:1/v1").err
    assert "add --endpoint" in cli("eval", "--served-model", "m").err
    assert "Pass --ckpt PATH, or --endpoint URL and --served-model NAME." in cli("eval").err


def test_ctrl_c_does_not_wait_for_a_slow_endpoint(project: Path) -> None:
    asked = threading.Event()

    def slow(number: int, body: object) -> Reply:
        if number > 5:
            asked.set()
            time.sleep(20)
        return completion()

    with standin(slow) as server:
        command = [sys.executable, "-m", "mtrl", *EVAL, "--endpoint", server.url]
        process = subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True)
        assert asked.wait(60)
        time.sleep(0.5)  # the answers before it are being written
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=60)
        assert process.returncode == 130 and "interrupted by SIGINT" in words and "Traceback" not in words
        assert time.monotonic() - begun < 10
    assert len(read_jsonl(project / "runs" / "eval-org-m-1" / "predictions.jsonl")) == 5
