"""The --set that makes a size fit, as the rules of EasyR1 and verl suggest it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from mtrl.config.recipe_types import Recipe

Found = tuple[Any, ...]  # plan.Check's fields: level, text, then


def batches(batch: int, rolled: int, world: int, unit: int) -> str:
    """The --set of the nearest batches that fit: of prompts in multiples of `unit`, rolled out in multiples of it and the GPUs."""
    batch = near(batch, unit)
    return f"--set rl.batch_size={batch} --set rl.rollout_batch_size={near(rolled, math.lcm(world, batch))}"


def near(value: int, unit: int) -> int:
    return max(unit, (2 * value + unit) // (2 * unit) * unit)


def settable(recipe: Recipe, found: Iterable[Found], keys: dict[str, str]) -> Iterator[Found]:
    """What was found, its --set naming upstream's own keys where the recipe's `upstream:` block overrides one of `keys`."""

    def overridden(key: str) -> bool:
        block: Any = recipe.upstream
        for part in key.split("."):
            block = block.get(part) if isinstance(block, dict) else None
        return block is not None

    for level, text, then in found:
        named = {ours: theirs for ours, theirs in keys.items() if f"--set {ours}=" in then}
        if any(overridden(theirs) for theirs in named.values()):
            for ours, theirs in named.items():
                then = then.replace(f"--set {ours}=", f"--set upstream.{theirs}=")
        yield (level, text, then)


def multiple(key: str, value: int, of: int) -> str:
    below, above = value // of * of, -(-max(value, 1) // of) * of
    return " or ".join(f"--set {key}={number}" for number in dict.fromkeys((below, above)) if number > 0)


def divisor(value: int, at_most: int) -> int:
    return next((n for n in range(min(value, at_most), 0, -1) if value % n == 0), 1)
