"""The path of one 80 GB card, in miniature: SFT of adapters on a mixture of experts, merged by LLaMA-Factory's own export."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from mtrl.demo.pipeline import tiny
from tests.conftest import ROOT, mtrl

FROZEN = ["--set", "sft.freeze_vision_tower=true", "--set", "sft.freeze_projector=true"]  # as 1x80gb-lora has it

pytestmark = pytest.mark.e2e


def test_adapters_are_merged_into_the_base(project: Path) -> None:
    preset = (ROOT / "recipes" / "hardware" / "cpu.yaml").read_text() + "lora: {rank: 4, alpha: 8}\n"
    Path("recipes/hardware").mkdir(parents=True)
    Path("recipes/hardware/cpu-lora.yaml").write_text(preset)
    arguments = ["--model", "tiny", "--hardware", "cpu-lora", "--set", "tasks=demo_quality", "--name", "l"]
    brief = ["--set", "sft.epochs=1", "--set", "sft.validate_every=16"]
    done = mtrl("sft", "sft_unified", *arguments, *brief, *FROZEN, cwd=project)
    assert done.code == 0, done.err
    assert Path("runs/l/checkpoints/checkpoint-16/adapter_model.safetensors").exists()
    done = mtrl("export", "l", "--out", "exports/l", cwd=project)
    assert done.code == 0, done.err
    base, ours = load_file(tiny() / "model.safetensors"), load_file("exports/l/model.safetensors")
    assert {name: t.shape for name, t in base.items()} == {name: t.shape for name, t in ours.items()}
    changed = [name for name in base if not base[name].float().equal(ours[name].float())]
    assert changed and not any("visual" in name for name in changed)  # adapters are on the language model alone
    assert not list(Path("exports").glob(".*"))
