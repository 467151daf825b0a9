"""Every field of every preset, for every trainer: it changes what is run or planned, or setting it is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mtrl.backends import registry
from mtrl.config import recipe
from mtrl.config.recipe_types import Hardware, ModelPreset, Recipe
from mtrl.core.errors import UserError
from mtrl.core.rundir import Run
from mtrl.preflight import memory, network, times
from mtrl.preflight.rendered import Rendered

TASKS = "tasks=demo_quality,demo_alignment"
RUNS = {  # what is trained, and on which preset
    "llamafactory": ("sft_unified", "qwen3-vl-4b", "8x80gb", []),
    "llamafactory, adapters": ("sft_unified", "qwen3-vl-4b", "8x80gb-lora", []),
    "easyr1": ("rl_multitask", "qwen3-vl-30b-a3b", "8x80gb", []),
    "easyr1, adapters": ("rl_multitask", "qwen3-vl-4b", "1x80gb-lora", []),
    "verl": ("rl_multitask", "qwen3-vl-30b-a3b", "8x80gb", ["backend=verl"]),
    "verl, adapters": ("rl_multitask", "qwen3-vl-30b-a3b", "8x80gb-lora", ["backend=verl"]),
    "trl": ("rl_multitask", "qwen3-vl-2b", "1x80gb-lora", ["backend=trl"]),
}
OTHER: dict[str, Any] = {
    "path": "somebody/else", "template": "qwen2_vl", "patch_size": 14, "merge_size": 1, "parameters": 9.5,
    "tensor_parallel_size": 4, "expert_parallel_size": 4, "shape": {"active": 9.5}, "nodes": 2, "gpus_per_node": 4,
    "gpu": "a100", "gpu_memory": 33, "precision": "fp32", "rl_backend": "verl", "deepspeed": None,
    "sft_per_device_batch_size": 2, "rl_per_device_batch_size": 2, "vllm_share": 0.45,
    "lora": {"rank": 16, "alpha": 16}, "env": {"A": "1"},
}  # fmt: skip
NAMES = {
    "name",
    "recipe",
}  # of a preset: which it is, and what it puts into the recipe, whose fields are tested as such
# used by what this test does not run
ELSEWHERE = {
    "model.merge_size": "plan and evaluation count image tokens by it",
    "verl hardware.gpu_memory": "plan does not count the memory of verl's Megatron, and says so",
    "hardware.env": "the environment of the job, which is built where the trainer is installed",
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
def test_every_field_of_a_preset_is_used_or_refused(project: Path, what: str) -> None:
    name, model, hardware, sets = RUNS[what]
    plain = recipe.load(name, model, hardware, sets=[TASKS, *sets])
    before, trainer = effects(plain, project / "data"), plain.trainer
    assert registry.of(plain).name == trainer
    for block, kind in (("model", ModelPreset), ("hardware", Hardware)):
        for field in set(kind.model_fields) - NAMES:
            key, value = f"{block}.{field}", OTHER[field]  # a new field is added to OTHER
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
            if {key, f"{what} {key}"} & ELSEWHERE.keys() or changed == plain:  # the preset's own value
                continue
            assert effects(changed, project / "data") != before, f"{key} is ignored by {what}"
