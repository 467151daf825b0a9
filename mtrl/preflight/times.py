"""Hours, GPU-hours and money of a training, by `cost`. Part of `mtrl plan`, and of what `mtrl reproduce` has left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mtrl.backends import traces
from mtrl.config import samples, sizes
from mtrl.config.gpus import gpu
from mtrl.config.recipe_types import Recipe
from mtrl.core.finding import Check
from mtrl.preflight import cost, lengths
from mtrl.preflight.cost import Step, Work

# tokens of a mean answer with its reasoning, ours: EasyR1's published steps have 280 to 830 (Instruct models)
ANSWER = 400


@dataclass(frozen=True)
class Time:
    """`step` is one rollout (RL) or one update (SFT). `epoch` and `most` are hours; `most` has the validations too."""

    step: Step
    epoch: float
    most: float


def check(recipe: Recipe, data: Path, price: float | None = None) -> Iterator[Check]:
    """One line. `price` is money per GPU-hour. Nothing if no row is converted, which is another check's error."""
    hardware = recipe.hardware
    if not traces.rows(recipe, data):
        return
    if not hardware.gpus_per_node:
        yield Check("ok", "time: not estimated on a CPU; mtrl status shows the seconds per step")
        return
    if missing := [key for key, value in (("gpu", hardware.gpu), ("shape", recipe.model.shape)) if value is None]:
        where = "hardware" if missing[0] == "gpu" else "model"
        shipped = "hardware/8x80gb.yaml" if where == "hardware" else "models/qwen3-vl-4b.yaml"
        text = f"time: not estimated, the {where} preset has no {missing[0]}:"
        yield Check("warning", text, f"add {missing[0]}: to it, as mtrl's recipes/{shipped} has it")
        return
    found, world = of(recipe, data), hardware.world_size
    assert found is not None
    unit, parts = "update", ""
    if recipe.rl:
        step = found.step
        unit = f"rollout of {recipe.rl.rollout_batch_size * recipe.rl.n:,} answers of {_answer(recipe)} tokens"
        parts = f" (answers {step.generate:,.0f}, log-probabilities {step.score:,.0f}, updates {step.update:,.0f})"
    text = f"time: about {_seconds(found.step.seconds)} s per {unit}{parts}; {_hours(found.epoch)} per epoch, at most "
    text += f"{_hours(found.most)} = {found.most * world:,.0f} GPU-hours on {world} x {hardware.gpu}"
    text += "".join(f"; {what}" for what in _left_out(recipe))
    if price is not None:
        text += f"; cost at most {found.most * world * price:,.0f} at {price:g} per GPU-hour"
    yield Check("ok", text)


def of(recipe: Recipe, data: Path) -> Time | None:
    """None without GPUs, without a preset's `gpu` or `shape`, or without converted rows."""
    shape, hardware, rows = recipe.model.shape, recipe.hardware, traces.rows(recipe, data)
    if not (shape and hardware.gpu and hardware.gpus_per_node and rows):
        return None
    made, known, world = sizes.schedule(recipe, rows), gpu(hardware.gpu), hardware.world_size
    billions, work = recipe.model.parameters, _work(recipe, data)
    if recipe.rl is None:
        step, validation = cost.sft_step(shape, billions, known, world, work), 0.0
    else:
        step = cost.rl_step(shape, billions, known, world, work)
        # validation asks every row once
        asked = sum(samples.count(data, task, "val") for task in recipe.tasks)
        validation = step.generate / work.answers * asked
    hours = made.total * step.seconds + made.validations * validation
    return Time(step, made.steps * step.seconds / 3600, hours / 3600)


def _work(recipe: Recipe, data: Path) -> Work:
    mean, hardware = lengths.means(recipe, data), recipe.hardware
    sharded = hardware.world_size > 1 and hardware.lora is None
    if recipe.rl is None:
        assert recipe.sft is not None
        rows = min(hardware.sft_per_device_batch_size, recipe.sft.batch_size)
        return Work(recipe.sft.batch_size, mean.image, mean.text, 0, rows, sharded=sharded or bool(hardware.deepspeed))
    rl, micro = recipe.rl, float(hardware.rl_per_device_batch_size)
    answer = _answer(recipe)
    if recipe.trainer != "trl":  # EasyR1 and verl fill a micro-batch with the tokens of the longest answers
        micro *= max(1.0, (rl.max_prompt_length + rl.max_response_length) / (mean.image + mean.text + answer))
    return Work(
        answers=rl.rollout_batch_size * rl.n,
        image=mean.image,
        text=mean.text,
        answer=answer,
        micro=micro,
        tensor=min(recipe.model.tensor_parallel_size, hardware.world_size),
        reference=rl.kl_coef > 0,
        loop=not (recipe.trainer == "verl" and recipe.by_megatron),
        sharded=hardware.world_size > 1 and recipe.trainer != "trl",
    )


def _answer(recipe: Recipe) -> int:
    assert recipe.rl is not None
    return min(ANSWER, recipe.rl.max_response_length, recipe.max_new_tokens)


def _left_out(recipe: Recipe) -> Iterator[str]:
    """What makes it take longer than estimated."""
    if recipe.hardware.nodes > 1:
        yield "estimated as if one node had all GPUs"
    if recipe.stage == "sft" and recipe.hardware.deepspeed == "zero3_offload":
        yield "without the optimizer's time in host memory"
    if recipe.upstream:
        yield "the upstream: block is not read"


def _hours(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours < 10 else f"{hours:,.0f} hours"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f}" if seconds < 100 else f"{seconds:,.0f}"
