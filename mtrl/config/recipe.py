"""A recipe: one YAML file per row of Table 2, validated as a whole before anything runs.

    recipe file  <-  model preset's `recipe:`  <-  hardware preset's `recipe:`  <-  --set a.b=c

Later sources override earlier ones. Sizes that are `auto` are derived from the converted data (sizes.py). The resolved
recipe, presets included, is written to the run directory as recipe.yaml.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtrl.config import sizes, task_files, unused
from mtrl.config.recipe_types import Hardware, ModelPreset, Recipe
from mtrl.core import hints, search_path
from mtrl.core.errors import UserError, nearest
from mtrl.core.files import parse_yaml, read_yaml
from mtrl.core.nested import merge
from mtrl.core.schema import validate

TABLES = ("paper", "published", "releases", "gpus", "measured", "study")  # what is in recipes/ and is not a recipe

__all__ = ["Recipe", "load"]


def load(
    file: str,
    model: str | None = None,
    hardware: str | None = None,
    task: str | None = None,
    sets: list[str] | None = None,
    folder: Path = Path("data"),
) -> Recipe:
    """Reads and resolves a recipe: a path, or the name of one in recipes/. Raises UserError with all mistakes at once.

    `folder` is the data folder, which decides what is `auto`.
    """
    path = Path(file)
    if not path.is_file():
        if path.parent not in (Path(), Path("recipes")):
            raise UserError(f"there is no recipe {file}", "name a file, or one of mtrl's own: sft_unified")
        known = [name for name in search_path.listing("recipes", "", ".yaml") if name not in TABLES]
        if path.stem not in known:
            raise UserError(f"there is no recipe {path.stem!r}.{nearest(path.stem, known)}")
        path = search_path.find("recipes", f"{path.stem}.yaml", "recipe")
    data = read_yaml(path)
    changes = [_parsed_set(text) for text in sets or []]
    for key, value in changes:
        if key in ("model", "hardware"):
            data[key] = value
    model_file = _preset("models", str(model or data.get("model") or ""))
    hardware_file = _preset("hardware", str(hardware or data.get("hardware") or ""))
    model_data, hardware_data = (
        {"name": model_file.stem, **read_yaml(model_file)},
        {"name": hardware_file.stem, **read_yaml(hardware_file)},
    )
    for preset in (model_data, hardware_data):
        merge(data, preset.get("recipe") or {}, new_blocks=False)  # a preset has blocks for SFT and for RL
    data["model"] = validate(ModelPreset, model_data, str(model_file)).model_dump(exclude={"recipe"})
    data["hardware"] = validate(Hardware, hardware_data, str(hardware_file)).model_dump(exclude={"recipe"})
    if data["model"]["path"].startswith("./"):
        data["model"]["path"] = str((model_file.parent / data["model"]["path"]).resolve())
    for key, value in changes:
        if key not in ("model", "hardware"):
            unused.of_another_stage(str(data.get("method")), key)
            if key == "model.path" and (Path(str(value)) / "config.json").exists():
                value = str(Path(value).resolve())  # trainers run in the run directory
            _assign(data, key, value)
    if task:
        data["tasks"] = task  # or several, by commas
    autos = sizes.take(data)
    recipe = validate(Recipe, data, str(path))
    if recipe.stage:
        options = {"model": model, "hardware": hardware, "set": sets}
        _forbidden(recipe, lambda rest: hints.line(str(recipe.stage), file, tasks=rest, **options))
        unused.trainer_twice(recipe, {key for key, _ in changes})
        unused.beyond_the_gpus(recipe, {key for key, _ in changes})
        unused.by_rl(recipe)
        unused.by_trainer(recipe.trainer, recipe.hardware.gpus_per_node, [key for key, _ in changes])
        unused.under_adapters(recipe, {key for key, _ in changes})
    return sizes.resolved(recipe, autos, folder)


def _forbidden(recipe: Recipe, again: Callable[[str], str]) -> None:
    """Raises UserError for a task whose release does not allow training; `again(tasks)` is the command without it.

    A task that is missing or broken: see preflight.
    """
    found = {task.name: task.note for task in map(task_files.local, recipe.tasks) if task and not task.training}
    for name, note in found.items():
        rest = ",".join(other for other in recipe.tasks if other not in found)
        raise UserError(
            f"task {name} is for evaluation only, and {recipe.method} trains: {note}",
            again(rest) if rest else hints.line("eval", ckpt=recipe.model.path, tasks=name),
        )


def _preset(kind: str, name: str) -> Path:
    if not name:
        raise UserError(f"the recipe names no {kind.removesuffix('s')}", f"add it, or pass --{kind.removesuffix('s')}")
    return search_path.find("recipes", f"{kind}/{name}.yaml", f"{kind.removesuffix('s')} preset")


def _parsed_set(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text!r} is not KEY=VALUE", "for example --set sft.learning_rate=2e-5")
    return key.strip(), parse_yaml(value, f"--set {text}")


def _assign(data: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise UserError(f"--set {key}: {part!r} is a value, not a block")
    data[last] = value
