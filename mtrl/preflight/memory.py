"""How much memory a training needs on each GPU and each node, from the rendered upstream configuration. No upstream import.

    GPU  = bytes a parameter x parameters / GPUs that share them            counted: more than there is fails
         + adapters + activations + context                                 estimated: can only warn
    host = offloaded weights and optimizer + vLLM's copies as it sleeps + 5 GB a process

Bytes a parameter held at once in an update (weights + gradients + optimizer):
     8  everything in bf16: 2 + 2 + 2 x 2                           LLaMA-Factory's pure_bf16; TRL under bf16
    10  and bf16 Kahan compensation: 2 + 2 + 3 x 2                  EasyR1's adamw_bf16 (utils/torch_functional.py)
    16  fp32: 4 + 4 + 2 x 4                                         EasyR1's, verl's and torch's AdamW; LLaMA-Factory upcasts to it (model/adapter.py)
    18  bf16 weights, and fp32 weights, gradients and 2 moments     DeepSpeed's ZeRO-3, by its own documentation (memory.rst)
Frozen weights are 2, or 4 in fp32; verl's FSDP is fp32 in all of it unless model_dtype says otherwise. EasyR1's GPU takes turns: the update, then vLLM's share of the whole GPU beside what of
the actor is not offloaded; its host holds the reference model always, and in turn the sleeping vLLM's weights or the actor.
For the 30B in bf16 on 8 x 80 GB with 4,096 tokens its own table (assets/baselines.md, read at the update) has 50 GB a GPU and
170 GB of host; this sum has 39 + 11, and 164. Frozen vision towers are counted as trained. GB are 10^9 bytes. Parameters are counted in the weights where these are at
hand, else the model preset's.
"""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtrl.config.recipe_types import Recipe
from mtrl.core.files import read_json
from mtrl.core.finding import Check
from mtrl.models import experts, model_folder

PROCESS = 5  # GB of host memory a worker: what EasyR1's table leaves beside the weights of the 7B and the 30B
CONTEXT = 4  # GB a GPU for CUDA, NCCL and the layer that is gathered, ours
IDLE = 2  # GB in use on a GPU that nobody trains on: a desktop, a driver
LOGIT = 10  # bytes a word of the vocabulary and token: bf16 and fp32 logits, and a gradient
LAYERS, HIDDEN, WORDS = 36, 4096, 151_936  # of the 8B, whose layer inputs are the widest of the presets
ADAPTERS = 0.04 / 64  # of the weights, per rank: 3.0% of the 4B and 2.3% of the 8B at rank 64, by their shapes


@dataclass(frozen=True)
class Need:
    """GB. In an update, `states` and `estimated` on each GPU; while vLLM answers `vllm`, all in all; `host` on each node.

    `how` is the sum behind `states`, in words.
    """

    states: float
    estimated: float
    vllm: float
    host: float
    how: str


def parameters(recipe: Recipe) -> float:
    """Of the model, in units of 10^9."""
    folder = model_folder.local_model(recipe.model.path)
    shapes = [shape for _, shape in experts.headers(folder).values()] if folder else []
    return sum(math.prod(shape) for shape in shapes) / 1e9 or recipe.model.parameters


def activations(recipe: Recipe, tokens: int, checkpointing: bool) -> float:
    """GB of one micro batch: its logits, and each layer's input; without checkpointing 34 bytes a hidden unit in place of 2."""
    folder = model_folder.local_model(recipe.model.path)
    config = read_json(folder / "config.json") if folder else {}
    text = config.get("text_config", config)
    width = text.get("num_hidden_layers", LAYERS) * text.get("hidden_size", HIDDEN)
    each = text.get("vocab_size", WORDS) * LOGIT + width * (2 if checkpointing else 34)
    return tokens * float(each) / 1e9


def need(recipe: Recipe, config: dict[str, Any], gpu: float) -> Need | None:
    """`config` is the rendered upstream.yaml; `gpu` the GB of a GPU, of which vLLM takes its share. None: not known here."""
    trainers = {"llamafactory": _llamafactory, "easyr1": _easyr1, "verl": _verl, "trl": _trl}
    trainer = trainers.get(recipe.trainer)
    return trainer(recipe, config, gpu) if trainer else None


def _adapters(recipe: Recipe, billions: float) -> float:
    return recipe.hardware.lora.rank * ADAPTERS * billions * 16 if recipe.hardware.lora else 0.0


def _llamafactory(recipe: Recipe, config: dict[str, Any], gpu: float) -> Need:
    assert recipe.sft is not None
    billions, world, gpus = parameters(recipe), recipe.hardware.world_size, max(1, recipe.hardware.gpus_per_node)
    zero = config["deepspeed"].get("zero_optimization", {}) if isinstance(config.get("deepspeed"), dict) else {}
    zero3, off = zero.get("stage") == 3, zero.get("offload_optimizer") or zero.get("offload_param")
    sharded = zero3 or recipe.hardware.env.get("ACCELERATE_USE_FSDP") == "true"
    half = bool(config.get("bf16") or config.get("pure_bf16"))
    if config["finetuning_type"] != "full":
        each = 2 if half else 4
    else:
        each = 18 if zero3 else 8 if config.get("pure_bf16") else 16
    on_gpu = each if not off else 0 if zero.get("offload_param") else 2
    shards = world if sharded else 1
    tokens = config["per_device_train_batch_size"] * config["cutoff_len"]
    rest = activations(recipe, tokens, bool(config.get("gradient_checkpointing")))
    rest += _adapters(recipe, billions) / shards + CONTEXT * bool(recipe.hardware.gpus_per_node)
    host = PROCESS * gpus + (each - on_gpu) * billions * gpus / shards
    if sharded:
        host += 2 * billions  # rank 0 gathers the weights to save them
    return Need(on_gpu * billions / shards, rest, 0, host, _words(on_gpu, billions, shards))


def _easyr1(recipe: Recipe, config: dict[str, Any], gpu: float) -> Need | None:
    billions, worker, gpus = parameters(recipe), config["worker"], config["trainer"]["n_gpus_per_node"]
    actor, ref, rollout = worker["actor"], worker["ref"], worker["rollout"]
    if not gpus:
        return None  # it trains on GPUs alone, which is another check's to say
    world = gpus * config["trainer"]["nnodes"]
    adapted = actor["model"]["lora"]["rank"] > 0
    word = 2 if actor["fsdp"]["torch_dtype"] in ("bf16", "bfloat16", "fp16", "float16") else 4
    moments = 0 if adapted else 6 if actor["optim"]["strategy"] == "adamw_bf16" else 2 * word
    weights = 2 if adapted else word
    each = weights + (0 if adapted else word) + moments
    reference = 0 if adapted or config["algorithm"]["disable_kl"] else 2
    ref_off = ref["fsdp"]["enable_cpu_offload"] or ref["offload"]["offload_params"]
    away = weights * actor["offload"]["offload_params"] + moments * actor["offload"]["offload_optimizer"]
    stays = weights + moments - away + (0 if ref_off else reference)
    states = (each + (0 if ref_off else reference)) * billions / world
    tokens = actor["micro_batch_size_per_device_for_update"] * (
        config["data"]["max_prompt_length"] + config["data"]["max_response_length"]
    )
    rest = activations(recipe, tokens, actor["model"]["enable_gradient_checkpointing"])
    rest += _adapters(recipe, billions) / world + CONTEXT
    on_node = gpus / world  # the share of one node in what all shard
    asleep = 2 * billions * gpus / rollout["tensor_parallel_size"]
    loading = billions * (4 if adapted else word)  # rank 0 reads it whole
    host = PROCESS * gpus + (reference * billions * on_node if ref_off else 0)
    host += max(asleep, away * billions * on_node, loading)
    share = rollout["gpu_memory_utilization"] * gpu
    how = _words(each, billions, world)
    return Need(states, rest, share + stays * billions / world, host, how)


def _verl(recipe: Recipe, config: dict[str, Any], gpu: float) -> Need | None:
    """FSDP's. Megatron splits weights and optimizer by rules of its own: not counted."""
    part, gpus = config["actor_rollout_ref"], config["trainer"]["n_gpus_per_node"]
    actor, rollout = part["actor"], part["rollout"]
    if "megatron" in actor or not gpus:
        return None
    billions, world, engine = parameters(recipe), gpus * config["trainer"]["nnodes"], actor["fsdp_config"]
    adapted = part["model"].get("lora_rank", 0) > 0
    word = 2 if engine.get("model_dtype", "fp32") in ("bf16", "bfloat16") else 4  # fp32 whatever `dtype` is computed in
    moments = 0 if adapted else 2 * word
    each = word + (0 if adapted else word) + moments
    reference = (
        0 if adapted or not actor["use_kl_loss"] else word
    )  # on the host always: engine/fsdp/transformer_impl.py:459
    away = word * bool(engine["param_offload"]) + moments * bool(engine["optimizer_offload"])
    rest = activations(recipe, actor["ppo_max_token_len_per_gpu"], part["model"]["enable_gradient_checkpointing"])
    rest += _adapters(recipe, billions) / world + CONTEXT
    on_node = gpus / world
    asleep = 2 * billions * gpus / rollout["tensor_model_parallel_size"] if adapted else 0
    host = PROCESS * gpus + reference * billions * on_node + max(asleep, away * billions * on_node, word * billions)
    taken = rollout["gpu_memory_utilization"] * gpu + (word + moments - away) * billions / world
    return Need(each * billions / world, rest, taken, host, _words(each, billions, world))


def _trl(recipe: Recipe, config: dict[str, Any], gpu: float) -> Need:
    assert recipe.rl is not None
    billions, grpo = parameters(recipe), config["grpo"]
    frozen = 2 if config["dtype"] == "bfloat16" else 4
    each = frozen if "lora" in config else 16 + 4 * bool(grpo["beta"])  # without its adapter the base is the reference
    tokens = grpo["per_device_train_batch_size"] * (recipe.rl.max_prompt_length + recipe.rl.max_response_length)
    rest = activations(recipe, tokens, grpo["gradient_checkpointing"]) + CONTEXT * bool(recipe.hardware.gpus_per_node)
    rest += _adapters(recipe, billions)
    taken = grpo.get("vllm_gpu_memory_utilization", 0) * gpu + each * billions if grpo.get("use_vllm") else 0
    return Need(
        each * billions, rest, taken, PROCESS * max(1, recipe.hardware.gpus_per_node), _words(each, billions, 1)
    )


def checkpoint(recipe: Recipe, config: dict[str, Any]) -> float:
    """GB of one checkpoint: weights and optimizer as the trainer saves them; of LLaMA-Factory's LoRA the adapters alone."""
    billions, lora = parameters(recipe), recipe.hardware.lora
    if recipe.stage == "sft" and lora:
        return _adapters(recipe, billions) * 12 / 16
    if "worker" in config:  # EasyR1: what it shards
        half = config["worker"]["actor"]["optim"]["strategy"] == "adamw_bf16"
        return 2 * billions + _adapters(recipe, billions) if lora else billions * (8 if half else 12)
    if (
        "actor_rollout_ref" in config
    ):  # verl's FSDP: fp32 weights and moments; its Megatron: bf16 weights, fp32 ones and moments
        whole = 14 if "megatron" in config["actor_rollout_ref"]["actor"] else 12
        return 4 * billions + _adapters(recipe, billions) if lora else whole * billions
    if "grpo" in config:
        return _adapters(recipe, billions) * 12 / 16 if lora else billions * 12
    return billions * (14 if config.get("deepspeed") else 6 if config.get("pure_bf16") else 12)


def _words(each: float, billions: float, shards: int) -> str:
    over = f" over {shards} GPUs" if shards > 1 else ""
    return f"{each:g} bytes x {billions:.3g} billion parameters{over}"


def check(recipe: Recipe, config: dict[str, Any]) -> Iterator[Check]:
    """A line for the GPUs and one for the host; the host is compared only where the run can start: with its GPUs here."""
    here = gpus_here()
    cpu = not recipe.hardware.gpus_per_node
    can_start = cpu or len(here) >= recipe.hardware.gpus_per_node
    gpu = min(here)[0] if here and can_start and not cpu else recipe.hardware.gpu_memory
    found, host = need(recipe, config, gpu or 0), host_memory()
    if found is None:
        if not cpu:
            yield Check("warning", "memory is not counted for verl's Megatron path", "a first step, watched with nvidia-smi and free")  # fmt: skip
        return
    if cpu:
        yield _compare("memory", found, PROCESS, host, recipe)
        return
    if gpu:
        yield _compare("GPU memory", found, 0, gpu, recipe)
        if found.vllm:
            yield from _vllm(recipe, config, found.vllm, gpu)
        if can_start and (busy := [(number, used) for number, (_, used) in enumerate(here) if used > IDLE]):
            number, used = busy[0]
            yield Check("warning", f"GPU {number} has {used:.0f} GB in use already ({len(busy)} of {len(here)} GPUs are not idle)", "nvidia-smi shows by whom; CUDA_VISIBLE_DEVICES chooses others")  # fmt: skip
    text = f"host memory: about {found.host:,.0f} GB a node"
    if can_start and found.host > host:
        yield Check("error" if found.host > 1.5 * host else "warning", f"{text}, and {host:,.0f} GB are here", "a machine with more of it, or fewer states offloaded to it")  # fmt: skip
    else:
        yield Check("ok", text + (f" of {host:,.0f} here" if can_start else ""))


def _compare(what: str, found: Need, more: float, there: float, recipe: Recipe) -> Check:
    counted, estimated = found.states, found.estimated + more
    text = f"{what}: {_gb(counted)} counted ({found.how}) and about {_gb(estimated)} estimated, of {there:,.0f} GB"
    if counted > there:
        return Check("error", text, _other(recipe))
    if counted + estimated > there:
        return Check("warning", text, _less(recipe))
    return Check("ok", text)


def _gb(value: float) -> str:
    return f"{value:,.1f} GB" if value < 10 else f"{value:,.0f} GB"


def _vllm(recipe: Recipe, config: dict[str, Any], taken: float, gpu: float) -> Iterator[Check]:
    """The rollouts: what vLLM and the rest of the actor take together, and whether vLLM's weights fit its share."""
    easyr1, trl = "worker" in config, "grpo" in config
    if trl:
        tensor, part = config["grpo"]["vllm_tensor_parallel_size"], config["grpo"]["vllm_gpu_memory_utilization"]
    else:
        rollout = config["worker" if easyr1 else "actor_rollout_ref"]["rollout"]
        tensor = rollout["tensor_parallel_size" if easyr1 else "tensor_model_parallel_size"]
        part = rollout["gpu_memory_utilization"]
    share = part * gpu
    weights = 2 * parameters(recipe) / tensor
    if weights > share:
        text = f"vLLM gets {share:.0f} GB of each GPU, and its weights are {weights:.0f} GB on each of {tensor}"
        world = recipe.hardware.world_size
        helps = tensor < world and weights * tensor <= share * world
        yield Check("error", text, f"--set model.tensor_parallel_size={world}" if helps else _other(recipe))
    elif taken > gpu:
        text = f"while vLLM answers, it and what of the actor stays on the GPU take {taken:.0f} GB of {gpu:.0f}"
        own = [f"worker.actor.offload.offload_{what}" for what in ("optimizer", "params")]
        theirs = [f"actor_rollout_ref.actor.fsdp_config.{what}_offload" for what in ("optimizer", "param")]
        less = "--set upstream.grpo.vllm_gpu_memory_utilization=0.2"
        yield Check("error", text, less if trl else " ".join(f"--set upstream.{key}=true" for key in (own if easyr1 else theirs)))  # fmt: skip
    else:
        yield Check("ok", f"GPU memory while vLLM answers: {taken:.0f} GB, {weights:.1f} of them its weights")


def _other(recipe: Recipe) -> str:
    """What to change where the states alone do not fit."""
    smaller = "a smaller --model"
    if recipe.hardware.gpus_per_node < 8:
        return f"--hardware 8x80gb{'' if recipe.hardware.lora else ' or 1x80gb-lora'}, or {smaller}"
    if recipe.stage == "sft" and recipe.hardware.deepspeed is None and recipe.hardware.lora is None:
        return f"deepspeed: zero3 in the hardware preset, or {smaller}"
    return f"--hardware 16x80gb, or {smaller}" if recipe.hardware.nodes == 1 else smaller


def _less(recipe: Recipe) -> str:
    """What to change where the estimate says that it is tight."""
    stage, length = ("sft", "sft.max_length") if recipe.stage == "sft" else ("rl", "rl.max_response_length")
    key = f"{stage}_per_device_batch_size"
    ways = [f"hardware.{key}=1"] if getattr(recipe.hardware, key) > 1 else []
    if recipe.upstream.get("gradient_checkpointing") is False:
        ways.append("upstream.gradient_checkpointing=true")
    if recipe.stage == "sft" and recipe.hardware.deepspeed:
        ways.append("upstream.deepspeed.zero_optimization.offload_optimizer.device=cpu")
    ways.append(f"a lower {length} (and image.max_pixels)")
    if recipe.hardware.gpus_per_node and recipe.hardware.nodes == 1 and recipe.hardware.lora is None:
        ways.append("--hardware 16x80gb" if recipe.hardware.gpus_per_node > 1 else "--hardware 8x80gb or 1x80gb-lora")
    return ", or ".join(ways)


def gpus_here() -> list[tuple[float, float]]:
    """(GB, GB in use) of each GPU of this machine; [] where there is none."""
    query = ["nvidia-smi", "--query-gpu=memory.total,memory.used", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout
        sizes = [[int(mib) * 2**20 / 1e9 for mib in line.split(",")] for line in listed.splitlines()]
        return [(whole, used) for whole, used in sizes]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


def host_memory() -> float:
    """GB of this machine, or of the container that this runs in."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    try:
        return min(whole, int(Path("/sys/fs/cgroup/memory.max").read_text()) / 1e9)
    except (OSError, ValueError):
        return whole
