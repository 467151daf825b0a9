"""`mtrl sft RECIPE` and `mtrl rl RECIPE`: launch, or resume, one training."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from mtrl.commands import options

Dry = Annotated[
    bool, typer.Option("--dry-run", help="Write and print configuration, command and environment; run nothing.")
]


def sft(
    recipe: options.RecipeFile,
    tasks: options.Tasks = None,
    set: options.Sets = None,
    model: options.Model = None,
    hardware: options.HardwareName = None,
    name: options.RunName = None,
    dry_run: Dry = False,
    data: options.Data = options.DATA,
    runs: options.Runs = options.RUNS,
) -> None:
    """Train by supervised fine-tuning, with LLaMA-Factory.

    The same command again resumes."""
    _train("sft", recipe, tasks, set, model, hardware, name, dry_run, data, runs)


def rl(
    recipe: options.RecipeFile,
    tasks: options.Tasks = None,
    set: options.Sets = None,
    model: options.Model = None,
    hardware: options.HardwareName = None,
    name: options.RunName = None,
    dry_run: Dry = False,
    data: options.Data = options.DATA,
    runs: options.Runs = options.RUNS,
) -> None:
    """Train by GRPO, with the backend of the hardware preset.

    The same command again resumes."""
    _train("rl", recipe, tasks, set, model, hardware, name, dry_run, data, runs)


def _train(
    stage: str, file: str, tasks: Any, sets: Any, model: Any, hardware: Any, name: Any, dry: bool, data: Any, runs: Any
) -> None:
    from mtrl.config import recipe as recipes
    from mtrl.core import hints
    from mtrl.core.console import bar, check, say, then
    from mtrl.core.errors import UserError
    from mtrl.core.files import dump_yaml
    from mtrl.core.run_files import COMMAND
    from mtrl.core.rundir import Run, checked
    from mtrl.evaluate.html import training
    from mtrl.preflight.plan import preflight
    from mtrl.preflight.rendered import Rendered
    from mtrl.runs import validation
    from mtrl.runs.launch import assist, launch, settle
    from mtrl.runs.prepare import prepare

    recipe = recipes.load(file, model, hardware, tasks, sets, data)
    if recipe.stage != stage:
        same = {"tasks": tasks, "set": sets, "model": model, "hardware": hardware, "name": name, "dry_run": dry}
        other = hints.line(recipe.stage, file, **same) if recipe.stage else hints.line("eval", ckpt=recipe.model.path)
        raise UserError(f"{file} is not a recipe for mtrl {stage} (method {recipe.method})", other)
    run = Run(runs / checked(name or recipe.default_name))
    hint = hints.line("export", run.name, out=hints.free("exports", run.name))
    if not dry:
        settle(run, recipe)
    if run.status.state == "done" and not dry:
        run.same_recipe(recipe.model_dump(mode="json", exclude_none=True))
        then(hint, f"run {run.name} is done")
        return
    rank = int(os.environ.get("NODE_RANK", "0")) if recipe.hardware.nodes > 1 and recipe.stage == "sft" else 0
    if rank and not dry:
        assist(run, recipe, data, rank)
        return
    rendered = Rendered(recipe, run, data)
    checks = preflight(recipe, run, data, rendered)
    for found in checks:
        if found.level != "ok":
            check(*found)
    errors = [found for found in checks if found.level == "error"]
    if errors and not dry:
        raise UserError(f"nothing was started: {errors[0].text}", errors[0].then)
    config = rendered.text  # where it fails, there is no run directory
    with run.held() as lock:
        job = prepare(run, recipe, data, config)
        if dry:
            say(dump_yaml(recipe.model_dump(mode="json", exclude_none=True)) + "---\n" + config + "---")
            say((run.path / COMMAND).read_text())
            say(f"planned in {run.path}")
            return
        say(f"curves: {run.path / training.FILE}")
        with bar(f"{stage} {run.name}") as update:

            def watch(rows: list[dict[str, Any]]) -> None:
                last = rows[-1]
                shown = {"loss": "loss", "reward": "reward", "accuracy": "verdict accuracy of the batch", "kl": "kl"}
                shown["eval_accuracy"] = f"{validation.name(stage)} on val"
                note = "  ".join(f"{v} {last[k]:.4g}" for k, v in shown.items() if isinstance(last.get(k), int | float))
                if last.get("total_steps"):
                    update(last["step"], last["total_steps"], note)

            launch(run, job, recipe, lock, watch)
    then(hint, f"run {run.name} is done in {run.status.seconds:.0f} s")
