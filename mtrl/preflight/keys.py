"""The keys that each trainer takes, so that a typo below `upstream:` in a recipe is found before a start.

<trainer>_keys.txt are upstream's own at the tested versions. The contract tests compare them with the installed ones,
and `python -m tests.contract.test_<trainer>` writes them anew. verl is asked itself (verl_rules.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import nearest
from mtrl.core.finding import Check
from mtrl.preflight.rendered import Rendered

JOB = (
    "model", "dtype", "lora", "train", "val", "reward", "image", "patience", "validation", "grpo",
)  # what jobs/grpo.py reads; grpo is GRPOConfig's  # fmt: skip
FREE = (  # EasyR1's blocks of any keys
    "worker.reward.reward_function_kwargs",
    "worker.rollout.val_override_config",
    "worker.actor.model.override_config",
)


def file(trainer: str) -> Path:
    return Path(__file__).with_name(f"{trainer}_keys.txt")


def known(trainer: str) -> list[str]:
    """The keys that the trainer takes, without those that it sets itself whatever is given."""
    return [line for line in file(trainer).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def check(recipe: Recipe, config: Rendered) -> Iterator[Check]:
    """An error for each key of upstream.yaml that its trainer does not take."""
    if recipe.trainer == "llamafactory":
        yield from _unknown("LLaMA-Factory", config.values, known("llamafactory"))
    elif recipe.trainer == "trl":
        yield from _unknown("TRL's job", config.values, JOB)
        grpo = [f"grpo.{key}" for key in config.block("grpo")]
        yield from _unknown("TRL's GRPOConfig", grpo, [f"grpo.{key}" for key in known("trl")])
    elif recipe.trainer == "easyr1":
        yield from _unknown("EasyR1", leaves(config.values), known("easyr1"))


def leaves(block: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted key of each value; a block of any keys is one value."""
    for key, value in block.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in FREE:
            yield from leaves(value, f"{name}.")
        else:
            yield name


def _unknown(who: str, found: Iterable[str], known: Iterable[str]) -> Iterator[Check]:
    known = list(known)
    for key in found:
        if key not in known:
            near = nearest(key, known)
            near = near if len(near) < 200 else ""  # not all of four hundred
            yield Check("error", f"{who} has no key {key!r}.{near}", "correct upstream: in the recipe")
