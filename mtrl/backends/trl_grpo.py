"""GRPO by TRL on one machine: a YAML of GRPOConfig's own keys, read by jobs/grpo.py, which runs GRPOTrainer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mtrl.backends import batches, envs, inputs, logs, rendering
from mtrl.backends.base import Job
from mtrl.backends.huggingface_trainers import HuggingFaceTrainer
from mtrl.backends.jobs import grpo
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import UserError
from mtrl.core.files import read_jsonl
from mtrl.core.run_files import CONFIG
from mtrl.core.rundir import Run

OURS = {"sampling/sampling_logp_difference/mean": logs.LOG_PROBABILITY}  # with rollouts by vLLM
FURTHER_BUDGET = "`image` below repeats it for TRL's own processor"


class Trl(HuggingFaceTrainer):
    name = "trl"
    environment = "main"
    limit = "grpo.save_total_limit"
    packages: tuple[str, ...] = ("trl", "transformers", "torch")

    def data_files(self, recipe: Recipe, data: Path) -> list[Path]:
        return inputs.rl_files(recipe, data)

    def link_inputs(self, recipe: Recipe, run: Run, data: Path) -> None:
        """inputs/rl_train and inputs/rl_val, folders of <task>.parquet; on GPUs inputs/model, which vLLM reads."""
        inputs.rl_folders(recipe, data, run.inputs)
        if recipe.hardware.gpus_per_node:
            inputs.budgeted_model(recipe, run)

    def config(self, recipe: Recipe, run: Run, data: Path) -> str:
        assert recipe.rl is not None
        hardware = recipe.hardware
        if hardware.nodes > 1:
            text = "mtrl runs TRL on one machine only"
            raise UserError(text, "choose a hardware preset with rl_backend: easyr1, which runs on several")
        if hardware.gpus_per_node and recipe.model.shape and recipe.model.shape.experts:
            text = (
                f"{recipe.model.name} is a mixture of experts, whose weights TRL does not give to vLLM in vLLM's layout"
            )
            raise UserError(text, "--set backend=easyr1, or a dense --model")
        share = batches.share(
            recipe.rl.batch_size * recipe.rl.n,
            hardware.rl_per_device_batch_size,
            hardware.world_size,
            "rl.batch_size x rl.n",
        )
        updates = recipe.rl.rollout_batch_size // recipe.rl.batch_size
        return rendering.render(
            recipe,
            run,
            FURTHER_BUDGET if hardware.gpus_per_node else None,
            lora=hardware.lora,
            tensor_parallel=math.gcd(recipe.model.tensor_parallel_size, hardware.world_size),
            per_device=share.per_device,
            accumulation=share.accumulation,
            steps_per_generation=share.accumulation * updates,
            updates_per_rollout=updates,
        )

    def job(self, recipe: Recipe, run: Run) -> Job:
        gpus = recipe.hardware.gpus_per_node
        env = {
            "HF_HUB_OFFLINE": "1" if Path(recipe.model.path).exists() else "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "WANDB_MODE": "online" if recipe.logger == "wandb" else "disabled",
            "PYTHONUNBUFFERED": "1",
            **({} if gpus else {"CUDA_VISIBLE_DEVICES": ""}),
            **recipe.hardware.env,
        }
        # --standalone: a port that is free
        several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(gpus)] if gpus > 1 else []
        command = [str(envs.interpreter(self.environment)), *several, "-m", grpo.__name__, CONFIG]
        return Job(command, env)

    def metrics(self, run: Run) -> list[dict[str, Any]]:
        """step, total_steps, reward, and what else TRL and the reward function log."""
        rows = read_jsonl(run.checkpoints / grpo.LOG)
        return logs.by_step({OURS.get(key, key): value for key, value in row.items()} for row in rows)
