"""From a run's checkpoint to a folder that vLLM loads: `mtrl export`.

Whatever saved it (LLaMA-Factory, TRL, EasyR1, verl; transformers 4 or 5), the folder is as the hub publishes models,
and holds the tasks and prompts of the run. Its mtrl.json describes it: evaluation needs nothing else.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from mtrl import __version__
from mtrl.backends import checkpoint_folders, registry
from mtrl.config import task_files
from mtrl.config.recipe_types import Recipe
from mtrl.core import hints, staging
from mtrl.core.errors import MtrlError, UserError, remedy
from mtrl.core.files import sha256_file, write_json
from mtrl.core.nested import differing
from mtrl.core.run_files import INPUTS, RECIPE
from mtrl.core.rundir import Run
from mtrl.core.schema import validate
from mtrl.models import hub_folder
from mtrl.models.card import FILE as CARD
from mtrl.models.model_folder import local_model
from mtrl.runs import steps


def export(run: Run, step: str, target: Path, unfinished: bool = False) -> dict[str, Any]:
    """Writes `target`, which must not exist yet, and returns its mtrl.json. Raises UserError and MtrlError.

    `unfinished` allows a run that is not done.
    """
    recipe = run.recipe
    file = run.path / RECIPE
    resolved = validate(Recipe, recipe, str(file), f"remove from {file} what this mtrl does not know, and export again")
    trainer = registry.of(resolved)
    checkpoint_folders.require_own(run, trainer.name)
    source, number = steps.choose(run, step)
    if not unfinished:
        steps.require_done(run, hints.line("export", run.asked_as, out=target, step=step, unfinished=True))
    base = local_model(recipe["model"]["path"])
    try:
        with staging.folder(target) as here:
            card = {
                "mtrl": __version__,
                "method": recipe["method"],
                "style": recipe["style"],
                "tasks": recipe["tasks"],
                "image": recipe["image"],
                "max_new_tokens": _longest_answer(run, resolved),
                "base_model": recipe["model"]["path"],
                "run": run.name,
                "step": number,
                "recipe": recipe,
                "recipe_sha256": sha256_file(file),
                "packages": run.environment.packages,
            }
            with trainer.merged(source, resolved, here) as folder:
                card["experts"] = hub_folder.write(folder, base, here, recipe["image"])
            made = sorted(file for file in here.iterdir() if file.is_file() and file.name != staging.LOCK)
            card["files"] = {file.name: sha256_file(file) for file in made} | _carry(run, here / task_files.FOLDER)
            write_json(here / CARD, card)
    except OSError as error:
        raise MtrlError(f"writing {target} failed: {error.strerror or error}", remedy(error, "export again")) from error
    return card


def _longest_answer(run: Run, recipe: Recipe) -> int:
    """In tokens. Of a run on traces as long as the sift allowed, so that no trace is longer."""
    if not recipe.on_traces:
        return recipe.max_new_tokens
    if (traces := run.started_with.traces) is None:
        file = run.path / INPUTS
        raise UserError(f"{file} does not say how long the traces may be", "train again under another --name")
    return traces.max_tokens


def _carry(run: Run, home: Path) -> dict[str, str]:
    """Copies the tasks and prompts that the run was trained with into `home`, and returns their hashes (or {}).

    Raises UserError if they are not those that the run was started with.
    """
    kept = run.inputs / task_files.FOLDER
    found = task_files.hashes(kept)
    trained = {name: of for name, of in run.hashes.items() if name.startswith(f"{task_files.FOLDER}/")}
    if changed := differing(trained, found):
        raise UserError(
            f"{kept} is not what run {run.name} was started with; different now: {', '.join(changed)}",
            "restore the folder, or train again under another --name",
        )
    if found:
        shutil.copytree(kept, home)
    return found
