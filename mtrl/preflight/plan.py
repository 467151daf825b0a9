"""All checks of a run before it is launched: what would fail late, found in seconds on any machine. No GPU, no upstream
import.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mtrl.backends import checkpoint_folders, envs, registry
from mtrl.backends.envs.tested import TESTED
from mtrl.config import tasks
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import MtrlError
from mtrl.core.files import read_json
from mtrl.core.finding import Check
from mtrl.core.run_files import RECIPE
from mtrl.core.rundir import Run
from mtrl.models import model_folder
from mtrl.preflight import (
    amounts,
    easyr1_rules,
    keys,
    lengths,
    machine,
    memory,
    network,
    shared,
    slurm,
    times,
    training_rows,
    verl_rules,
)
from mtrl.preflight.rendered import Rendered
from mtrl.reward_plugins import judge

SEQUENCE_CLIP = 0.01  # GSPO (arXiv 2507.18071) has 3e-4; ours, far above it
RULES = {"easyr1": easyr1_rules.check, "verl": verl_rules.check}


def preflight(
    recipe: Recipe, run: Run, data: Path, rendered: Rendered, price: float | None = None, elsewhere: bool = False
) -> list[Check]:
    """The checks of the run that will be launched, in the order in which their subjects are used. Changes nothing.

    `rendered` is the upstream.yaml of this recipe and run. `mtrl plan`, `mtrl sft`, `mtrl rl` and `mtrl reproduce` call
    this. `price` is money per GPU-hour. `elsewhere`: what only the machine that trains can answer is not checked.
    """
    checks: list[Check] = []
    parts = (
        _run(recipe, run),
        _model(recipe),
        training_rows.check(recipe, data),
        lengths.check(recipe, data),
        _reward(recipe),
        _clip(recipe),
        amounts.check(recipe, data),
        times.check(recipe, data, price),
        *([_not_here()] if elsewhere else _machine(recipe, run, data)),
        _rendered(recipe, run, data, rendered, elsewhere),
    )
    for part in parts:
        try:
            checks += part
        except MtrlError as error:
            checks.append(Check("error", str(error), error.then))
    return list(dict.fromkeys(checks))  # two parts can fail on one thing


def _run(recipe: Recipe, run: Run) -> Iterator[Check]:
    """Raises UserError if the run's name is another recipe's, or it has another trainer's checkpoints."""
    if (run.path / RECIPE).exists() and (state := run.status.state) != "planned":
        run.same_recipe(recipe.model_dump(mode="json", exclude_none=True))
        yield Check("ok", f"run {run.name} is {state}")
    checkpoint_folders.require_own(run, recipe.trainer)


def _machine(recipe: Recipe, run: Run, data: Path) -> list[Iterator[Check]]:
    there = network.check(recipe), slurm.check(recipe), shared.check(recipe, run, data), machine.check(recipe)
    return [_environment(recipe), *there]


def _not_here() -> Iterator[Check]:
    what = "the trainer's environment, ports and Ray, GPUs and memory in use, disk, the paths of other nodes"
    yield Check("ok", f"not checked here: {what}")


def _is_missing(model: str) -> bool:
    """Whether the model is given as a folder, and the folder has no model."""
    path = Path(model)
    if (path / "config.json").exists():
        return False
    in_folder = len(path.parts) > 1 and path.parent.is_dir()  # exports/x is no hub id if there is a folder exports
    return path.exists() or path.is_absolute() or model.startswith(".") or in_folder


def _model(recipe: Recipe) -> Iterator[Check]:
    path, name = recipe.model.path, f"model {recipe.model.name}: {recipe.model.path}"
    if _is_missing(path):
        text = f"{name} is not a model folder (no config.json)"
        yield Check("error", text, "correct path: in the model preset")
    elif (Path(path) / "config.json").exists():
        yield Check("ok", f"{name} ({read_json(Path(path) / 'config.json').get('model_type', '?')})")
    elif model_folder.local_model(path):
        yield Check("ok", f"{name}, in the Hugging Face cache")
    elif recipe.rl:
        yield Check("ok", f"{name}, from the Hugging Face hub")
    else:
        text = f"{name}, from the Hugging Face hub: LLaMA-Factory will round image sizes by its own rule"
        yield Check("warning", text, f"hf download {path}")


def _reward(recipe: Recipe) -> Iterator[Check]:
    if recipe.rl is None:
        return
    asked = [tasks.load(name) for name in recipe.tasks]
    for task in asked:
        for label in task.choices:
            truth = json.dumps({"task": task.name, "label": label, "id": "1", "choices": task.choices})
            answer = label if recipe.style == "sft" else f"<think>Because.</think><answer>{label}</answer>"
            weight, graded = recipe.rl.format_weight, recipe.rl.score_reward
            gold = judge.score(answer, truth, weight, style=recipe.style, score_reward=graded)["overall"]
            if abs(gold - 1) > 1e-9:
                yield Check("error", f"the right answer {label} scores {gold}, not 1.0", "fix reward_plugins/judge.py")
                return
    yield Check("ok", "right answers score 1.0")
    if recipe.rl.max_response_length > recipe.max_new_tokens:
        text = f"style: {recipe.style}: evaluation allows a bare verdict {recipe.max_new_tokens} tokens, and "
        text += f"rl.max_response_length is {recipe.rl.max_response_length}"
        yield Check("warning", text, f"--set rl.max_response_length={recipe.max_new_tokens}")
    if recipe.rl.score_reward == "linear" and not any(task.kind == "score" for task in asked):
        text = "rl.score_reward is linear, and no task of this run is a score task: it would be ignored"
        yield Check("error", text, "--set rl.score_reward=exact")


def _clip(recipe: Recipe) -> Iterator[Check]:
    """Sequence ratios are means over an answer's tokens: so close to 1 that a token's clip range never clips."""
    if recipe.rl and recipe.rl.ratio == "sequence" and recipe.rl.clip_low > SEQUENCE_CLIP:
        text = f"rl.ratio is sequence, and rl.clip_low {recipe.rl.clip_low:g} clips nothing; GSPO has 3e-4 and 4e-4"
        yield Check("warning", text, "--set rl.clip_low=3e-4 --set rl.clip_high=4e-4")


def _environment(recipe: Recipe) -> Iterator[Check]:
    trainer = registry.of(recipe)
    python = envs.interpreter(trainer.environment)
    package, again = trainer.packages[0], f"make setup-{trainer.environment}"
    version = envs.versions(python, (package,))[package]
    if version is None:
        yield Check("error", f"the environment {trainer.environment} has no {package}", again)
    elif missing := _missing(python, recipe):
        text = f"the environment {trainer.environment} has no {' and '.join(missing)}"
        yield Check("error", text, f"{again} DEVICE=gpu (or --set upstream.flash_attn=sdpa)")
    elif version != (tested := TESTED[recipe.trainer].version):
        yield Check("warning", f"{package} {version} is not the tested version {tested}")
    else:
        yield Check("ok", f"{package} {version}")


def _missing(python: Path, recipe: Recipe) -> list[str]:
    """What LLaMA-Factory needs on GPUs in addition to its own requirements."""
    if not (recipe.sft and recipe.hardware.gpus_per_node):
        return []
    wanted = ["deepspeed"] if recipe.hardware.deepspeed else []
    wanted += ["flash_attn"] if recipe.upstream.get("flash_attn", "fa2") == "fa2" else []
    return [name for name, version in envs.versions(python, tuple(wanted)).items() if version is None]


def _rendered(recipe: Recipe, run: Run, data: Path, rendered: Rendered, elsewhere: bool = False) -> Iterator[Check]:
    """upstream.yaml itself: its keys, its values, and the memory and disk that follow from them."""
    yield from keys.check(recipe, rendered)
    if rules := RULES.get(recipe.trainer):
        yield from rules(recipe, run, rendered)
    if not _is_missing(recipe.model.path):
        yield from memory.check(recipe, rendered, elsewhere)
        if not elsewhere:
            yield amounts.disk(recipe, run, data, rendered)
