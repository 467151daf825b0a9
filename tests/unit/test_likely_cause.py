"""Why vLLM refused a checkpoint: what the folder itself shows. (vLLM's own refusals: tests/contract/test_served.py.)"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mtrl.demo.walkthrough import tiny
from mtrl.evaluate.engines.offline import likely_cause
from mtrl.models import experts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(tiny(), tmp_path / "x")
    return tmp_path / "x"


@pytest.mark.parametrize(
    "names", [("preprocessor_config.json",), ("tokenizer_config.json",), ("tokenizer.json", "vocab.json")]
)
def test_missing_files_are_named(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (folder / name).unlink()
    assert f"{names[0]} is missing next to the weights" in likely_cause(str(folder), "whatever vLLM says")


def test_weights_tell_the_rest(folder: Path) -> None:
    assert likely_cause(str(folder), "no idea") == "mtrl doctor"
    assert "--tensor-parallel" in likely_cause(str(folder), "CUDA out of memory")
    assert "no folder org/on-the-hub" in likely_cause("org/on-the-hub", "no idea")
    weights, whole = folder / "model.safetensors", tiny() / "model.safetensors"
    weights.unlink()
    experts.copy_transposed(whole, weights)
    assert "mtrl export writes" in likely_cause(str(folder), "size of tensor a (96) must match")
    weights.write_bytes(whole.read_bytes()[:-10])
    assert "cut off" in likely_cause(str(folder), "header too small")
    weights.unlink()
    assert "no safetensors weights" in likely_cause(str(folder), "cannot find any model weights")
    shutil.copyfile(whole, weights)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3_vl_moe"}))
    assert "config.json" in likely_cause(str(folder), "no vision_config")
