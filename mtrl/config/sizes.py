"""Steps, updates and validations of a training, and the sizes that are `auto` in a recipe.

A step is the trainer's unit of counting: one update in SFT, one rollout of `rollout_batch_size` prompts in RL. `auto`
gives an epoch at least 8 updates and 2 validations where the rows allow it, in sizes that the devices can share. It
never exceeds the values of the paper's recipes, so the paper's tasks get the paper's batch sizes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtrl.config import datacard, drawn, samples
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import UserError
from mtrl.core.schema import validate

UPDATES, VALIDATIONS = 8, 2  # at least, per epoch
AUTO = {  # the keys that may be `auto`, with the largest value of each: that of the unified recipes
    "sft": {"batch_size": 256, "validate_every": 33},
    "rl": {"batch_size": 256, "rollout_batch_size": 512, "validate_every": 5},
}


@dataclass(frozen=True)
class Schedule:
    """`steps` and `updates` are per epoch; `total` is the largest number of steps; `every` the steps per validation."""

    steps: int
    updates: int
    total: int
    every: int

    @property
    def validations(self) -> int:
        return self.total // self.every

    @property
    def checkpoints(self) -> int:
        """One per validation; every trainer saves its last step too."""
        return math.ceil(self.total / self.every)

    @property
    def validations_an_epoch(self) -> int:
        """Rounded. If the training is shorter than an epoch: those of the whole training."""
        return round(min(self.steps, self.total) / self.every)

    @property
    def enough(self) -> bool:
        return self.updates >= UPDATES and self.validations_an_epoch >= VALIDATIONS


def rows(recipe: Recipe, data: Path) -> int:
    """The number of converted rows that an epoch draws; of a recipe with a sift: traces.rows of the backends."""
    return sum(len(drawn.rows(range(samples.count(data, task, "train")), recipe, task)) for task in recipe.tasks)


def schedule(recipe: Recipe, rows: int) -> Schedule:
    """The schedule over N rows. SFT trains on an incomplete last batch, RL drops it."""
    if recipe.sft and recipe.stage == "sft":
        steps = math.ceil(rows / recipe.sft.batch_size)
        return Schedule(steps, steps, math.ceil(steps * recipe.sft.epochs), recipe.sft.validate_every)
    assert recipe.rl is not None
    steps = rows // recipe.rl.rollout_batch_size
    updates = steps * (recipe.rl.rollout_batch_size // recipe.rl.batch_size)
    epochs = recipe.rl.epochs if recipe.trainer == "trl" else math.ceil(recipe.rl.epochs)  # the others run whole epochs
    return Schedule(steps, updates, math.ceil(steps * epochs), recipe.rl.validate_every)


def take(data: dict[str, Any]) -> list[tuple[str, str]]:
    """The (stage, key) of each `auto` in a recipe's data; each is replaced by a number that passes validation."""
    found = []
    for stage, keys in AUTO.items():
        block = data.get(stage)
        if isinstance(block, dict):
            autos = [key for key in keys if block.get(key) == "auto"]
            found += [(stage, key) for key in autos]
            block.update(dict.fromkeys(autos, 1))
            if "rollout_batch_size" in autos:
                block["rollout_batch_size"] = block.get("batch_size", 1)
    return found


def resolved(recipe: Recipe, autos: list[tuple[str, str]], data: Path) -> Recipe:
    """The recipe with each `auto` derived from the converted rows. Raises UserError if a task has none."""
    keys = [key for stage, key in autos if stage == recipe.stage]
    if not keys:
        return recipe
    if recipe.sift:
        named = f"{recipe.stage}.{keys[0]}"
        text = f"{named} is auto, and the recipe trains on as many rows as its sift leaves"
        raise UserError(text, f"--set {named}=N; without it, mtrl plan says how many rows there are")
    for task in recipe.tasks:
        if not samples.count(data, task, "train"):
            named = f"{recipe.stage}.{keys[0]}"
            text = f"{named} is auto, which is derived from the training rows, and task {task} has none in {data}"
            raise UserError(f"{text} (or pass a number: --set {named}=N)", datacard.convert_again(task, data))
    return derived(recipe, keys, rows(recipe, data))


def derived(recipe: Recipe, keys: Iterable[str], there: int) -> Recipe:
    """The recipe with these sizes of its stage derived from `there` rows."""
    if "batch_size" in keys or "rollout_batch_size" in keys:
        recipe = _changed(recipe, **_batches(recipe, keys, there))
    if "validate_every" in keys:
        made = schedule(recipe, there)
        most = AUTO[str(recipe.stage)]["validate_every"]
        recipe = _changed(recipe, validate_every=max(1, min(most, min(made.steps, made.total) // VALIDATIONS)))
    return recipe


def _changed(recipe: Recipe, **values: int) -> Recipe:
    """Validated again: a given batch size may not fit a derived one."""
    stage, data = str(recipe.stage), recipe.model_dump()
    return validate(type(recipe), {**data, stage: {**data[stage], **values}}, "auto sizes")


def _batches(recipe: Recipe, keys: Iterable[str], rows: int) -> dict[str, int]:
    """The largest batch, of the sizes that the devices can share, with 8 updates per epoch; the smallest if
    none has.
    """
    unit, stage = recipe.hardware.world_size, str(recipe.stage)
    if recipe.rl and stage == "rl":
        unit = _unit(recipe, recipe.rl.n)
    sizes = [unit * 2**power for power in range(20) if unit * 2**power <= AUTO[stage]["batch_size"]] or [unit]
    if stage == "sft":
        return {"batch_size": _largest(sizes, rows // UPDATES)}
    assert recipe.rl is not None
    batch, rolled = recipe.rl.batch_size, recipe.rl.rollout_batch_size
    if "batch_size" in keys:
        if "rollout_batch_size" not in keys:  # which must be a multiple of it
            sizes = [size for size in sizes if rolled % size == 0] or sizes[:1]
        batch = _largest(sizes, rows // UPDATES)
    if "rollout_batch_size" in keys:  # two updates per rollout, as in the paper, where the rows allow it
        rolled = 2 * batch if rows // (2 * batch) >= UPDATES // 2 else batch
    return {"batch_size": batch, "rollout_batch_size": rolled}


def _largest(sizes: list[int], at_most: int) -> int:
    return max((size for size in sizes if size <= at_most), default=sizes[0])


def _unit(recipe: Recipe, n: int) -> int:
    """The smallest number of prompts that the devices share evenly, with answers in whole per-device batches."""
    world, each = recipe.hardware.world_size, recipe.hardware.rl_per_device_batch_size
    if recipe.trainer == "trl":  # it distributes answers, in per-device batches of any size
        return world // math.gcd(world, n)
    unit = world * (each // math.gcd(each, n))
    return unit * 2 if unit * n % (2 * each) else unit  # EasyR1 computes log-probabilities in batches twice as large
