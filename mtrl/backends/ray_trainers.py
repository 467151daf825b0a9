"""What EasyR1 and verl share. Both train on Ray with vLLM, count whole epochs, have no early stopping, save
global_step_<step>/ and print their number of steps. RayTrainer is the part of a Backend that is the same for both."""

from __future__ import annotations

import json
import math
import os
import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from mtrl.backends import checkpoint_folders, inputs
from mtrl.config.recipe_types import Recipe
from mtrl.core.rundir import Run
from mtrl.models import model_folder


class RayTrainer(ABC):
    def data_files(self, recipe: Recipe, data: Path) -> list[Path]:
        return inputs.rl_files(recipe, data)

    @abstractmethod
    def metrics(self, run: Run) -> list[dict[str, Any]]: ...

    def plateaued(self, recipe: Recipe, rows: list[dict[str, Any]]) -> str:
        """A validated step is in the log only after its checkpoint is saved."""
        assert recipe.rl is not None
        scores = [(row["step"], row["eval_accuracy"]) for row in rows if row["step"] and "eval_accuracy" in row]
        if not scores:
            return ""
        best, accuracy = max(scores, key=lambda score: score[1])  # of equals, the first: a tie is no improvement
        since = sum(step > best for step, _ in scores)
        if since < recipe.rl.patience:
            return ""
        return f"validation accuracy has not improved for {since} validations: best {accuracy:.4f} at step {best}"

    def ended(self, recipe: Recipe, run: Run) -> str:
        """The last step is saved and validated, or the metrics have plateaued."""
        rows, total, newest = self.metrics(run), total_steps(run), checkpoint_folders.newest(run)
        if total and newest >= total and any(row["step"] == newest and "eval_accuracy" in row for row in rows):
            return f"all {total} steps are trained"
        return self.plateaued(recipe, rows)

    def finished(self, run: Run) -> bool:
        return bool(checkpoint_folders.newest(run))  # it saves the last step before it exits with 0


def values(recipe: Recipe, run: Run, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What both templates are filled in with. `rows` are the run's metrics."""
    assert recipe.rl is not None
    scored = {row["step"] for row in rows if "eval_accuracy" in row}
    return {
        "name": run.name,
        "per_device": recipe.hardware.rl_per_device_batch_size,
        "length": recipe.rl.max_prompt_length + recipe.rl.max_response_length,
        "lora": recipe.hardware.lora,
        "epochs": math.ceil(recipe.rl.epochs),
        "loggers": json.dumps(["file", *([] if recipe.logger == "none" else [recipe.logger])]),
        # a checkpoint is saved before its validation is logged, and a kill can come between the two
        "validate_first": checkpoint_folders.newest(run) not in scored,
    }


def environment(recipe: Recipe, run: Run, python: Path) -> dict[str, str]:
    """The environment of a job on Ray and vLLM."""
    several = recipe.hardware.nodes > 1
    return {
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        # without it Ray would join any cluster that it finds on this machine
        "RAY_ADDRESS": os.environ.get("RAY_ADDRESS") or ("auto" if several else "local"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "WANDB_MODE": "online" if recipe.logger == "wandb" else "disabled",
        "TENSORBOARD_DIR": str(run.path / "tensorboard"),
        "SWANLAB_DIR": str(run.path / "swanlab"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
        **({"HF_HUB_OFFLINE": "1"} if model_folder.local_model(recipe.model.path) else {}),
        **recipe.hardware.env,
    }


def total_steps(run: Run) -> int | None:
    """The number of steps that the trainer prints as it starts; its log files do not have it."""
    if not run.log.exists():
        return None
    with run.log.open("rb") as file:
        found = re.search(rb"Total training steps: (\d+)", file.read(1_000_000))
    return int(found[1]) if found else None
