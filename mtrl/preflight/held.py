"""What each trainer holds in memory, read from its configuration, in bytes per parameter of the model.

Weights, gradients and optimizer states in an update:

     8  everything in bf16: 2 + 2 + 2 x 2                         LLaMA-Factory's pure_bf16
    10  and bf16 Kahan compensation: 2 + 2 + 3 x 2                EasyR1's adamw_bf16 (utils/torch_functional.py)
    16  fp32: 4 + 4 + 2 x 4                                       AdamW of EasyR1, verl, TRL and torch; LLaMA-Factory
                                                                  upcasts to it (model/adapter.py)
    18  bf16 weights; fp32 weights, gradients and 2 moments       DeepSpeed's ZeRO-3 (its documentation, memory.rst)

Frozen weights (under adapters) are 2, or 4 in fp32. verl's FSDP holds all of it in fp32 unless model_dtype differs.
EasyR1 and verl use a GPU in turn: for the update, then for vLLM's share of the whole GPU and what of the actor is not
offloaded. Their hosts hold the reference model always, and in turn the sleeping vLLM's weights or the offloaded actor.
Frozen vision towers are counted as trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mtrl.config.recipe_types import Recipe
from mtrl.preflight.rendered import Rendered

HALF = ("bf16", "bfloat16", "fp16", "float16")


@dataclass(frozen=True)
class Answering:
    """vLLM's part, while it generates the rollouts."""

    share: float
    """Of a GPU's memory, 0 to 1."""
    tensor: int
    """GPUs that share one copy of its weights."""
    stays: float
    """Bytes per parameter of the actor that stay on the GPUs, shared by all of them."""
    offload: str
    """The --set that offloads the actor."""


@dataclass(frozen=True)
class Held:
    """Bytes per parameter, and how they are shared."""

    update: float
    """On the GPUs in an update, shared by `shards` GPUs. 0: not known."""
    saved: float
    """In one checkpoint, without adapters."""
    gpus: int = 1
    """Processes per node, one per GPU."""
    shards: int = 1
    host: float = 0
    """In host memory all the time, shared like `update`."""
    node: float = 0
    """In the host memory of each node on top of `host`, at its highest."""
    tokens: int = 0
    """In one micro batch."""
    checkpointing: bool = False
    """Whether activations are recomputed in the backward pass."""
    answering: Answering | None = None


def held(recipe: Recipe, config: Rendered) -> Held:
    return _TRAINERS[recipe.trainer](recipe, config)


def _llamafactory(recipe: Recipe, config: Rendered) -> Held:
    zero = {} if isinstance(config.get("deepspeed"), str) else config.block("deepspeed.zero_optimization")
    zero3, pure = zero.get("stage") == 3, config.flag("pure_bf16", False)
    sharded = zero3 or recipe.hardware.env.get("ACCELERATE_USE_FSDP") == "true"
    if config.string("finetuning_type") == "full":
        each = 18 if zero3 else 8 if pure else 16
        saved = 14 if config.get("deepspeed") else 6 if pure else 12
    else:
        each, saved = 2 if pure or config.flag("bf16", False) else 4, 0
    on_gpu = 0 if zero.get("offload_param") else 2 if zero.get("offload_optimizer") else each
    return Held(
        update=on_gpu,
        saved=saved,
        gpus=max(1, recipe.hardware.gpus_per_node),
        shards=recipe.hardware.world_size if sharded else 1,
        host=each - on_gpu,
        node=2 if sharded else 0,  # rank 0 gathers the weights to save them
        tokens=config.whole("per_device_train_batch_size") * config.whole("cutoff_len"),
        checkpointing=config.flag("gradient_checkpointing", False),
    )


def _trl(recipe: Recipe, config: Rendered) -> Held:
    assert recipe.rl is not None
    adapted = bool(config.block("lora"))
    frozen = 2 if config.string("dtype") in HALF else 4
    reference = 4 if config.number("grpo.beta", 0) else 0  # under adapters it is the base itself
    length = recipe.rl.max_prompt_length + config.whole("grpo.max_completion_length")
    return Held(
        update=frozen if adapted else 16 + reference,
        saved=0 if adapted else 12,
        gpus=max(1, recipe.hardware.gpus_per_node),
        tokens=config.whole("grpo.per_device_train_batch_size") * length,
        checkpointing=config.flag("grpo.gradient_checkpointing", False),
        answering=Answering(
            share=config.number("grpo.vllm_gpu_memory_utilization", 0.3),
            tensor=config.whole("grpo.vllm_tensor_parallel_size", 1),
            stays=frozen if adapted else 12 + reference,
            offload="--set upstream.grpo.vllm_gpu_memory_utilization=0.2",
        )
        if config.flag("grpo.use_vllm", False)
        else None,
    )


def _easyr1(recipe: Recipe, config: Rendered) -> Held:
    actor, rollout = "worker.actor", "worker.rollout"
    gpus = config.whole("trainer.n_gpus_per_node", least=0)
    world = gpus * config.whole("trainer.nnodes")
    adapted = config.whole(f"{actor}.model.lora.rank", least=0) > 0
    word = 2 if config.get(f"{actor}.fsdp.torch_dtype") in HALF else 4
    kahan = config.string(f"{actor}.optim.strategy") == "adamw_bf16"
    weights, gradients, moments = (2, 0, 0) if adapted else (word, word, 6 if kahan else 2 * word)
    reference = 0 if adapted or config.flag("algorithm.disable_kl") else 2
    ref_off = config.flag("worker.ref.fsdp.enable_cpu_offload") or config.flag("worker.ref.offload.offload_params")
    on_gpu = 0 if ref_off else reference
    keys = [f"{actor}.offload.offload_{what}" for what in ("optimizer", "params")]
    away = moments * config.flag(keys[0]) + weights * config.flag(keys[1])
    tensor = config.whole(f"{rollout}.tensor_parallel_size")
    saved = 2 if recipe.hardware.lora else 8 if kahan else 12
    if not world:  # it trains on GPUs alone: another check's to say
        return Held(0, saved)
    length = config.whole("data.max_prompt_length") + config.whole("data.max_response_length")
    return Held(
        update=weights + gradients + moments + on_gpu,
        saved=saved,
        gpus=gpus,
        shards=world,
        host=reference - on_gpu,
        # in turn: the sleeping vLLM, the offloaded actor, the whole model as rank 0 reads it
        node=max(2 * gpus / tensor, away * gpus / world, 4 if adapted else word),
        tokens=config.whole(f"{actor}.micro_batch_size_per_device_for_update") * length,
        checkpointing=config.flag(f"{actor}.model.enable_gradient_checkpointing"),
        answering=_answering(config, rollout, tensor, weights + moments - away + on_gpu, keys),
    )


def _verl(recipe: Recipe, config: Rendered) -> Held:
    """FSDP's. Megatron splits weights and optimizer by rules of its own: not known."""
    part, rollout = "actor_rollout_ref", "actor_rollout_ref.rollout"
    gpus = config.whole("trainer.n_gpus_per_node", least=0)
    world, fsdp = gpus * config.whole("trainer.nnodes"), f"{part}.actor.fsdp_config"
    if config.block(f"{part}.actor.megatron"):
        return Held(0, saved=14)  # bf16 weights; fp32 weights and moments
    adapted = config.whole(f"{part}.model.lora_rank", 0, least=0) > 0
    word = 2 if config.get(f"{fsdp}.model_dtype") in HALF else 4  # whatever `dtype` computes in
    gradients, moments = (0, 0) if adapted else (word, 2 * word)
    # the reference model is always on the host: engine/fsdp/transformer_impl.py:459
    reference = word if config.flag(f"{part}.actor.use_kl_loss") and not adapted else 0
    keys = [f"{fsdp}.{what}_offload" for what in ("optimizer", "param")]
    away = moments * config.flag(keys[0], False) + word * config.flag(keys[1], False)
    tensor = config.whole(f"{rollout}.tensor_model_parallel_size")
    saved = 4 if recipe.hardware.lora else 12
    if not world:
        return Held(0, saved)
    return Held(
        update=word + gradients + moments,
        saved=saved,
        gpus=gpus,
        shards=world,
        host=reference,
        node=max(2 * gpus / tensor if adapted else 0, away * gpus / world, word),
        tokens=config.whole(f"{part}.actor.ppo_max_token_len_per_gpu"),
        checkpointing=config.flag(f"{part}.model.enable_gradient_checkpointing"),
        answering=_answering(config, rollout, tensor, word + moments - away, keys),
    )


def _answering(config: Rendered, rollout: str, tensor: int, stays: float, keys: list[str]) -> Answering:
    offload = " ".join(f"--set upstream.{key}=true" for key in keys)
    return Answering(config.number(f"{rollout}.gpu_memory_utilization"), tensor, stays, offload)


_TRAINERS: dict[str, Callable[[Recipe, Rendered], Held]] = {
    "llamafactory": _llamafactory,
    "trl": _trl,
    "easyr1": _easyr1,
    "verl": _verl,
}
