"""Against the real vLLM: an image range that is not the model's own reaches its processor."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtrl.config import recipe
from mtrl.demo.walkthrough import tiny
from mtrl.preflight.lengths import image_tokens
from tests.conftest import mtrl

SIZES = [(64, 64), (640, 480), (1920, 1080)]
ASK = """
import json, sys
from PIL import Image
from mtrl.evaluate.engines.offline import VllmEngine, VllmModel

def main():
    engine = VllmEngine(VllmModel(sys.argv[1], 262144, 1048576, 1, 16))
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


EVIL = "from pathlib import Path\nPath(__file__).with_name('ran').write_text('')\nclass Config: pass\n"


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A checkpoint from somebody else, whose configs name code of its own to run."""
    folder = tmp_path / "evil"
    shutil.copytree(tiny(), folder)
    (folder / "evil.py").write_text(EVIL)
    named = {
        "AutoConfig": "evil.Config",
        "AutoTokenizer": ["evil.Config", "evil.Config"],
        "AutoProcessor": "evil.Config",
    }
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        config = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**config, "auto_map": {**named, "AutoModel": "evil.Config"}}))
    return folder


def on_a_terminal(command: list[str], cwd: Path) -> tuple[int, str]:
    """(exit status, all output) of a command whose input, output and errors are a terminal, where it could ask."""
    outer, inner = pty.openpty()
    process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, cwd=cwd)
    os.close(inner)
    said = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while chunk := os.read(outer, 1 << 16):
            said += chunk
    os.close(outer)
    return process.wait(timeout=300), said.decode(errors="replace")


def test_no_code_of_a_checkpoint_is_run_or_asked_for(evil: Path, project: Path) -> None:
    config = json.loads((evil / "config.json").read_text())
    (evil / "config.json").write_text(json.dumps({**config, "model_type": "evil"}))
    command = [sys.executable, "-m", "mtrl", "eval", "--ckpt", str(evil), "--tasks", "demo_quality", "--limit", "1"]
    code, said = on_a_terminal(command, project)
    assert code == 1 and "cannot load" in said and "[y/N]" not in said and "Traceback" not in said, said
    assert not (evil / "ran").exists()


def test_the_image_range_is_the_one_that_was_asked_for(evil: Path) -> None:
    sets = ["image.min_pixels=262144", "image.max_pixels=1048576"]  # the model's own: 4,096 to 65,536
    budget = recipe.load("zero_shot", "tiny", "cpu", sets=sets)
    code, said = on_a_terminal([sys.executable, "-c", ASK, str(evil), json.dumps(SIZES)], evil)
    assert code == 0 and "RESULT" in said, said[-2000:]
    assert json.loads(said.split("RESULT")[1].splitlines()[0]) == [image_tokens(*size, budget) for size in SIZES]
    assert "[y/N]" not in said and not (evil / "ran").exists()  # of a known kind, whose own code is passed over


def test_a_sift_asks_a_row_once_and_continues_with_the_votes_that_are_missing(project: Path) -> None:
    asked = ("sift", "--ckpt", tiny(), "--tasks", "demo_quality", "--limit", "6", "--votes", "4", "--out", "sift")
    done = mtrl(*asked, cwd=project)
    assert done.code == 0, done.err[-2000:]
    file = project / "sift" / "predictions.jsonl"
    answers = {(a["id"], a["vote"]): a for a in map(json.loads, file.read_text().splitlines())}
    assert len(answers) == 24
    said = [len({answers[row, vote]["response"] for vote in range(4)}) for row, vote in answers if vote == 0]
    assert max(said) > 1  # each vote has a seed of its own
    first = next(iter(answers))[0]
    left = [a for (row, vote), a in answers.items() if row != first or vote == 1]  # votes 0, 2 and 3 are missing
    file.write_text("".join(json.dumps(a) + "\n" for a in left))
    done = mtrl(*asked, cwd=project)
    assert done.code == 0, done.err[-2000:]
    again = {(a["id"], a["vote"]): a for a in map(json.loads, file.read_text().splitlines())}
    assert again.keys() == answers.keys()


def test_more_seeded_prompts_than_one_step_takes(project: Path) -> None:
    asked = ("--tasks", "demo_quality", "--limit", "60", "--votes", "3", "--out", "votes")
    done = mtrl("eval", "--ckpt", tiny(), *asked, cwd=project)
    assert done.code == 0, done.err[-2000:]
    answers = [json.loads(line) for line in (project / "votes" / "predictions.jsonl").read_text().splitlines()]
    assert len(answers) == 180 and {a["finish_reason"] for a in answers} <= {"stop", "length"}
