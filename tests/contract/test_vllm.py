"""Against the real vLLM: an image range that is not the model's own reaches its processor."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from mtrl import recipe
from mtrl.demo.pipeline import tiny
from mtrl.launch.plan import image_tokens
from tests.conftest import mtrl

SIZES = [(64, 64), (640, 480), (1920, 1080)]
ASK = """
import json, sys
from PIL import Image
from mtrl.evaluate.vllm_engine import VllmEngine

def main():
    engine = VllmEngine(sys.argv[1], 262144, 1048576, 1, 16)
    prompt = "<|im_start|>user\\n<|vision_start|><|image_pad|><|vision_end|>x<|im_end|>\\n"
    counts = []
    for size in json.loads(sys.argv[2]):
        asked = {"prompt": prompt, "multi_modal_data": {"image": [Image.new("RGB", size)]}}
        ids = engine._llm.generate([asked], use_tqdm=False)[0].prompt_token_ids
        counts.append(max(ids.count(token) for token in set(ids)))
    print("RESULT" + json.dumps(counts))

if __name__ == "__main__":
    main()
"""


def test_the_image_range_is_the_one_that_was_asked_for() -> None:
    sets = ["image.min_pixels=262144", "image.max_pixels=1048576"]  # the model's own: 4,096 to 65,536
    budget = recipe.load("zero_shot", "tiny", "cpu", sets=sets)
    command = [sys.executable, "-c", ASK, str(tiny()), json.dumps(SIZES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert "RESULT" in done.stdout, done.stderr[-2000:]
    assert json.loads(done.stdout.split("RESULT")[1]) == [image_tokens(*size, budget) for size in SIZES]


def test_more_seeded_prompts_than_one_step_takes(project: Path) -> None:
    asked = ("--tasks", "demo_quality", "--limit", "60", "--votes", "3", "--out", "votes")
    done = mtrl("eval", "--ckpt", tiny(), *asked, cwd=project)
    assert done.code == 0, done.err[-2000:]
    answers = [json.loads(line) for line in (project / "votes" / "predictions.jsonl").read_text().splitlines()]
    assert len(answers) == 180 and {a["finish_reason"] for a in answers} <= {"stop", "length"}
