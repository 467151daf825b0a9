"""upstream.yaml: recipes/templates/<trainer>.yaml.j2 filled in, with the recipe's `upstream:` block laid over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mtrl.reward_plugins
from mtrl.backends import inputs, overlay
from mtrl.config.recipe_types import Recipe
from mtrl.core import sandbox, search_path
from mtrl.core.files import dump_yaml, parse_yaml
from mtrl.core.rundir import Run
from mtrl.models import budget

# One rule of validation for every trainer of RL, so that checkpoints are chosen alike.
VALIDATION = {"temperature": 0.6, "top_p": 0.95}  # [U] EasyR1, examples/config.yaml: val_override_config
RANGE_BELOW = "the range below only disables the trainer's own rule"


def render(recipe: Recipe, run: Run, further_budget: str | None = RANGE_BELOW, /, **values: Any) -> str:
    """The text of upstream.yaml. Raises UserError.

    Templates see `values` and: recipe, cpu, validation, checkpoints, inputs, reward (the reward file); model,
    min_pixels and max_pixels. The last three are the recipe's own, or those of inputs/model, whose image processor has
    the recipe's image budget. A comment at the top then says so: the range further down is not the recipe's.
    `further_budget` ends that comment; None: the trainer does not read inputs/model.
    """
    path = search_path.find("recipes", f"templates/{recipe.trainer}.yaml.j2", "template")
    budgeted = further_budget is not None and inputs.model_to_budget(recipe) is not None
    values |= {
        "recipe": recipe,
        "cpu": recipe.hardware.gpus_per_node == 0,
        "validation": VALIDATION,
        "checkpoints": run.checkpoints,
        "inputs": run.inputs,
        "reward": Path(mtrl.reward_plugins.__file__).with_name("judge.py").resolve(),
        "model": run.inputs / "model" if budgeted else recipe.model.path,
        "min_pixels": 1 if budgeted else recipe.image.min_pixels,
        "max_pixels": budget.UNLIMITED if budgeted else recipe.image.max_pixels,
    }
    config = parse_yaml(sandbox.config(path, values), str(path))
    overlay.lay(config, recipe.upstream)
    note = (
        f"# image.min_pixels {recipe.image.min_pixels}, image.max_pixels {recipe.image.max_pixels}"
        " are in the model's processor:\n"
        f"# {run.inputs / 'model' / budget.FILE}, size; {further_budget}\n"
    )
    return (note if budgeted else "") + dump_yaml(config)
