"""Whether a training fits the GPUs and the hosts. No upstream import.

    GPU  = bytes per parameter x parameters / GPUs that share them        counted: more than the GPU has is an error
         + adapters + activations + context                               estimated: can only warn
    host = offloaded states + vLLM's copies as it sleeps + 5 GB per process

`held` says what each trainer holds. GB are 10^9 bytes. Parameters are counted in the weights where these are at hand,
else they are the model preset's. For the 30B in bf16 on 8 x 80 GB with 4,096 tokens EasyR1's own table
(assets/baselines.md, read at the update) has 50 GB per GPU and 170 GB per host; this sum has 39 + 11, and 164.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from mtrl.config.recipe_types import Recipe
from mtrl.core.files import read_json
from mtrl.core.finding import Check
from mtrl.models import experts, model_folder
from mtrl.preflight import machine
from mtrl.preflight.held import Answering, held
from mtrl.preflight.rendered import Rendered

PROCESS = 5  # GB of host memory per process: what EasyR1's table leaves after the weights of the 7B and the 30B
CONTEXT = 4  # GB per GPU for CUDA, NCCL and the layer that is gathered, ours
LOGIT = 10  # bytes per word of the vocabulary and token: bf16 and fp32 logits, and a gradient
LAYERS, HIDDEN, WORDS = 36, 4096, 151_936  # of the 8B, whose layer inputs are the widest of the presets
ADAPTERS = 0.04 / 64  # of the weights, per rank: 3.0% of the 4B and 2.3% of the 8B at rank 64, by their shapes


@dataclass(frozen=True)
class Need:
    """GB. `how` is the sum behind `states`, in words."""

    states: float
    """On each GPU in an update, counted."""
    estimated: float
    """On each GPU in an update, on top of `states`."""
    vllm: float
    """On each GPU while vLLM answers, all in all; 0 without vLLM."""
    host: float
    """On each node."""
    how: str


def parameters(recipe: Recipe) -> float:
    """Of the model, in units of 10^9."""
    folder = model_folder.local_model(recipe.model.path)
    shapes = [shape for _, shape in experts.headers(folder).values()] if folder else []
    return sum(math.prod(shape) for shape in shapes) / 1e9 or recipe.model.parameters


def activations(recipe: Recipe, tokens: int, checkpointing: bool) -> float:
    """GB of one micro batch: its logits, and each layer's input; without checkpointing 34 bytes per hidden
    unit, not 2.
    """
    folder = model_folder.local_model(recipe.model.path)
    config = read_json(folder / "config.json") if folder else {}
    text = config.get("text_config", config)
    width = text.get("num_hidden_layers", LAYERS) * text.get("hidden_size", HIDDEN)
    each = text.get("vocab_size", WORDS) * LOGIT + width * (2 if checkpointing else 34)
    return tokens * float(each) / 1e9


def _adapters(recipe: Recipe, billions: float, each: float) -> float:
    """GB of the adapters. `each` is the bytes per parameter of theirs."""
    return recipe.hardware.lora.rank * ADAPTERS * billions * each if recipe.hardware.lora else 0.0


def need(recipe: Recipe, config: Rendered, gpu: float) -> Need | None:
    """`gpu` is the GB of one GPU; vLLM takes its share of them. None if it is not known."""
    found, billions = held(recipe, config), parameters(recipe)
    if not found.update:
        return None
    over = f" over {found.shards} GPUs" if found.shards > 1 else ""
    estimated = activations(recipe, found.tokens, found.checkpointing)
    estimated += _adapters(recipe, billions, 16) / found.shards + CONTEXT * bool(recipe.hardware.gpus_per_node)
    vllm = found.answering
    return Need(
        states=found.update * billions / found.shards,
        estimated=estimated,
        vllm=vllm.share * gpu + vllm.stays * billions / found.shards if vllm else 0,
        host=PROCESS * found.gpus + (found.host * found.gpus / found.shards + found.node) * billions,
        how=f"{found.update:g} bytes x {billions:.3g} billion parameters{over}",
    )


def checkpoint(recipe: Recipe, config: Rendered) -> float:
    """GB of one checkpoint: weights and optimizer as the trainer saves them, adapters with two moments in fp32."""
    billions = parameters(recipe)
    return held(recipe, config).saved * billions + _adapters(recipe, billions, 12)


def check(recipe: Recipe, config: Rendered, elsewhere: bool = False) -> Iterator[Check]:
    """A line for the GPUs and one for the host; `elsewhere`: by the preset alone, whatever this machine has. The host
    is compared only if the run can start here: with its GPUs.
    """
    here = [] if elsewhere else machine.gpus()
    host, hardware = machine.host_memory(), recipe.hardware
    cpu = not hardware.gpus_per_node
    can_start = not elsewhere and (cpu or len(here) >= hardware.gpus_per_node)
    gpu = min(here).memory if here and can_start and not cpu else hardware.gpu_memory or 0
    found = need(recipe, config, gpu)
    if found is None:
        if not cpu:
            text = "memory is not counted for verl's Megatron path"
            yield Check("warning", text, "watch the first step with nvidia-smi and free")
        return
    if cpu:
        yield _compare("memory", found, PROCESS, host, recipe)
        return
    if gpu:
        yield _compare("GPU memory", found, 0, gpu, recipe)
        if answering := held(recipe, config).answering:
            yield _vllm(recipe, answering, found.vllm, gpu)
    text = f"host memory: about {found.host:,.0f} GB per node"
    if can_start and found.host > host:
        text += f", and this one has {host:,.0f} GB"
        then = "use a machine with more memory, or offload fewer states"
        yield Check("error" if found.host > 1.5 * host else "warning", text, then)
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


def _vllm(recipe: Recipe, answering: Answering, taken: float, gpu: float) -> Check:
    """The rollouts: whether vLLM's weights fit its share, and whether that and the rest of the actor fit the GPU."""
    share, weights = answering.share * gpu, 2 * parameters(recipe) / answering.tensor
    if weights > share:
        text = (
            f"vLLM gets {share:.0f} GB of each GPU, and its weights are {weights:.0f} GB on each of {answering.tensor}"
        )
        world = recipe.hardware.world_size
        helps = answering.tensor < world and weights * answering.tensor <= share * world
        return Check("error", text, f"--set model.tensor_parallel_size={world}" if helps else _other(recipe))
    if taken > gpu:
        text = (
            f"while vLLM answers, it takes {taken:.0f} GB of {gpu:.0f} with the part of the actor that stays on the GPU"
        )
        return Check("error", text, answering.offload)
    return Check("ok", f"GPU memory while vLLM answers: {taken:.0f} GB, with {weights:.1f} GB of weights")


def _other(recipe: Recipe) -> str:
    """What to change if the states alone do not fit."""
    smaller = "a smaller --model"
    if recipe.hardware.gpus_per_node < 8:
        return f"--hardware 8x80gb{'' if recipe.hardware.lora else ' or 1x80gb-lora'}, or {smaller}"
    if recipe.stage == "sft" and recipe.hardware.deepspeed is None and recipe.hardware.lora is None:
        return f"deepspeed: zero3 in the hardware preset, or {smaller}"
    return f"--hardware 16x80gb, or {smaller}" if recipe.hardware.nodes == 1 else smaller


def _less(recipe: Recipe) -> str:
    """What to change if the estimate says that it may not fit."""
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
