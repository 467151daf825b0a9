"""The rules that EasyR1's and verl's configurations share: both train on Ray with vLLM, and their keys have other
names.

Both take some values as any text, or pass over a mistake silently; that is found here before the start.
"""

from __future__ import annotations

import ast
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import nearest
from mtrl.core.finding import Check
from mtrl.preflight.rendered import Rendered


@dataclass(frozen=True)
class Names:
    """One trainer's names of the keys that both have."""

    trainer: str
    batch: str
    """Prompts per update: rl.batch_size."""
    rolled: str
    """Prompts per rollout: rl.rollout_batch_size."""
    rollout: str
    """vLLM's block."""
    tensor: str
    """GPUs per copy of vLLM's weights."""
    ulysses: str
    """GPUs per sequence."""
    validate: str
    """Steps between validations."""
    max_steps: str
    loggers: tuple[str, ...]
    choices: Mapping[str, tuple[str, ...]]
    """The values that work, of keys that are taken as any text."""


class Rule(NamedTuple):
    """`text` is wrong unless `holds`; `then` makes it hold."""

    holds: bool
    text: str
    then: str


def broken(trainer: str, *rules: Rule) -> list[Check]:
    return [Check("error", f"{trainer}: {text}", then) for holds, text, then in rules if not holds]


def world(config: Rendered) -> int:
    """All GPUs of the run."""
    return config.whole("trainer.nnodes") * config.whole("trainer.n_gpus_per_node", least=0)


def length(config: Rendered) -> int:
    """Tokens of the longest prompt with the longest response."""
    return config.whole("data.max_prompt_length") + config.whole("data.max_response_length")


def no_gpu(names: Names) -> list[Check]:
    text = f"{names.trainer} needs GPUs, and the hardware preset has none"
    return [Check("error", text, "--hardware 8x80gb, or --set backend=trl")]


def sizes(config: Rendered, names: Names) -> list[Check]:
    """How GPUs are shared, and how long an answer can be. Needs a GPU."""
    gpus, tokens, n = world(config), length(config), config.whole(f"{names.rollout}.n")
    tensor, ulysses = config.whole(names.tensor), config.whole(names.ulysses, 1)
    room = config.whole(f"{names.rollout}.max_model_len", tokens)
    return broken(
        names.trainer,
        Rule(n > 1, f"GRPO compares the answers of one prompt, and rl.n is {n}", f"--set upstream.{names.rollout}.n=2"),
        _divides(names.ulysses, ulysses, gpus),
        _divides(names.tensor, tensor, gpus),
        fits(f"{names.rollout}.max_model_len", room, tokens),
    )


def _divides(key: str, value: int, gpus: int) -> Rule:
    then = f"--set upstream.{key}={divisor(gpus, value)}"
    return Rule(gpus % value == 0, f"{key} {value} does not divide {gpus} GPUs", then)


def fits(key: str, value: int, tokens: int) -> Rule:
    """`value` limits the tokens of one prompt with its response; there are up to `tokens` of them."""
    text = f"prompt and response have up to {tokens} tokens, and {key} is {value}"
    return Rule(value >= tokens, text, f"--set upstream.{key}={tokens}")


def values(config: Rendered, names: Names) -> Iterator[Check]:
    for key, allowed in names.choices.items():
        value = config.get(key, allowed[0])
        name = "null" if value is None else str(value)
        if name not in allowed:
            text = f"upstream.{key} {value!r} is not allowed.{nearest(name, allowed)}"
            yield Check("error", text, f"--set upstream.{key}={allowed[0]}")
    loggers = config.get("trainer.logger")
    if not isinstance(loggers, list) or "file" not in loggers or not {*map(str, loggers)} <= {*names.loggers}:
        text = f"trainer.logger {loggers!r} is not a list of {', '.join(names.loggers)} with file in it. "
        text += "mtrl reads the progress from that file."
        yield Check("error", text, "--set upstream.trainer.logger='[file]'")
    saved, validated = config.whole("trainer.save_freq", least=-1), config.whole(names.validate, least=-1)
    if saved != validated or saved < 1:
        text = f"{names.validate} and trainer.save_freq differ: the best checkpoint is one that was validated"
        keys = (names.validate, "trainer.save_freq")
        yield Check("error", text, " ".join(f"--set upstream.{key}={max(1, saved)}" for key in keys))


def run(config: Rendered, names: Names, recipe: Recipe) -> Iterator[Check]:
    """Warnings on the cluster and the epochs."""
    assert recipe.rl is not None
    if recipe.hardware.nodes > 1 and not os.environ.get("RAY_ADDRESS"):
        text = f"{recipe.hardware.nodes} nodes need a Ray cluster, and RAY_ADDRESS is not set: "
        text += "the trainer will look for one on this machine"
        yield Check("warning", text, "ray start --head, then on each other node ray start --address=HEAD:6379")
    epochs = config.whole("trainer.total_epochs")
    if recipe.rl.epochs != epochs and not config.whole(names.max_steps, 0):
        text = f"{names.trainer} counts whole epochs: rl.epochs {recipe.rl.epochs} is run as {epochs}"
        yield Check("warning", text, f"--set rl.epochs={epochs}")


def reward(file: Path, name: str, key: str, arguments: Mapping[str, object], given: int) -> Iterator[Check]:
    """The reward function `name` of `file`, which `key` gives.

    The trainer passes its first `given` parameters itself.
    """
    if not file.is_file():
        yield Check("error", f"the reward file {file} does not exist", f"correct upstream.{key}")
        return
    functions = {
        node.name: [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    if name not in functions:
        yield Check("error", f"{file} has no function {name}", f"correct upstream.{key}")
        return
    for argument in arguments:
        if argument not in functions[name][given:]:
            known = nearest(argument, functions[name][given:])
            yield Check("error", f"the reward function {name} has no argument {argument!r}.{known}")


def batches(config: Rendered, names: Names, gpus: int, unit: int) -> str:
    """The --set of the nearest batches that fit: of prompts in multiples of `unit`, rolled out in multiples of it and
    the GPUs.

    It sets upstream's own keys if the recipe's `upstream:` block gives one of them.
    """
    batch = near(config.whole(names.batch), unit)
    rolled = near(config.whole(names.rolled), math.lcm(gpus, batch))
    if config.overrides(names.batch) or config.overrides(names.rolled):
        return f"--set upstream.{names.batch}={batch} --set upstream.{names.rolled}={rolled}"
    return f"--set rl.batch_size={batch} --set rl.rollout_batch_size={rolled}"


def near(value: int, unit: int) -> int:
    """The multiple of `unit` next to `value`, at least one."""
    return max(unit, (2 * value + unit) // (2 * unit) * unit)


def divisor(value: int, at_most: int) -> int:
    """The largest divisor of `value` that is not larger than `at_most`."""
    return next((number for number in range(min(value, at_most), 0, -1) if value % number == 0), 1)
