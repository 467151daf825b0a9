"""Qwen3-VL-2B's real shape in the real vLLM on a CPU, over real photographs: plan's tokens are vLLM's.

The weights are vLLM's dummies, so no file of 4 GB is needed; the answers mean nothing. It takes a few minutes on two
cores, and 8 GB of memory. The folder with the photographs is not part of the project.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtrl.config import recipe
from mtrl.core.files import write_json
from mtrl.demo import random_model
from mtrl.preflight import lengths
from tests.conftest import ROOT, mtrl
from tests.e2e.test_real_images import RELEASE

TASKS = {"photo_single": 2, "photo_pairs": 1}  # and how many samples of each are asked
SINGLE = """
title: Is the photograph whole?
capability: quality
source: {file: labels.csv, images: [image], image_folder: images, fields: {caption: caption}}
label: {column: label, values: {yes: [original], no: [edited]}}
split: {by: random, group: pair, parts: {train: 0.7, val: 0.1, test: 0.2}}
"""
PROMPT = """You judge a photograph.

<image>
Caption: "{{ caption }}"

Is it whole? """
ANSWER = {"sft": "Answer yes or no.", "rl": "Reply <think>why</think><answer>yes or no</answer>."}
ASK = """
import json, os, sys
from pathlib import Path
import vllm

real = vllm.LLM
vllm.LLM = lambda **options: real(**{**options, "load_format": "dummy"})

def main():
    from mtrl.config import recipe, tasks
    from mtrl.evaluate import requests
    from mtrl.evaluate.engines.offline import VllmEngine, VllmModel

    image, found = recipe.load("rl_multitask", "real", "cpu", sets=["tasks=photo_single"]).image, {}
    engine = VllmEngine(VllmModel("2b", image.min_pixels, image.max_pixels, 2, 16))
    for name, limit in json.loads(sys.argv[1]).items():
        for request in requests.build(tasks.load(name), "rl", Path("data"), "test", limit=limit):
            if request.order == "given":
                asked = engine._prompt(request)
                (output,) = engine._llm.generate([asked], vllm.SamplingParams(max_tokens=1), use_tqdm=False)
                found[f"{name}/test/{request.id}"] = len(output.prompt_token_ids)
    cache = os.environ["VLLM_CPU_KVCACHE_SPACE"]
    print("RESULT" + json.dumps({"tokens": found, "note": engine.note, "cache": cache}))

if __name__ == "__main__":
    main()
"""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not RELEASE.exists(), reason="no ../shared/data/mjbench_quality_objects"),
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The photographs converted, and 2b/: the model without weights, with its preset "real"."""
    shutil.copytree(ROOT / "tests" / "e2e" / "photos", tmp_path, dirs_exist_ok=True)
    (tmp_path / "recipes/tasks/photo_single.yaml").write_text(SINGLE)
    for style, ask in ANSWER.items():
        (tmp_path / f"prompts/{style}/photo_single.jinja").write_text(PROMPT + ask)
    done = mtrl("convert", *TASKS, "--raw", RELEASE, cwd=tmp_path)
    assert done.code == 0, done.err
    (tmp_path / "2b").mkdir()
    write_json(tmp_path / "2b" / "config.json", random_model.config(False, random_model.tokenizer(tmp_path / "2b")))
    preset = (ROOT / "recipes" / "models" / "qwen3-vl-2b.yaml").read_text()
    (tmp_path / "recipes" / "models").mkdir()
    (tmp_path / "recipes/models/real.yaml").write_text(preset.replace("Qwen/Qwen3-VL-2B-Instruct", "2b"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_plans_tokens_are_vllms(home: Path) -> None:
    planned = {}
    loaded = recipe.load("rl_multitask", "real", "cpu", sets=["tasks=photo_single"])
    for name, count in TASKS.items():
        rows = list(lengths.lengths(loaded, Path("data"), name, ("test",)))[:count]
        planned |= {f"{name}/{row.row}": row.image + row.text for row in rows}
    command = [sys.executable, "-c", ASK, json.dumps(TASKS)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=1400, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0 and "RESULT" in done.stdout, done.stdout[-2000:] + done.stderr[-3000:]
    said = json.loads(done.stdout.split("RESULT")[1].splitlines()[0])
    assert said["tokens"] == planned and len(planned) == 3, (said, planned)
    assert min(planned.values()) > 1024  # a photograph of 1024 x 1024
    assert int(said["cache"]) >= 2  # GiB: two images of 4,096 tokens need 1.11
    assert "a model of 4.3 GB on a CPU is slow" in said["note"]
