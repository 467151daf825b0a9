"""The memory that a training needs: against sums made by hand and against figures that EasyR1 has published."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mtrl.config import recipe
from mtrl.config.recipe_types import Recipe
from mtrl.core.finding import Check
from mtrl.preflight import machine, memory
from mtrl.preflight.rendered import Rendered
from tests.unit import launches

FULL = "hardware.lora=null"


def rendered(name: str, model: str, hardware: str, *sets: str) -> tuple[Recipe, Rendered]:
    found = recipe.load(name, model, hardware, sets=list(sets))
    return found, launches.rendered(found)


def need(*arguments: str) -> memory.Need:
    found = memory.need(*rendered(*arguments), 80)
    assert found is not None
    return found


def checks(*arguments: str) -> list[Check]:
    return list(memory.check(*rendered(*arguments)))


@pytest.mark.parametrize(
    ("arguments", "states"),
    [
        (("sft_unified", "qwen3-vl-30b-a3b", "8x80gb"), 18 * 31.07 / 8),  # ZeRO-3
        (("sft_unified", "qwen3-vl-30b-a3b", "16x80gb"), 18 * 31.07 / 16),
        (("sft_unified", "qwen3-vl-8b", "1x80gb-lora", FULL), 16 * 8.77),  # upcast to fp32
        (("sft_unified", "qwen3-vl-8b", "1x80gb-lora", FULL, "upstream.pure_bf16=true"), 8 * 8.77),
        (("sft_unified", "qwen3-vl-8b", "1x80gb-lora"), 2 * 8.77),  # frozen, under adapters
        (
            (
                "sft_unified",
                "qwen3-vl-30b-a3b",
                "8x80gb",
                "upstream.deepspeed.zero_optimization.offload_optimizer.device=cpu",
            ),
            2 * 31.07 / 8,
        ),
        (("sft_unified", "qwen3-vl-30b-a3b", "8x80gb", "hardware.deepspeed=null"), 16 * 31.07),  # copies, not shards
        (
            (
                "sft_unified",
                "qwen3-vl-30b-a3b",
                "8x80gb",
                "hardware.deepspeed=null",
                "hardware.env.ACCELERATE_USE_FSDP='true'",
            ),
            16 * 31.07 / 8,
        ),
        (("rl_multitask", "qwen3-vl-30b-a3b", "8x80gb"), 10 * 31.07 / 8),  # bf16 with Kahan's sums
        (
            (
                "rl_multitask",
                "qwen3-vl-8b",
                "8x80gb",
                "upstream.worker.actor.fsdp.torch_dtype=null",
                "upstream.worker.actor.optim.strategy=adamw",
            ),
            16 * 8.77 / 8,
        ),
        (("rl_multitask", "qwen3-vl-8b", "1x80gb-lora"), 2 * 8.77),
        (("rl_multitask", "qwen3-vl-8b", "8x80gb", "backend=verl"), 16 * 8.77 / 8),  # fp32
        (("rl_multitask", "qwen3-vl-8b", "1x80gb-lora", "backend=verl"), 4 * 8.77),
    ],
)
def test_states_by_hand(arguments: tuple[str, ...], states: float) -> None:
    assert need(*arguments).states == pytest.approx(states)


def test_trl_holds_its_reference_model_too() -> None:
    billions = memory.parameters(recipe.load("rl_multitask", "tiny", "cpu"))
    assert 0.001 < billions < 0.002  # counted in its weights
    assert need("rl_multitask", "tiny", "cpu").states == pytest.approx(16 * billions)
    assert need("rl_multitask", "tiny", "cpu", "rl.kl_coef=0.01").states == pytest.approx(20 * billions)


def test_against_easyr1s_own_table() -> None:
    """assets/baselines.md: the 30B in bf16 on 8 H800 at its default lengths: 50 GB a GPU, 170 GB of host in the
    update.
    """
    lengths = ("rl.max_prompt_length=2048", "rl.max_response_length=2048")
    found = need("rl_multitask", "qwen3-vl-30b-a3b", "8x80gb", *lengths)
    assert found.states + found.estimated == pytest.approx(50, abs=3)
    asleep, reference, processes = 2 * 31.07, 2 * 31.07, 8 * memory.PROCESS
    assert asleep + reference + processes == pytest.approx(170, rel=0.05)
    offloaded = (2 + 6) * 31.07  # in turn with the sleeping vLLM: the actor's weights and optimizer
    assert found.host == pytest.approx(offloaded + reference + processes)


def test_activations_by_hand() -> None:
    found, _ = rendered("sft_unified", "qwen3-vl-30b-a3b", "8x80gb")
    logits, inputs = 6144 * 151_936 * 10, 6144 * 36 * 4096 * 2
    assert memory.activations(found, 6144, True) == pytest.approx((logits + inputs) / 1e9)
    assert memory.activations(found, 6144, False) > 3 * memory.activations(found, 6144, True)
    all_kept = need("sft_unified", "qwen3-vl-30b-a3b", "8x80gb", "upstream.gradient_checkpointing=false")
    assert all_kept.estimated > 40


def test_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: [])
    one, *_ = checks("sft_unified", "qwen3-vl-30b-a3b", "1x80gb-lora", FULL)
    assert one.level == "error" and "497 GB counted (16 bytes x 31.1 billion" in one.text and "8x80gb" in one.then
    tight, host = checks("sft_unified", "qwen3-vl-30b-a3b", "8x80gb")
    assert tight.level == "warning" and "70 GB counted" in tight.text and "offload_optimizer" in tight.then
    assert host.level == "ok" and "102 GB per node" in host.text  # the node is not here: nothing to compare with
    copies, *_ = checks("sft_unified", "qwen3-vl-30b-a3b", "8x80gb", "hardware.deepspeed=null")
    assert copies.level == "error" and copies.then.startswith("deepspeed: zero3 in the hardware preset")
    assert {check.level for check in checks("sft_unified", "qwen3-vl-30b-a3b", "16x80gb")} == {"ok"}
    assert {check.level for check in checks("rl_multitask", "qwen3-vl-30b-a3b", "8x80gb")} == {"ok"}
    assert {check.level for check in checks("sft_unified", "qwen3-vl-8b", "1x80gb-lora")} == {"ok"}
    error = next(check for check in checks("rl_multitask", "qwen3-vl-30b-a3b", "1x80gb-lora") if check.level == "error")
    assert "its weights are 62 GB" in error.text and "8x80gb" in error.then
    tensor = checks("rl_multitask", "qwen3-vl-30b-a3b", "8x80gb", "model.tensor_parallel_size=1")[1]
    assert tensor.level == "error" and tensor.then == "--set model.tensor_parallel_size=8"
    stays = (
        "upstream.worker.actor.offload.offload_optimizer=false",
        "upstream.worker.actor.offload.offload_params=false",
    )
    both = checks(
        "rl_multitask",
        "qwen3-vl-30b-a3b",
        "8x80gb",
        *stays,
        "upstream.worker.actor.fsdp.torch_dtype=null",
        "upstream.worker.actor.optim.strategy=adamw",
    )[1]
    assert both.level == "error" and "stays on the GPU" in both.text  # 48 + 12 x 31.07 / 8


def test_verl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: [])
    dense = checks("rl_multitask", "qwen3-vl-8b", "8x80gb", "backend=verl")
    assert [check.level for check in dense] == ["ok"] * 3 and "48 GB, with 8.8 GB of weights" in dense[1].text
    assert dense[2].text == f"host memory: about {round(8 * memory.PROCESS + (12 + 4) * 8.77)} GB per node"
    counted, answering, _ = checks("rl_multitask", "qwen3-vl-30b-a3b", "1x80gb-lora", "backend=verl")
    assert counted.level == "error" and "124 GB counted" in counted.text
    assert answering.level == "error" and "its weights are 62 GB" in answering.text
    stays = [f"upstream.actor_rollout_ref.actor.fsdp_config.{key}_offload=false" for key in ("param", "optimizer")]
    both = checks("rl_multitask", "qwen3-vl-8b", "8x80gb", "backend=verl", *stays, "hardware.gpu_memory=32")[1]
    assert both.level == "error" and "fsdp_config.optimizer_offload=true" in both.then
    (megatron,) = checks("rl_multitask", "qwen3-vl-30b-a3b", "8x80gb", "backend=verl")
    assert megatron.level == "warning" and "not counted" in megatron.text


def test_what_is_here_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With an nvidia-smi that prints eight GPUs of 40 GB, one of them in use."""
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nprintf '38147, 4\\n38147, 20000\\n'\nyes '38147, 0' | head -6\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(machine, "host_memory", lambda: 64.0)
    gpu, host = checks("sft_unified", "qwen3-vl-30b-a3b", "8x80gb")
    (busy,) = machine.check(recipe.load("sft_unified", "qwen3-vl-30b-a3b", "8x80gb"))
    assert gpu.level == "error" and "of 40 GB" in gpu.text
    assert busy.text.startswith("GPU 1 already has 21 GB in use (1 of 8")
    assert host.level == "error" and "this one has 64 GB" in host.text


def test_a_processor_alone() -> None:
    (error,) = checks("sft_unified", "qwen3-vl-30b-a3b", "cpu")
    assert error.level == "error" and error.text.startswith("memory: 497 GB counted")
    (fine,) = checks("sft_unified", "tiny", "cpu")
    assert fine.level == "ok"
    assert 0.1 < machine.host_memory() < 10_000


def test_what_the_papers_sft_recipes_start_with_fits() -> None:
    found = recipe.load("sft_unified")
    assert (found.model.name, found.hardware.name) == ("qwen3-vl-30b-a3b", "8x80gb-offload")
    gpu, host = checks("sft_unified", found.model.name, found.hardware.name)
    assert gpu.level == "ok" and "7.8 GB counted" in gpu.text and "599 GB" in host.text, (gpu, host)
