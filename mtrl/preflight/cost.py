"""Seconds per step, from the model's shape, the tokens of the converted data and the GPU's own figures.

A step of RL generates answers, scores them (log-probabilities of the actor, and of the reference with a KL term) and
updates. Each pass over a model costs its floating-point operations at a share of the GPU's peak, the weights that FSDP
or ZeRO-3 gathers, and a fixed time per layer; a mixture's experts are called one by one by transformers, which costs
far more than their operations. Decoding is bound by reading weights and keys from memory. Seconds throughout.

The five constants are fitted to EasyR1's published steps (recipes/measured.yaml): `python -m mtrl.preflight.cost`
prints each with its estimate and their ratio. They are estimates: SFT, TRL and verl have no published steps to compare
with.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

from mtrl.config.gpus import Gpu, gpu
from mtrl.config.recipe_types import Shape
from mtrl.core import search_path
from mtrl.core.files import read_yaml
from mtrl.core.schema import Model, validate

EFFICIENCY = 0.55  # of the peak in matrix products, and of the memory's bandwidth in decoding
LAYER = 0.004  # per layer and pass over a micro-batch: kernel launches, and FSDP's own work
EXPERT = 0.0015  # per expert, layer and pass, where a mixture's experts are a loop (transformers under FSDP or ZeRO-3)
ITERATION = 0.03  # at least, per generated token of a batch: vLLM's scheduler and launches
STEP = 30.0  # per RL step: weights to vLLM, states off and on the GPU, data, rewards
TAIL = 2.5  # the longest answer of a rollout, in mean lengths
CHECKPOINTED, TRAINED = 4, 2  # passes of an update with gradient checkpointing: operations, and gathers of the weights


@dataclass(frozen=True)
class Work:
    """What one step works on. Tokens are means: `image` and `text` of one prompt, `answer` of one answer.

    `micro` is the answers (SFT: rows) of one micro-batch on one GPU; `tensor` the GPUs that share one copy in vLLM.
    """

    answers: int
    image: float
    text: float
    answer: float
    micro: float
    tensor: int = 1
    reference: bool = True  # whether a KL term scores the answers a second time
    loop: bool = True  # whether a mixture's experts are called one by one; Megatron's are not
    sharded: bool = True  # whether each pass gathers the weights


@dataclass(frozen=True)
class Step:
    """Seconds of each part of a step; `generate`, `score` and `rest` are 0 in SFT."""

    generate: float
    score: float
    update: float
    rest: float

    @property
    def seconds(self) -> float:
        return self.generate + self.score + self.update + self.rest


def rl_step(shape: Shape, billions: float, on: Gpu, world: int, work: Work) -> Step:
    """One rollout of `work.answers` answers on `world` GPUs, with the updates it feeds."""
    scored = replace(work, micro=2 * work.micro)  # as all three backends score: no gradients take room
    score = (1 + work.reference) * _passes(shape, billions, on, world, scored, 1, 1)
    update = _passes(shape, billions, on, world, work, CHECKPOINTED, TRAINED)
    return Step(generation(shape, billions, on, world, work), score, update, STEP)


def sft_step(shape: Shape, billions: float, on: Gpu, world: int, work: Work) -> Step:
    """One update over `work.answers` rows."""
    return Step(0, 0, _passes(shape, billions, on, world, work, CHECKPOINTED, TRAINED), 0)


def generation(shape: Shape, billions: float, on: Gpu, world: int, work: Work) -> float:
    """vLLM's part: every prompt read once, then all answers of a GPU group decoded together, the longest alone."""
    tensor = min(work.tensor, world)
    together = work.answers * tensor / world
    weights = 2e9 * billions / tensor
    keys = 4 * shape.layers * shape.kv / tensor  # bytes per token: keys and values in 16 bits
    read = together * _operations(shape, work.image, work.text) / (tensor * on.flops * EFFICIENCY)
    bandwidth = on.bandwidth * EFFICIENCY
    full = (weights + together * (work.image + work.text + work.answer / 2) * keys) / bandwidth
    alone = weights / bandwidth
    return read + work.answer * (max(full, ITERATION) + (TAIL - 1) * max(alone, ITERATION))


def _passes(shape: Shape, billions: float, on: Gpu, world: int, work: Work, factor: float, gathers: int) -> float:
    """All micro-batches of one GPU: `factor` forward passes' operations each, and `gathers` of the weights."""
    batches = max(1.0, work.answers / world / work.micro)
    computed = work.micro * _operations(shape, work.image, work.text + work.answer) / (on.flops * EFFICIENCY)
    fixed = shape.layers * (LAYER + EXPERT * shape.experts * work.loop)
    gathered = 4e9 * billions * (1 - 1 / world) / on.link if work.sharded else 0
    return batches * (factor * (computed + fixed) + gathers * gathered)


def _operations(shape: Shape, image: float, text: float) -> float:
    """Of one forward pass: two per parameter and token, four patches per image token in the encoder, and attention."""
    tokens, patches = image + text, 4 * image
    language = 2e9 * shape.active * tokens + 2 * shape.layers * shape.hidden * tokens**2
    return language + 2e9 * shape.vision * patches + 4 * shape.vision_layers * shape.vision_hidden * patches**2


class Measured(Model):
    """A published or measured RL step: recipes/measured.yaml."""

    model: str
    shape: Shape
    parameters: float  # billions
    gpu: str
    gpus: int
    answers: int
    micro: int
    micro_tokens: int  # what a dynamic batch holds per answer of `micro`
    tensor: int
    image: float
    text: float
    throughput: float  # tokens per second and GPU over a whole step, from which the answers' length follows
    seconds: float
    source: str

    def estimate(self) -> Step:
        prompt = self.image + self.text
        answer = self.throughput * self.gpus * self.seconds / self.answers - prompt
        packed = max(self.micro, self.micro * self.micro_tokens / (prompt + answer))
        work = Work(self.answers, self.image, self.text, answer, packed, self.tensor)
        return rl_step(self.shape, self.parameters, gpu(self.gpu), self.gpus, work)


def measured() -> list[Measured]:
    """The steps to compare with, in the file's order."""
    path = search_path.find("recipes", "measured.yaml", "file")
    return [validate(Measured, row, str(path)) for row in read_yaml(path)["steps"]]


if __name__ == "__main__":
    sys.stdout.write("| model | GPUs | measured, s | estimated, s | ratio |\n|---|---|---|---|---|\n")
    for row in measured():
        found = row.estimate().seconds
        cells = (row.model, f"{row.gpus} x {row.gpu}, micro-batch {row.micro}", f"{row.seconds:,.0f}", f"{found:,.0f}")
        sys.stdout.write(f"| {' | '.join(cells)} | {found / row.seconds:.2f} |\n")
