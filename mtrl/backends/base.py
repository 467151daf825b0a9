"""What a backend is: how one upstream trainer is configured, started, watched and resumed.

A backend renders a recipe to ONE config file, ONE command line and ONE environment, reads progress from the trainer's own
logs, and names what resuming needs. llamafactory.py, trl.py, easyr1.py and verl.py are those here.
"""

from __future__ import annotations

import importlib
import math
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mtrl.backends import overlay
from mtrl.config.recipe_types import Recipe
from mtrl.core import search_path
from mtrl.core.errors import UserError
from mtrl.core.files import dump_yaml, parse_yaml, read_json
from mtrl.core.rundir import Run
from mtrl.models import budget, trainer_state

# where each trainer that saves global_step_<n> folders keeps its data loader's state: its last file, and its mark
LOADER = {"easyr1": "dataloader.pt", "verl": "data.pt"}
MODULES = {
    "llamafactory": "llamafactory_sft",
    "trl": "trl_grpo",
    "easyr1": "easyr1_grpo",
    "verl": "verl_grpo",
}
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class Job:
    """`config` is the text of upstream.yaml; the command runs in the run directory with `env` added to the environment."""

    config: str
    command: list[str]
    env: dict[str, str]


def of(recipe: Recipe) -> ModuleType:
    """The backend module of a recipe: `ENVIRONMENT`, `PACKAGES`, `config`, `job`, `data_files`, `link_inputs` and `metrics`.

    `config(recipe, run, data)` is the text of upstream.yaml, which needs nothing of upstream's installed.

    `ended(recipe, run)` says why no step is left to train, "" where one is: a trainer that is started on its last checkpoint
    would go on past the end.

    Where its trainer is not like Hugging Face's, also `begin(run)`, called before each start; `finished(run)`; and
    `plateaued(recipe, rows)`, the reason to stop a run that its trainer would go on with.
    """
    return importlib.import_module(f"mtrl.backends.{MODULES[recipe.trainer]}")


def name_of(recipe: Recipe) -> str:
    """llamafactory, trl, easyr1, ...: the trainer's name."""
    return recipe.trainer


def render(template: str, recipe: Recipe, run: Run, **values: Any) -> str:
    """recipes/templates/<template> filled in, with the recipe's `upstream:` block laid over it. Raises UserError.

    Where the image budget is in the model's own processor, a comment at the top says so: a range further down is not the recipe's.
    """
    from mtrl.core import sandbox

    path = search_path.find("recipes", f"templates/{template}", "template")
    cpu = recipe.hardware.gpus_per_node == 0
    values |= {"recipe": recipe, "cpu": cpu, "checkpoints": run.checkpoints, "inputs": run.inputs}
    filled = sandbox.config(path, values)
    config = parse_yaml(filled, str(path))
    overlay.lay(config, recipe.upstream, recipe.trainer)
    return (_budget_note(recipe, run) if budgeted(run) else "") + dump_yaml(config)


def _budget_note(recipe: Recipe, run: Run) -> str:
    here = (
        "inputs/verl_*, row by row"
        if recipe.trainer == "verl"
        else "the range below only keeps the trainer's own rule off"
    )
    return (
        f"# image.min_pixels {recipe.image.min_pixels}, image.max_pixels {recipe.image.max_pixels} are in the model's processor:\n"
        f"# {run.inputs / 'model' / budget.FILE}, size; {here}\n"
    )


def budgeted(run: Run) -> bool:
    """Whether inputs/model, with the recipe's image budget in its processor, is what this run trains."""
    return (run.inputs / "model" / budget.FILE).exists()


def accumulation(batch: int, per_device: int, world: int, what: str) -> tuple[int, int]:
    """(per-device batch, accumulation steps) that give exactly `batch`. A smaller per-device batch is taken if it must be.

    Raises UserError, naming the nearest batches that divide, where the devices cannot share `batch` evenly.
    """
    if batch % world:
        below, above = batch // world * world, math.ceil(batch / world) * world
        near = " or ".join(str(n) for n in (below, above) if n > 0)
        raise UserError(f"{what} {batch} cannot be shared by {world} devices", f"nearest that can: {near}")
    share = batch // world
    size = next(n for n in range(min(per_device, share), 0, -1) if share % n == 0)
    return size, share // size


def complete(checkpoint: Path) -> bool:
    """Whether its trainer finished writing this checkpoint."""
    if checkpoint.name.startswith("global_step_"):
        return _complete_shards(checkpoint)
    try:
        read_json(checkpoint / "trainer_state.json", strict=False)
    except UserError:  # missing, or cut off by a kill
        return False
    return any((checkpoint / name).exists() for name in WEIGHTS)


def _complete_shards(checkpoint: Path) -> bool:
    """EasyR1's and verl's: every rank's file of each kind that rank 0 has, and the data loader's state, which is written last.

    Of verl's Megatron, its list of contents, which is written once they all are, in place of the ranks' files.
    """
    if not any(zipfile.is_zipfile(checkpoint / name) for name in LOADER.values()):
        return False
    actor = checkpoint / "actor"
    if (actor / "ckpt_contents.json").exists():
        return True
    first = [file.name.removesuffix("_rank_0.pt").rsplit("_", 1) for file in actor.glob("*_world_size_*_rank_0.pt")]
    kinds = {kind for kind, _ in first}
    whole = all((actor / f"{kind}_{n}_rank_{rank}.pt").exists() for kind, n in first for rank in range(int(n)))
    ready = "model_world_size" in kinds and (actor / "huggingface" / "config.json").exists()
    return ready and whole


def _folders(run: Run) -> list[Path]:
    return [
        path for name in ("checkpoint", "global_step") for path in run.checkpoints.glob(f"{name}[-_]*") if path.is_dir()
    ]


def only(run: Run, trainer: str) -> None:
    """Raises UserError where a checkpoint is another trainer's: EasyR1 and verl name their folders alike, and read neither's."""
    for path in _folders(run):
        found = [name for name, file in LOADER.items() if (path / file).exists()]
        if trainer in LOADER and found not in ([], [trainer]):
            files = " and ".join(f"{LOADER[name]} ({name})" for name in found)
            raise UserError(
                f"{path} holds {files}: it was not saved by {trainer} alone, which run {run.name} is trained by",
                f"move it elsewhere, or --set backend={next(n for n in found if n != trainer)} --name ANOTHER",
            )


def steps(run: Run) -> dict[int, Path]:
    """Complete checkpoints by step, in order."""
    found = {int(re.split("[-_]", p.name)[-1]): p for p in _folders(run) if complete(p)}
    return dict(sorted(found.items()))


def ended(recipe: Recipe, run: Run) -> str:
    """Why the newest checkpoint of a Hugging Face trainer is its last, "" where steps are left. `recipe` is not looked at."""
    return next((trainer_state.last(checkpoint) for checkpoint in reversed(steps(run).values())), "")


def set_aside_incomplete(run: Run) -> list[str]:
    """Renames checkpoints that a kill left half written, which a trainer would stumble on. Returns their names."""
    torn = [p for p in _folders(run) if not complete(p)]
    for path in torn:
        path.rename(path.with_name(f"torn-{path.name}-{path.stat().st_mtime_ns}"))
    return [path.name for path in torn]


def by_step(rows: Iterable[dict[str, Any]], keep: Callable[[str], bool]) -> list[dict[str, Any]]:
    """Log lines merged by their step, in order: what a later line says of a step is added to what an earlier one said."""
    merged: dict[int, dict[str, Any]] = {}
    for row in rows:
        if "step" in row:
            merged.setdefault(int(row["step"]), {}).update({k: v for k, v in row.items() if keep(k) and v is not None})
    return [merged[step] for step in sorted(merged)]
