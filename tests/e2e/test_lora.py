"""The path of one 80 GB card, in miniature: SFT of adapters on a mixture of experts, merged by LLaMA-Factory's own
export.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from mtrl.core.rundir import Run
from mtrl.demo.walkthrough import tiny
from tests.conftest import ROOT, mtrl

FROZEN = ["--set", "sft.freeze_vision_tower=true", "--set", "sft.freeze_projector=true"]  # as 1x80gb-lora has it

pytestmark = pytest.mark.e2e


def test_grpo_by_trl_trains_adapters_and_resumes(project: Path) -> None:
    cpu_lora()
    arguments = ["--model", "tiny", "--hardware", "cpu-lora", "--set", "tasks=demo_quality", "--name", "g"]
    brief = ["--set", "rl.validate_every=4", "--set", "rl.epochs=0.128", "--set", "rl.kl_coef=0.01"]  # 8 of 62 steps
    done = mtrl("rl", "rl_multitask", *arguments, *brief, cwd=project)
    assert done.code == 0, done.err
    assert Path("runs/g/checkpoints/checkpoint-8/adapter_model.safetensors").exists()
    shutil.rmtree("runs/g/checkpoints/checkpoint-8")
    for left in Path("runs/g/checkpoints").glob("*.*"):  # as a kill after step 4 leaves it
        if left.name != "trainer_log.jsonl":
            left.unlink()
    run = Run(Path("runs/g"))
    run.set("interrupted")
    done = mtrl("rl", "rl_multitask", *arguments, *brief, cwd=project)
    assert done.code == 0, done.err
    assert "resuming from checkpoint-4" in run.log.read_text()
    done = mtrl("export", "g", "--out", "exports/g", cwd=project)
    assert done.code == 0, done.err
    assert_language_changed(Path("exports/g"))


def cpu_lora() -> None:
    """recipes/hardware/cpu-lora.yaml in the working directory."""
    preset = (ROOT / "recipes" / "hardware" / "cpu.yaml").read_text() + "lora: {rank: 4, alpha: 8}\n"
    Path("recipes/hardware").mkdir(parents=True)
    Path("recipes/hardware/cpu-lora.yaml").write_text(preset)


def assert_language_changed(export: Path) -> None:
    """All tensors of the base are there; those of the vision tower as they were, others not."""
    base, ours = load_file(tiny() / "model.safetensors"), load_file(export / "model.safetensors")
    assert {name: t.shape for name, t in base.items()} == {name: t.shape for name, t in ours.items()}
    changed = [name for name in base if not base[name].float().equal(ours[name].float())]
    assert changed and not any("visual" in name for name in changed)


def test_adapters_are_merged_into_the_base(project: Path) -> None:
    cpu_lora()
    arguments = ["--model", "tiny", "--hardware", "cpu-lora", "--set", "tasks=demo_quality", "--name", "l"]
    brief = ["--set", "sft.epochs=1", "--set", "sft.validate_every=16"]
    done = mtrl("sft", "sft_unified", *arguments, *brief, *FROZEN, cwd=project)
    assert done.code == 0, done.err
    assert Path("runs/l/checkpoints/checkpoint-16/adapter_model.safetensors").exists()
    done = mtrl("export", "l", "--out", "exports/l", cwd=project)
    assert done.code == 0, done.err
    assert_language_changed(Path("exports/l"))
    assert not list(Path("exports").glob(".*"))
