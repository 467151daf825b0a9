"""GRPO by TRL on one machine: a YAML of GRPOConfig's own keys, and trl_job.py, which runs GRPOTrainer. Checked against 1.16.0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mtrl.reward_plugins
from mtrl import envs
from mtrl.backends import base as backend
from mtrl.backends import inputs
from mtrl.backends.base import Job
from mtrl.backends.jobs import grpo
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import UserError
from mtrl.core.files import read_jsonl
from mtrl.core.rundir import Run

ENVIRONMENT = "main"
PACKAGES = ("trl", "transformers", "torch")

ended = backend.ended


def data_files(recipe: Recipe, data: Path) -> list[Path]:
    return [data / task / f"rl_{split}.parquet" for task in recipe.tasks for split in ("train", "val")]


def link_inputs(recipe: Recipe, run: Run, data: Path) -> None:
    """inputs/rl_train and inputs/rl_val: a folder of <task>.parquet each, and nothing else in it."""
    inputs.rl_folders(recipe, data, run.inputs)


def config(recipe: Recipe, run: Run, data: Path) -> str:
    """The text of upstream.yaml. Raises UserError where the batch cannot be shared."""
    assert recipe.rl is not None
    if recipe.hardware.nodes > 1:
        raise UserError("TRL runs on one machine here", "a hardware preset with rl_backend: easyr1 runs on several")
    if recipe.hardware.lora:
        text = f"TRL trains every parameter here, and hardware preset {recipe.hardware.name} asks for adapters (lora)"
        raise UserError(text, "--set backend=easyr1")
    size, accumulation = backend.accumulation(
        recipe.rl.batch_size * recipe.rl.n,
        recipe.hardware.rl_per_device_batch_size,
        recipe.hardware.world_size,
        "rl.batch_size x rl.n",
    )
    updates = recipe.rl.rollout_batch_size // recipe.rl.batch_size
    return backend.render(
        "trl.yaml.j2",
        recipe,
        run,
        reward=Path(mtrl.reward_plugins.__file__).with_name("judge.py").resolve(),
        per_device=size,
        accumulation=accumulation,
        steps_per_generation=accumulation * updates,
        updates_per_rollout=updates,
    )


def job(recipe: Recipe, run: Run, data: Path) -> Job:
    python = str(envs.interpreter(ENVIRONMENT))
    env = {
        "HF_HUB_OFFLINE": "1" if Path(recipe.model.path).exists() else "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "WANDB_MODE": "online" if recipe.logger == "wandb" else "disabled",
        "PYTHONUNBUFFERED": "1",
        **({} if recipe.hardware.gpus_per_node else {"CUDA_VISIBLE_DEVICES": ""}),
        **recipe.hardware.env,
    }
    launcher = [python, "-m", "mtrl.backends.jobs.grpo", "upstream.yaml"]
    if recipe.hardware.gpus_per_node > 1:
        processes = str(recipe.hardware.gpus_per_node)
        # --standalone: a port that is free
        launcher = [python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes, *launcher[1:]]
    return Job(config(recipe, run, data), launcher, env)


def metrics(run: Run) -> list[dict[str, Any]]:
    """One row a logged step: step, total_steps, reward, and what TRL and the reward log beside it."""
    return backend.by_step(read_jsonl(run.checkpoints / grpo.LOG), lambda key: True)
