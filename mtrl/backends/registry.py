"""All backends by name."""

from __future__ import annotations

from mtrl.backends.base import Backend
from mtrl.backends.easyr1_grpo import EasyR1
from mtrl.backends.llamafactory_sft import LlamaFactory
from mtrl.backends.trl_grpo import Trl
from mtrl.backends.verl_grpo import Verl
from mtrl.config.recipe_types import Recipe

BACKENDS: dict[str, Backend] = {
    "llamafactory": LlamaFactory(),
    "trl": Trl(),
    "easyr1": EasyR1(),
    "verl": Verl(),
}


def of(recipe: Recipe) -> Backend:
    """The backend that trains a recipe."""
    return BACKENDS[recipe.trainer]
