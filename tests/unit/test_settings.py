"""Every field of every preset and of the blocks sft: and rl:, for every trainer: it changes what is run or planned, or
setting it is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mtrl.backends import registry
from mtrl.config import recipe
from mtrl.config.recipe_types import Hardware, ModelPreset, Recipe, Rl, Sft
from mtrl.core.errors import UserError
from mtrl.core.rundir import Run
from mtrl.preflight import memory, network, times
from mtrl.preflight.rendered import Rendered
from tests.unit import sifted

TASKS = "tasks=demo_quality,demo_alignment"
RUNS = {  # what is trained, and on which preset
    "llamafactory": ("sft_unified", "qwen3-vl-4b", "8x80gb", []),
    "llamafactory, adapters": ("sft_unified", "qwen3-vl-4b", "8x80gb-lora", []),
    "llamafactory, traces": ("sft_traces", "qwen3-vl-4b", "8x80gb", []),
    "easyr1": ("rl_multitask", "qwen3-vl-30b-a3b", "8x80gb", []),
    "easyr1, adapters": ("rl_multitask", "qwen3-vl-4b", "1x80gb-lora", []),
    "verl": ("rl_multitask", "qwen3-vl-30b-a3b", "8x80gb", ["backend=verl"]),
    "verl, adapters": ("rl_multitask", "qwen3-vl-30b-a3b", "8x80gb-lora", ["backend=verl"]),
    "verl, dense": ("rl_multitask", "qwen3-vl-8b", "8x80gb", ["backend=verl"]),
    "trl": ("rl_multitask", "qwen3-vl-2b", "1x80gb-lora", ["backend=trl"]),
    "trl, cpu": ("rl_multitask", "tiny", "cpu", []),
}
OTHER: dict[str, Any] = {
    "path": "somebody/else", "template": "qwen2_vl", "patch_size": 14, "merge_size": 1, "parameters": 9.5,
    "tensor_parallel_size": 4, "expert_parallel_size": 4, "shape": {"active": 9.5}, "nodes": 2, "gpus_per_node": 4,
    "gpu": "a100", "gpu_memory": 33, "precision": "fp32", "rl_backend": "verl", "deepspeed": None,
    "sft_per_device_batch_size": 2, "rl_per_device_batch_size": 2, "vllm_share": 0.45,
    "lora": {"rank": 16, "alpha": 16}, "env": {"A": "1"},
    # of the blocks sft: and rl:
    "batch_size": 64, "learning_rate": 3e-6, "weight_decay": 0.02, "scheduler": "linear", "warmup_ratio": 0.05,
    "epochs": 30, "max_length": 9000, "validate_every": 7, "patience": 3, "rollout_batch_size": 1024, "n": 10,
    "kl_coef": 0.02, "clip_low": 0.1, "clip_high": 0.4, "ratio": "sequence", "temperature": 0.7, "top_p": 0.9,
    "max_prompt_length": 9000, "max_response_length": 1024, "format_weight": 0.25, "length_cap": 100,
    "router_replay": "rollout", "traces_per_row": 3, "score_reward": "linear",
    "mix": {"demo_quality": 1.5}, "keep_pass_rate": [0.2, 0.8],
}  # fmt: skip
NAMES = {
    "name",
    "recipe",
}  # of a preset: which it is, and what it puts into the recipe, whose fields are tested as such
# used by what this test does not run
ELSEWHERE = {
    "model.merge_size": "plan and evaluation count image tokens by it",
    "verl hardware.gpu_memory": "plan does not count the memory of verl's Megatron, and says so",
    "trl, cpu rl.mix": "the rows that are written into the run, and plan's lines on them",
    "trl, cpu rl.max_prompt_length": "plan compares it with the longest row",
    "hardware.env": "the environment of the job, which is built where the trainer is installed",
    **{f"{what} rl.patience": "mtrl itself ends a run of EasyR1 and verl by it" for what in RUNS if what[:3] != "trl"},
}


def effects(found: Recipe, data: Path) -> list[Any]:
    """upstream.yaml, and the lines of plan on time, memory and network; an error of theirs counts too."""
    run = Run(Path("runs/x"))
    rendered = Rendered(found, run, data)
    try:
        return [
            rendered.text,
            *times.check(found, data),
            *memory.check(found, rendered, elsewhere=True),
            *network.check(found),
        ]
    except UserError as error:
        return [str(error)]


@pytest.mark.parametrize("what", RUNS)
def test_every_field_is_used_or_refused(project: Path, what: str) -> None:
    name, model, hardware, sets = RUNS[what]
    if name == "sft_traces":
        sifted.make(Path("runs/sift"), "demo_quality", "demo_alignment")
    plain = recipe.load(name, model, hardware, sets=[TASKS, *sets])
    before, trainer = effects(plain, project / "data"), plain.trainer
    assert registry.of(plain).name == trainer
    # on a CPU the recipe's block alone: much of the presets is of GPUs, and the rest is read off the model's folder
    blocks: dict[str, Any] = {"model": ModelPreset, "hardware": Hardware} if hardware != "cpu" else {}
    blocks |= {"sft": Sft} if plain.sft else {"rl": Rl}
    for block, kind in blocks.items():
        for field in set(kind.model_fields) - NAMES:
            key, now = f"{block}.{field}", getattr(getattr(plain, block), field)
            value = not now if isinstance(now, bool) else OTHER[field]  # a new field is added to OTHER
            inner = (
                [f"{key}.{k}={v}" for k, v in value.items()]
                if isinstance(value, dict)
                else [f"{key}={'null' if value is None else value}"]
            )
            try:
                changed = recipe.load(name, model, hardware, sets=[TASKS, *sets, *inner])
            except UserError as error:
                assert len(str(error).splitlines()) == 1 and key in str(error), error
                continue
            if {key, f"{what} {key}"} & ELSEWHERE.keys() or changed == plain:
                assert changed != plain or kind in (ModelPreset, Hardware), key  # the preset's own value
                continue
            assert effects(changed, project / "data") != before, f"{key} is ignored by {what}"


@pytest.mark.parametrize("what", RUNS)
def test_the_style_is_the_rewards_or_refused(project: Path, what: str) -> None:
    name, model, hardware, sets = RUNS[what]
    if not name.startswith("rl"):
        other = "sft" if name == "sft_traces" else "rl"
        with pytest.raises(UserError, match=f"style: {other} does not go with method {name}"):
            recipe.load(name, model, hardware, sets=[TASKS, *sets, f"style={other}"])
        return
    plain, bare = (recipe.load(name, model, hardware, sets=[TASKS, *sets, *more]) for more in ([], ["style=sft"]))
    before, now = (Rendered(found, Run(Path("runs/x")), project / "data").text for found in (plain, bare))
    assert (
        "style: sft" in now and [line for line in now.splitlines() if "style: sft" not in line] == before.splitlines()
    )
    assert (plain.max_new_tokens, bare.max_new_tokens) == (plain.rl.max_response_length, 16)
