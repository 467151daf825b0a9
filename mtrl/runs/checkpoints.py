"""From a run's checkpoint to a folder that vLLM loads: `mtrl export`.

Whatever saved it (LLaMA-Factory, TRL, EasyR1, verl; transformers 4 or 5), the folder gets the experts in the hub's layout, a config
that old and new transformers read, and the processor, chat template and generation config of the base model. mtrl.json
says what it is: evaluation needs nothing else.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from mtrl import __version__
from mtrl.backends import checkpoint_folders, registry
from mtrl.config import task_files
from mtrl.config.recipe_types import Recipe
from mtrl.core import hints, staging
from mtrl.core.errors import MtrlError, UserError, remedy
from mtrl.core.files import read_json, sha256_file, write_json
from mtrl.core.nested import differing
from mtrl.core.rundir import Run
from mtrl.models import budget, experts
from mtrl.models.card import FILE as CARD
from mtrl.models.model_folder import BESIDE, local_model

UNDONE = {
    "running": "it is still running, and later checkpoints may be better",
    "failed": "it failed before its end",
    "interrupted": "it was interrupted before its end",
    "planned": "it was never started by mtrl",
}


def choose(run: Run, step: str) -> tuple[Path, int]:
    """The checkpoint folder of `step` (a number, "last" or "best") and its number. Raises UserError with what there is.

    Only checkpoint-N folders count: what LLaMA-Factory leaves beside them is its own best, by token accuracy.
    """
    steps = checkpoint_folders.steps(run)
    if step == "last" and steps:
        return steps[max(steps)], max(steps)
    if step == "best" and steps:
        if (chosen := run.selected) and chosen.best in steps:
            return steps[chosen.best], chosen.best
        if str(run.recipe.get("method")).startswith("sft"):
            raise UserError(
                "the best step of an SFT run is not known: its eval_accuracy is of tokens, not of verdicts; mtrl select"
                " scores its steps by their verdicts",
                hints.line("select", run.name),
            )
        if kept := {number: score for number, score in trainers_scores(run).items() if number in steps}:
            return steps[best_of(kept)], best_of(kept)
    if step.isdecimal() and int(step) in steps:
        return steps[int(step)], int(step)
    there = ", ".join(map(str, steps)) or "none"
    raise UserError(
        f"run {run.name} has no checkpoint {step!r} (complete checkpoints: {there})", hints.line("status", run.name)
    )


def best_of(scores: dict[int, float]) -> int:
    """The step of the highest score; of equals, the later."""
    return max(scores, key=lambda number: (scores[number], number))


def trainers_scores(run: Run) -> dict[int, float]:
    """The trainer's own validation accuracy by step: of verdicts in RL, of tokens in SFT."""
    return {
        row["step"]: row["eval_accuracy"] for row in run.metrics if math.isfinite(row.get("eval_accuracy", math.nan))
    }


def export(run: Run, step: str, target: Path, unfinished: bool = False) -> dict[str, Any]:
    """Writes `target`, which must not exist yet, and returns its mtrl.json. Raises UserError and MtrlError.

    `unfinished` allows a run that is not done.
    """
    recipe = run.recipe
    resolved = Recipe.model_validate(recipe)
    trainer = registry.of(resolved)
    checkpoint_folders.require_own(run, trainer.name)
    source, number = choose(run, step)
    if not unfinished:
        require_done(run, hints.line("export", run.asked_as, out=target, step=step, unfinished=True))
    base = local_model(recipe["model"]["path"])
    try:
        with staging.folder(target) as here:
            card = {
                "mtrl": __version__,
                "method": recipe["method"],
                "style": recipe["style"],
                "tasks": recipe["tasks"],
                "image": recipe["image"],
                "max_new_tokens": resolved.max_new_tokens,
                "base_model": recipe["model"]["path"],
                "run": run.name,
                "step": number,
                "recipe": recipe,
                "recipe_sha256": sha256_file(run.path / "recipe.yaml"),
                "packages": run.environment.packages,
            }
            with trainer.merged(source, resolved, here) as folder:
                card["experts"] = _write_model(folder, base, here, recipe["image"])
            made = sorted(file for file in here.iterdir() if file.is_file() and file.name != staging.LOCK)
            card["files"] = {file.name: sha256_file(file) for file in made} | _carry(run, here / task_files.FOLDER)
            write_json(here / CARD, card)
    except OSError as error:
        raise MtrlError(f"writing {target} failed: {error.strerror or error}", remedy(error, "export again")) from error
    return card


def require_done(run: Run, anyway: str) -> None:
    """Raises UserError where the run is not done; `anyway` is the command that takes it all the same."""
    if (state := run.status.state) != "done":
        raise UserError(f"run {run.name} is not done: {UNDONE.get(state, state)}", anyway)


def _carry(run: Run, home: Path) -> dict[str, str]:
    """Copies the tasks and prompts that the run was trained with into `home`, and returns their hashes; {} for a run without.

    Raises UserError where they are not those that the run was started with.
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


def _write_model(source: Path, base: Path | None, target: Path, image: dict[str, int]) -> str:
    """Copies weights and the files beside them; returns the layout the experts were found in."""
    config = _readable_config(read_json(source / "config.json"), base)
    write_json(target / "config.json", config)
    found = experts.headers(source)
    if not found:
        raise UserError(f"{source} holds no safetensors weights", "export another step")
    layout = experts.layout({name: shape for name, (_, shape) in found.items()}, config)
    _compare_names(found, base)
    for file in sorted({file for file, _ in found.values()}):
        if layout == "transposed":
            experts.copy_transposed(file, target / file.name)
        else:
            shutil.copyfile(file, target / file.name)
    if (index := source / "model.safetensors.index.json").exists():
        shutil.copyfile(index, target / index.name)
    for name in BESIDE:
        # the base model's own files come first: training changes none of them, and transformers 5 writes some that 4 cannot read
        for folder in (base, source):
            if folder is not None and (folder / name).exists():
                shutil.copyfile(folder / name, target / name)
                break
    if (target / budget.FILE).exists():  # a server that is told nothing sees images as training did
        write_json(target / budget.FILE, budget.with_budget(read_json(target / budget.FILE), image))
    if not (target / "tokenizer_config.json").exists() or not (target / "preprocessor_config.json").exists():
        raise MtrlError(
            f"{source} and its base model lack a tokenizer or preprocessor config", "give model.path as a folder"
        )
    return layout


def _readable_config(config: dict[str, Any], base: Path | None) -> dict[str, Any]:
    """The config in the words of transformers 4, which 5 and vLLM read too; 4 misreads some of 5's in silence."""
    text = config.get("text_config", config)
    reference = read_json(base / "config.json") if base else {}
    known = reference.get("text_config", reference)
    if "rope_parameters" in text:
        rope = dict(text.pop("rope_parameters"))
        text["rope_theta"] = rope.pop("rope_theta", known.get("rope_theta"))
        text["rope_scaling"] = known.get("rope_scaling") or rope
    if "num_local_experts" in text:
        text["num_experts"] = text.pop("num_local_experts")
    if "num_experts" in text:
        text.setdefault("norm_topk_prob", known.get("norm_topk_prob", True))  # vLLM 0.32 stops without it
    return config


def _compare_names(found: dict[str, Any], base: Path | None) -> None:
    if base is None:
        return
    want = set(experts.headers(base))
    tied = {"lm_head.weight"}  # saved or not when it is the embedding
    missing, extra = sorted(want - set(found) - tied), sorted(set(found) - want - tied)
    if want and (missing or extra):
        named = [
            f"{kind} {names[0]} and {len(names) - 1} more"
            for kind, names in (("without", missing), ("with", extra))
            if names
        ]
        raise MtrlError(f"the checkpoint's tensors are not the base model's: {'; '.join(named)}")
