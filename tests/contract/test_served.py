"""A judge served by `mtrl serve` in front of the real vLLM answers as the offline engine does: prompt tokens, verdicts,
confidence; with 64 clients at once, and after its model server was killed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import openai
import psutil
import pytest
from PIL import Image

from mtrl.config import recipe
from mtrl.core.files import read_jsonl
from mtrl.demo.walkthrough import tiny
from mtrl.evaluate.engines.image_url import data_url
from mtrl.models import experts
from mtrl.preflight.lengths import image_tokens
from tests.conftest import mtrl

pytestmark = pytest.mark.e2e

TASKS = "demo_alignment,demo_pairs"
EVAL = ("eval", "--ckpt", tiny(), "--tasks", TASKS, "--limit", 20, "--confidence")
JUDGE = ("judge", "list.jsonl", "--ckpt", tiny(), "--style", "rl", "--field", "caption=red square")
PROBE = ("probe", "--ckpt", tiny(), "--tasks", TASKS, "--rows", 4, "--style", "rl")
PROBE += ("--only", "blank,order,caption,prefill")
BOTH = """
import json, sys
from mtrl.cli import main

if __name__ == "__main__":
    for command in json.loads(sys.argv[1]):  # in one process: importing vLLM is most of the time
        try:
            main(command)
        except SystemExit as end:
            assert not end.code
"""


@pytest.fixture(scope="module")
def home(converted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("served") / "project"
    shutil.copytree(converted, home)
    files = sorted((home / "data" / "images").rglob("*.png"))[:6]
    rows = [f'{{"image": "{file}", "task": "demo_alignment"}}\n' for file in files[:4]]
    rows.append(f'{{"images": ["{files[4]}", "{files[5]}"], "task": "demo_pairs", "id": "the pair"}}\n')
    (home / "list.jsonl").write_text("".join(rows))
    return home


class Served(NamedTuple):
    address: str
    """Ends in /v1."""
    printed: str
    """By the offline judge."""
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[Served]:
    """The offline judge and evaluation run while the server starts."""
    words = ["serve", "--ckpt", tiny(), "--tasks", TASKS, "--port", "0", "--cache", "cache.sqlite3"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(home / "user")}
    with (home / "server.err").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mtrl", *map(str, words)],
            cwd=home,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert server.stdout
    try:
        commands = [[*map(str, EVAL), "--out", "offline"], [*map(str, JUDGE), "--out", "offline.jsonl"]]
        commands.append([*map(str, PROBE), "--out", "probed"])
        done = subprocess.run(
            [sys.executable, "-c", BOTH, json.dumps(commands)], cwd=home, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        line = next((line for line in server.stdout if line.startswith("serving ")), "")
        assert line, (home / "server.err").read_text()
        yield Served(f"{line.split()[3]}/v1", done.stdout, server)
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 130 and "Traceback" not in (home / "server.err").read_text()
    finally:
        server.kill()
        server.wait()


def test_a_probe_is_the_same_offline_and_served_and_continues_after_a_kill(home: Path, served: Served) -> None:
    asked = [*PROBE, "--endpoint", served.address, "--served-model", tiny().name]
    file = home / "runs" / f"probe-{tiny().name}" / "predictions.jsonl"
    with (home / "probe.log").open("w") as log:
        killed = subprocess.Popen([sys.executable, "-m", "mtrl", *map(str, asked)], cwd=home, stdout=log, stderr=log)
    while killed.poll() is None and not (file.exists() and file.stat().st_size):
        time.sleep(0.02)
    killed.kill()
    killed.wait(60)
    done = mtrl(*asked, cwd=home)
    assert done.code == 0, done.err
    offline, online = (
        {(r["task"], r["id"], r["order"], r.get("variant", "")): r["response"] for r in read_jsonl(one)}
        for one in (home / "probed" / "predictions.jsonl", file)
    )
    assert offline == online  # also what was continued after "Wait, let me look again."
    begun = [response for (_, _, _, variant), response in online.items() if variant == "prefill"]
    assert len(begun) == 8 and all(response.startswith("<think>Wait, let me look again.") for response in begun)
    assert {variant for _, _, _, variant in online} == {"", "blank", "order", "caption", "prefill"}
    for folder in (file.parent, home / "probed"):
        assert (folder / "probe.json").exists() and (folder / "probe.html").exists()
        assert not (folder / ".images").exists()


def test_an_evaluation_is_the_same_offline_and_served(home: Path, served: Served) -> None:
    done = mtrl(*EVAL, "--endpoint", served.address, "--served-model", tiny().name, cwd=home)
    assert done.code == 0, done.err
    offline, online = (
        {(r["task"], r["id"], r["order"]): r for r in read_jsonl(home / folder / "predictions.jsonl")}
        for folder in ("offline", f"runs/eval-{tiny().name}")
    )
    assert len(offline) == 60 and offline.keys() == online.keys()
    for key, row in offline.items():
        there = online[key]
        assert (row["response"], row["tokens"], row["finish_reason"]) == (
            there["response"],
            there["tokens"],
            there["finish_reason"],
        )
        assert there["confidence"] == pytest.approx(
            row["confidence"], abs=0.03
        )  # batches differ, and bfloat16 with them
        if row["verdict"]:
            assert 0.45 < row["confidence"] <= 1  # greedy: of the two choices it took the likelier
    assert sum(row["verdict"] is not None for row in offline.values()) > 50


def test_mtrl_judge_is_the_same_offline_and_served(home: Path, served: Served) -> None:
    done = mtrl(*JUDGE, "--endpoint", served.address, "--served-model", tiny().name, "--out", "online.jsonl", cwd=home)
    assert done.code == 0, done.err
    offline, online = (read_jsonl(home / name) for name in ("offline.jsonl", "online.jsonl"))
    sure = [row["confidence"] for row in offline]
    for here, there in zip(offline, online, strict=True):
        for name in ("confidence", "confidence_turned"):  # batches differ
            assert here.pop(name, None) == pytest.approx(there.pop(name, None), abs=0.03)
        assert {k: v for k, v in here.items() if k != "asked"} == {k: v for k, v in there.items() if k != "asked"}
    assert [row["verdict"] in ("yes", "no") for row in offline[:4]] == [True] * 4
    assert all(row["reasoning"] for row in offline[:4]) and all(0 < one <= 1 for one in sure[:4])
    assert offline[4]["id"] == "the pair" and offline[4]["response_turned"]
    for shown in (served.printed, done.out):
        assert all(row["reasoning"] in shown and row["verdict"] in shown for row in offline[:4])


def test_prompt_tokens_are_those_of_the_judges_range(tmp_path: Path, served: Served) -> None:
    narrow = recipe.load("zero_shot", "tiny", "cpu", sets=["image.min_pixels=16384", "image.max_pixels=40000"])
    client, counted = openai.OpenAI(base_url=served.address, api_key="EMPTY"), []
    sizes = [(64, 64), (130, 170), (640, 480), (70, 900)]
    for size in sizes:
        Image.new("RGB", size, "red").save(tmp_path / "p.jpg")
        url = data_url(tmp_path / "p.jpg", narrow.image.model_dump(), 32)
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "?"}]
        reply = client.chat.completions.create(
            model=tiny().name, messages=[{"role": "user", "content": content}], max_tokens=1
        )
        counted.append(reply.usage.prompt_tokens)
    expected = [image_tokens(*size, narrow) for size in sizes]
    assert [count - counted[0] for count in counted] == [tokens - expected[0] for tokens in expected]
    assert expected[0] == 16 and expected[2] < 40  # the server's own range would give 4 and 54


def asked(home: Path) -> dict[str, dict[str, Any]]:
    """The body of /v1/judge for each item that was evaluated, by task and id."""
    from mtrl.config import samples

    found = {}
    for row in read_jsonl(home / "offline" / "predictions.jsonl"):
        sample = next(one for one in samples.read(home / "data", row["task"], "test") if one.id == row["id"])
        images = [base64.b64encode((home / "data" / name).read_bytes()).decode() for name in sample.images]
        found[f"{row['task']} {row['id']}"] = {"task": row["task"], "images": images, "fields": sample.fields}
    return found


def test_64_clients_get_the_verdicts_of_the_evaluation(home: Path, served: Served) -> None:
    rows = {(r["task"], r["id"], r["order"]): r for r in read_jsonl(home / "offline" / "predictions.jsonl")}
    bodies = asked(home)
    with httpx2.Client(timeout=300, trust_env=False) as client, ThreadPoolExecutor(64) as pool:
        replies = list(pool.map(lambda body: client.post(f"{served.address}/judge", json=body), bodies.values()))
        times = []
        for body in bodies.values():
            begun = time.perf_counter()
            assert client.post(f"{served.address}/judge", json=body).json()["cached"]
            times.append(time.perf_counter() - begun)
    assert min(times) < 0.005
    for name, reply in zip(bodies, replies, strict=True):
        found, given = reply.json(), rows[(*name.split(" ", 1), "given")]
        assert reply.status_code == 200 and found["cached"] is False, reply.text
        assert (found["response"], found["verdict"]) == (given["response"], given["verdict"] or "invalid")
        assert found["confidence"] == pytest.approx(given["confidence"], abs=0.03)
        if found["probabilities"]:
            assert sum(found["probabilities"].values()) == pytest.approx(1)
        if found["response_turned"] is not None:
            turned = rows[(*name.split(" ", 1), "turned")]
            assert found["response_turned"] == turned["response"]
            assert found["confidence_turned"] == pytest.approx(turned["confidence"], abs=0.03)


def test_rewards_are_the_probabilities_of_the_evaluation(home: Path, served: Served) -> None:
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in read_jsonl(home / "offline" / "predictions.jsonl"):
        rows.setdefault(f"{row['task']} {row['id']}", []).append(row)
    for task, first, what in (("demo_alignment", "yes", "P(yes)"), ("demo_pairs", "1", "P(first)")):
        bodies = {name: body for name, body in asked(home).items() if body["task"] == task}
        readable = [name for name in bodies if all(row["verdict"] for row in rows[name])]
        fields = {key: [bodies[name]["fields"][key] for name in readable] for key in bodies[readable[0]]["fields"]}
        images = [image for name in readable for image in bodies[name]["images"]]
        body = {"task": task, "images": images, "fields": fields}
        found = httpx2.post(f"{served.address}/reward", json=body, timeout=300, trust_env=False).json()
        assert found["what"] == what and len(found["rewards"]) == len(readable) > 10
        for name, reward in zip(readable, found["rewards"], strict=True):
            sure = [(row["verdict"] == first) == (row["order"] == "given") for row in rows[name]]
            shares = [
                row["confidence"] if yes else 1 - row["confidence"] for yes, row in zip(sure, rows[name], strict=True)
            ]
            assert reward == pytest.approx(sum(shares) / len(shares), abs=0.03)


def test_a_client_that_hangs_up_ends_its_request_in_vllm(served: Served) -> None:
    """The engine works on it, and then no longer, though the answer would have 2,000 tokens."""
    (engine,) = (p for p in psutil.Process(served.process.pid).children(recursive=True) if "EngineCore" in p.name())
    body = {
        "model": tiny().name,
        "messages": [{"role": "user", "content": "?"}],
        "max_tokens": 2000,
        "ignore_eos": True,
    }

    def worked(do: Callable[[], Any]) -> float:
        """Seconds of processor time that the engine takes meanwhile."""
        before = engine.cpu_times()
        do()
        after = engine.cpu_times()
        return after.user + after.system - before.user - before.system

    def ask() -> None:
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.post(f"{served.address}/chat/completions", json=body, timeout=4, trust_env=False)

    assert worked(ask) > 0.4  # of 4, next to other tests
    time.sleep(0.5)
    assert worked(lambda: time.sleep(3)) < 0.2


@pytest.mark.parametrize("part", ["server", "engine"])
def test_the_model_server_killed_under_load_comes_back(home: Path, served: Served, part: str) -> None:
    """Every reply is a verdict, or 503 with the time to come back. The engine alone: vLLM's server then ends itself."""
    body = next(iter(asked(home).values()))
    (vllm,) = (p for p in psutil.Process(served.process.pid).children() if "model_process" in " ".join(p.cmdline()))
    inside = [vllm, *vllm.children(recursive=True)]
    (engine,) = (process for process in inside if "EngineCore" in process.name())

    def ask(number: int) -> httpx2.Response:
        new = {**body, "fields": {**body["fields"], "caption": f"{part} {number}"}}  # not in the cache
        if number == 40:
            {"server": vllm, "engine": engine}[part].kill()
        return client.post(f"{served.address}/judge", json=new)

    health = served.address.replace("/v1", "/healthz")
    with httpx2.Client(timeout=300, trust_env=False) as client:
        with ThreadPoolExecutor(32) as pool:
            replies = list(pool.map(ask, range(100)))
        down = [reply for reply in replies if reply.status_code != 200]
        assert down and {reply.status_code for reply in down} == {503}
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in down)
        assert {reply.json()["error"]["code"] for reply in down} == {"model_server_unavailable"}
        assert client.get(health).status_code == 503
        assert client.post(f"{served.address}/judge", json=body).json()["cached"]  # while it is down, too
        deadline = time.monotonic() + 300
        while client.get(health).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(1)
        again = ask(41)
        assert again.status_code == 200 and again.json()["verdict"] in ("yes", "no", "invalid")
    assert not any(process.is_running() and process.status() != "zombie" for process in inside)


def test_a_checkpoint_that_vllm_refuses_is_one_line_and_a_cause(home: Path) -> None:
    shutil.copytree(tiny(), home / "transposed")
    (home / "transposed" / "model.safetensors").unlink()
    experts.copy_transposed(tiny() / "model.safetensors", home / "transposed" / "model.safetensors")
    done = mtrl("eval", "--ckpt", "transposed", "--tasks", "demo_quality", "--limit", 2, cwd=home)
    assert done.code == 1 and "Traceback" not in done.err
    said = done.err[done.err.index("mtrl: ") :].splitlines()
    assert "vLLM cannot load transposed: " in said[0] and "mtrl export writes" in said[1]
