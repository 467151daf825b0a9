"""Settings that a trainer does not use: --set of one is an error, since it would be ignored.

A preset is for every trainer, so it may have keys that only some of them use. recipe_types.py checks a recipe's own
blocks.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import UserError

_SFT_ALONE = ("model.template", "hardware.deepspeed", "hardware.sft_per_device_batch_size")
_RL_ALONE = ("hardware.rl_backend", "hardware.rl_per_device_batch_size", "hardware.vllm_share")
BY_TRAINER = {  # keys of the presets that a trainer does not use
    "llamafactory": (*_RL_ALONE, "model.tensor_parallel_size", "model.expert_parallel_size"),
    "easyr1": (*_SFT_ALONE, "model.expert_parallel_size"),
    "verl": _SFT_ALONE,
    "trl": (*_SFT_ALONE, "model.expert_parallel_size"),
}
OF_ROLLOUTS = ("model.tensor_parallel_size", "hardware.vllm_share")  # by vLLM, which TRL has on GPUs alone
STAGES = {"sft": "SFT", "rl": "RL"}


def of_another_stage(method: str, key: str) -> None:
    """Raises UserError if `key` belongs to SFT or RL and `method` does not train by it."""
    of, trained = key.partition(".")[0], method.partition("_")[0]
    if of in STAGES and of != trained:
        what = (
            f"trains by {STAGES[trained]}, whose keys begin with {trained}." if trained in STAGES else "trains nothing"
        )
        raise UserError(
            f"--set {key}: this key belongs to {STAGES[of]}, and the recipe {method} {what}", f"remove --set {key}"
        )


def by_trainer(trainer: str, gpus: int, keys: Iterable[str]) -> None:
    """Raises UserError if `trainer` does not use one of the keys that were set. `gpus`: per node, 0 for a CPU."""
    for key in keys:
        if key in BY_TRAINER[trainer] or (trainer == "trl" and not gpus and key in OF_ROLLOUTS):
            raise UserError(f"--set {key}: {trainer}, which trains this recipe, does not use it", f"remove --set {key}")


def by_rl(recipe: Recipe) -> None:
    """Raises UserError if the block `rl:` has a key that this trainer cannot use with this model and these GPUs."""
    if (rl := recipe.rl) is None:
        return
    if rl.length_cap is not None and recipe.trainer == "verl":
        text = "rl.length_cap does not work with verl: it gives a reward function no length"
        raise UserError(text, "--set rl.length_cap=null, or --set backend=easyr1")
    if rl.router_replay is None:
        return
    what, without = f"rl.router_replay is {rl.router_replay}", "--set rl.router_replay=null"
    if recipe.model.shape and not recipe.model.shape.experts:
        raise UserError(f"{what}, and {recipe.model.name} is dense: it has no router", without)
    if recipe.trainer != "verl":
        text = f"{what}, and {recipe.trainer} has no router replay: verl with Megatron has"
        raise UserError(text, f"--set backend=verl, or {without}")
    if not recipe.by_megatron:
        size, gpus = recipe.model.expert_parallel_size, recipe.hardware.world_size
        text = f"{what}, which verl has with Megatron alone, and that needs a model.expert_parallel_size (here {size})"
        text += f" from 2 to the number of GPUs (here {gpus}) and a hardware preset without lora"
        raise UserError(text, without)


def trainer_twice(recipe: Recipe, keys: Container[str]) -> None:
    """Raises UserError if the preset's trainer was set and the recipe's own `backend` is another word on it."""
    if recipe.backend and "hardware.rl_backend" in keys:
        text = f"--set hardware.rl_backend: backend {recipe.backend} is set too, which decides"
        raise UserError(text, "remove one of the two")


def under_adapters(recipe: Recipe, keys: Container[str]) -> None:
    """Raises UserError if experts were set to be shared and adapters are trained: verl's Megatron trains none here."""
    if "model.expert_parallel_size" in keys and recipe.hardware.lora:
        text = f"--set model.expert_parallel_size: hardware {recipe.hardware.name} has lora, which verl trains by FSDP"
        raise UserError(text, "remove it, or --set hardware.lora=null")


def beyond_the_gpus(recipe: Recipe, keys: Container[str]) -> None:
    """Raises UserError if more GPUs were set to share a model than there are: a preset's number is then lowered."""
    for name in ("tensor_parallel_size", "expert_parallel_size"):
        size, world = getattr(recipe.model, name), recipe.hardware.world_size
        if f"model.{name}" in keys and recipe.hardware.gpus_per_node and size > world:
            text = f"--set model.{name}={size}: the hardware preset {recipe.hardware.name} has {world} GPUs"
            raise UserError(text, f"--set model.{name}={world}, or another --hardware")
