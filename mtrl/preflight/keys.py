"""The keys that LLaMA-Factory and TRL take, so that a typo in a recipe's `upstream:` block is named before a start.

<trainer>_keys.txt are upstream's own, of the tested versions: the contract tests compare them with the installed ones, and
`python -m tests.contract.test_llamafactory` (or test_trl) writes them anew. EasyR1's nested ones are easyr1_rules.py's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import nearest
from mtrl.core.finding import Check

OURS = ("model", "dtype", "lora", "train", "val", "reward", "image", "patience", "grpo")  # what trl_job.py reads beside GRPOConfig's


def file(trainer: str) -> Path:
    return Path(__file__).with_name(f"{trainer}_keys.txt")


def known(trainer: str) -> list[str]:
    return [line for line in file(trainer).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def check(recipe: Recipe, config: dict[str, Any]) -> Iterator[Check]:
    """An error for each key of the rendered upstream.yaml that its trainer does not take."""
    trainer = recipe.trainer
    if trainer == "llamafactory":
        yield from _strange(config, "", known("llamafactory"), "LLaMA-Factory")
    elif trainer == "trl":
        yield from _strange(config, "", OURS, "TRL's job")
        yield from _strange(config["grpo"], "grpo.", known("trl"), "TRL's GRPOConfig")


def _strange(config: dict[str, Any], prefix: str, taken: Any, who: str) -> Iterator[Check]:
    for key in config:
        if key not in taken:
            near = nearest(key, taken)
            near = near if len(near) < 200 else ""  # not all of four hundred
            yield Check("error", f"upstream.{prefix}{key} is no key that {who} takes.{near}", "mend the recipe's upstream: block")  # fmt: skip
