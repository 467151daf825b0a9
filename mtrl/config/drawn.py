"""How often a training draws each row of a task: `max_rows_per_task`, then `rl.mix`. Seeded by the recipe's seed.

A weight W of `rl.mix` is how often each row of the task is drawn per epoch: 2 is every row twice, 0.5 a seeded half of
the rows once, 1.5 every row once and a seeded half again. Without a weight: once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from mtrl.config.recipe_types import Recipe


def capped(there: Sequence[int], recipe: Recipe, task: str) -> list[int]:
    """The rows of `there` that max_rows_per_task leaves, in their order."""
    cap = recipe.max_rows_per_task
    if cap is None or cap >= len(there):
        return list(there)
    return sorted(random.Random(f"{recipe.seed}/{task}").sample(there, cap))


def weight(recipe: Recipe, task: str) -> float:
    return ((recipe.rl and recipe.rl.mix) or {}).get(task, 1.0)


def rows(there: Sequence[int], recipe: Recipe, task: str) -> list[int]:
    """The rows of `there` as an epoch draws them: in their order, the copies of a row next to each other."""
    kept = capped(there, recipe, task)
    whole, part = divmod(weight(recipe, task), 1)
    more = set(random.Random(f"{recipe.seed}/{task}/mix").sample(kept, round(part * len(kept))))
    return [row for row in kept for _ in range(int(whole) + (row in more))]
