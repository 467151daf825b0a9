"""examples/rewards/client.py, and the trainers' own code that calls it, against the real app.

The trainers are no part of this repository. Where they are, their own code runs: flow_grpo's `multi_score` with the
line that docs/judging-and-serving.md adds, and verl-omni's reward manager and HTTP scorer, in verl's environment:

    git clone https://github.com/yifan123/flow_grpo && git clone https://github.com/verl-project/verl-omni
    FLOW_GRPO=flow_grpo VERL_OMNI=verl-omni python -m pytest tests/unit/test_reward_clients.py
"""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.unit.serving_fixture import Server, body, png, says, serving

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "examples" / "rewards" / "client.py"
FLOW_GRPO, VERL_OMNI = (Path(os.environ.get(name, "/nowhere")).absolute() for name in ("FLOW_GRPO", "VERL_OMNI"))
VERL = ROOT / ".venv-verl" / "bin" / "python"
KEY = "a-key-of-24-characters-0"
RED, BLUE = (255, 0, 0), (0, 0, 255)


def loaded(file: Path, text: str | None = None) -> Any:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    if text is None:
        spec.loader.exec_module(module)
    else:
        exec(compile(text, str(file), "exec"), module.__dict__)
    return module


client = loaded(CLIENT)


def by_colour(_: int, asked: dict[str, Any]) -> Any:
    """The judge of these tests: red is right, and a caption with "unreadable" gets another word."""
    content = asked["messages"][0]["content"]
    url = next(part["image_url"]["url"] for part in content if part["type"] == "image_url")
    pixel = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB").getpixel((5, 5))
    if "unreadable" in str(content):
        return says("perhaps")
    return says("yes", {"yes": 0.9, "no": 0.1}) if pixel == RED else says("no", {"yes": 0.2, "no": 0.8})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(by_colour, ("seetrue", "unsafebench", "agin_nat"), key=KEY) as made:
        made.client.headers["authorization"] = f"Bearer {KEY}"
        yield made


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTRL_API_KEY", KEY)


def square(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (64, 64), colour)


def test_the_example_is_short_and_imports_nothing_of_mtrl() -> None:
    text = CLIENT.read_text()
    assert len([line for line in text.splitlines() if line.strip()]) <= 45 and "mtrl." not in text
    assert "pickle" not in text


def test_images_of_every_kind_in_batches(server: Server) -> None:
    torch = pytest.importorskip("torch")
    red, blue = square(RED), np.asarray(square(BLUE))
    bytes_, floats = torch.tensor(np.array(red)).permute(2, 0, 1), torch.zeros(3, 64, 64, dtype=torch.bfloat16)
    floats[2] = 1.0
    found = client.rewards([red, blue, bytes_, floats] * 10, ["a red square"] * 40, server.url, "seetrue")
    assert found == pytest.approx([0.9, 0.2, 0.9, 0.2] * 10)


def test_the_rewarded_verdict_and_a_task_without_texts(server: Server) -> None:
    assert client.rewards([square(RED)], None, server.url, "unsafebench", field=None, of="no") == pytest.approx([0.1])
    assert client.rewards([square(RED)], ["x"], server.url, "agin_nat", field=None) == pytest.approx([0.9])
    with pytest.raises(RuntimeError, match=r"answered 400: .*of_required"):
        client.rewards([square(RED)], None, server.url, "unsafebench", field=None)


def test_what_fails_is_raised(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        RuntimeError, match=r"answered 422: .*1 of 2 items have no reward; the first, item 2: .*perhaps"
    ):
        client.rewards([square(RED)] * 2, ["a dog", "unreadable"], server.url, "seetrue")
    with pytest.raises(RuntimeError, match=r"answered 404: .*unknown_task"):
        client.rewards([square(RED)], ["a dog"], server.url, "seetru")
    monkeypatch.setenv("MTRL_API_KEY", KEY[::-1])
    with pytest.raises(RuntimeError, match=r"answered 401: ") as found:
        client.rewards([square(RED)], ["a dog"], server.url, "seetrue")
    assert KEY[::-1] not in str(found.value)


def test_it_waits_for_a_model_server_that_starts_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def problem() -> str:
        told.append("")
        return "it has ended and is being started again" if len(told) < 3 else ""

    monkeypatch.setattr(server.model, "problem", problem)
    monkeypatch.setattr(server.model, "wait", lambda: 1)
    assert client.rewards([square(RED)], ["a dog that is new"], server.url, "seetrue") == pytest.approx([0.9])
    assert len(told) >= 3


def test_json_and_a_form_have_the_same_reward(server: Server) -> None:
    given = {**body("seetrue", png(), png("blue")), "fields": {"caption": ["a", "b"]}}
    found = server.client.post("/v1/reward", json=given).json()
    assert found["rewards"] == client.rewards([square(RED), square(BLUE)], ["a", "b"], server.url, "seetrue")
    assert (found["what"], found["of"], found["task"]) == ("P(yes)", "yes", "seetrue")
    assert [item["verdict"] for item in found["items"]] == ["yes", "no"] and found["versions"]["style"] == "sft"


@pytest.mark.skipif(not FLOW_GRPO.is_dir(), reason="FLOW_GRPO does not name a clone of yifan123/flow_grpo")
def test_flow_grpos_own_multi_score(server: Server) -> None:
    """With the line of docs/judging-and-serving.md in its table of rewards."""
    torch = pytest.importorskip("torch")
    file = FLOW_GRPO / "flow_grpo" / "rewards.py"
    line = f'        "mtrl": lambda: client.flow_grpo("{server.url}", "seetrue"),\n'
    text = file.read_text().replace('        "geneval": geneval_score,\n', f'        "geneval": geneval_score,\n{line}')
    rewards = loaded(file, text)
    rewards.client = client
    images = torch.zeros(2, 3, 64, 64)
    images[0, 0] = images[1, 2] = 1.0
    found, _ = rewards.multi_score(torch.device("cpu"), {"mtrl": 2.0})(images, ["a red square"] * 2, {})
    assert found["mtrl"] == pytest.approx([0.9, 0.2]) and found["avg"] == pytest.approx([1.8, 0.4])


MANAGER = """
import asyncio, importlib, json, sys, types
import torch
from omegaconf import OmegaConf
from verl import DataProto

root, client, server = sys.argv[1:]
sys.path.insert(0, root)
for name in ("verl_omni", "verl_omni.reward_loop"):  # their __init__ imports trainers, and writes into site-packages
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [f"{root}/{name.replace('.', '/')}"]
from verl_omni.reward_loop.reward_manager.multi import MultiVisualRewardManager
from verl_omni.utils.reward_score import http_scorer_client


def scored(prompt, **keys):
    ours = {"path": client, "name": "compute_score", "weight": 1.0, "required": True, "server_url": server, **keys}
    config = OmegaConf.create({
        "reward": {"reward_functions": {"mtrl": ours}},
        "actor_rollout_ref": {"rollout": {"pipeline": {}, "val_kwargs": {"pipeline": {}}}},
    })
    manager = MultiVisualRewardManager(config, None, compute_score=None)
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    image[0, 0] = 255
    truth = [{"ground_truth": prompt}]
    texts = {"data_source": ["x"], "reward_model": truth, "extra_info": [{}]}
    data = DataProto.from_dict(tensors={"responses": image}, non_tensors=texts)
    try:
        return manager.loop.run_until_complete(manager.run_single(data))["reward_extra_info"]
    except RuntimeError as error:
        return str(error)


async def pickled():
    try:
        image = torch.zeros(3, 64, 64, dtype=torch.uint8)
        return await http_scorer_client.compute_score(image, "a", f"{server}/v1/reward", retry_backoff=0)
    except RuntimeError as error:
        return str(error)
    finally:
        await http_scorer_client.compute_score._session.close()

found = [scored("a red square", task="seetrue"), scored("unreadable", task="seetrue"), asyncio.run(pickled())]
print(json.dumps(found))
"""


@pytest.mark.skipif(not VERL_OMNI.is_dir(), reason="VERL_OMNI does not name a clone of verl-project/verl-omni")
@pytest.mark.skipif(not VERL.exists(), reason="verl's environment is missing: make setup-verl")
def test_verl_omnis_own_reward_manager_and_scorer() -> None:
    """Its manager calls the example's compute_score. Its own HTTP scorer sends pickle, which is refused and not read:
    it fails at once, with a message that says so."""
    with serving(by_colour) as server:
        command = [str(VERL), "-c", MANAGER, str(VERL_OMNI), str(CLIENT), server.url]
        environment = {name: value for name, value in os.environ.items() if name != "MTRL_API_KEY"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        right, unreadable, pickled = json.loads(done.stdout.splitlines()[-1])
        assert right == {"reward/mtrl": pytest.approx(0.9), "reward/combined": pytest.approx(0.9)}
        assert "Required sub-reward 'mtrl' failed" in unreadable and "422" in unreadable
        assert "Scorer server returned HTTP 415" in pickled and "never pickle" in pickled
        assert len(server.asked) == 2
