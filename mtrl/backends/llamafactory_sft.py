"""SFT by LLaMA-Factory: its YAML, `llamafactory-cli train`, and its own logs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mtrl.backends import batches, checkpoint_folders, envs, inputs, logs, rendering, traces
from mtrl.backends.base import Job
from mtrl.backends.huggingface_trainers import HuggingFaceTrainer
from mtrl.config import samples
from mtrl.config.recipe_types import Recipe
from mtrl.converters.pipeline import exports
from mtrl.core.files import read_json, read_jsonl
from mtrl.core.run_files import CONFIG
from mtrl.core.rundir import Run
from mtrl.models import trainer_state

COLUMNS = ("step", "total_steps", "loss", "learning_rate", "epoch", "eval_loss", "eval_accuracy")


class LlamaFactory(HuggingFaceTrainer):
    name = "llamafactory"
    environment = "llamafactory"
    limit = "save_total_limit"
    packages: tuple[str, ...] = ("llamafactory", "transformers", "torch", "deepspeed")

    def data_files(self, recipe: Recipe, data: Path) -> list[Path]:
        if recipe.on_traces:
            return [samples.path_of(data, task, "train") for task in recipe.tasks]
        return [data / task / exports.SFT.format(split) for task in recipe.tasks for split in ("train", "val")]

    def link_inputs(self, recipe: Recipe, run: Run, data: Path) -> None:
        """inputs/model: the model with the recipe's image budget in its processor. inputs/sft: the rows, if they are
        capped, or traces."""
        if recipe.on_traces:
            traces.write(recipe, data, run.inputs / "sft")
        else:
            inputs.sft_registry(recipe, data, run.inputs / "sft")
        inputs.budgeted_model(recipe, run)

    def config(self, recipe: Recipe, run: Run, data: Path) -> str:
        assert recipe.sft is not None
        hardware = recipe.hardware
        share = batches.share(
            recipe.sft.batch_size, hardware.sft_per_device_batch_size, hardware.world_size, "sft.batch_size"
        )
        return rendering.render(
            recipe,
            run,
            data=data,
            registry=run.inputs / "sft" if recipe.on_traces or recipe.max_rows_per_task is not None else data,
            datasets=lambda split: ",".join(f"{task}_{split}" for task in recipe.tasks),
            per_device=share.per_device,
            accumulation=share.accumulation,
            workers=max(1, (os.cpu_count() or 1) // 2),
        )

    def job(self, recipe: Recipe, run: Run) -> Job:
        hardware, binaries = recipe.hardware, envs.interpreter(self.environment).parent
        env = {
            "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}",  # torchrun is looked up there
            "DISABLE_VERSION_CHECK": "0",
            "WANDB_MODE": "online" if recipe.logger == "wandb" else "disabled",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PYTHONUNBUFFERED": "1",
            **({"HF_HUB_OFFLINE": "1"} if Path(recipe.model.path).exists() else {}),
            **hardware.env,
        }
        if hardware.gpus_per_node or hardware.nodes > 1:
            env |= {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": str(max(1, hardware.gpus_per_node))}
        if hardware.nodes > 1:
            env |= {"NNODES": str(hardware.nodes)}
            env |= {k: os.environ[k] for k in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT") if k in os.environ}
        if not hardware.gpus_per_node:
            env["CUDA_VISIBLE_DEVICES"] = ""
        command = [str(binaries / "llamafactory-cli"), "train", CONFIG]
        return Job(command, env)

    def metrics(self, run: Run) -> list[dict[str, Any]]:
        """step, total_steps, loss, learning_rate; eval_accuracy where validated.

        eval_accuracy is LLaMA-Factory's: teacher-forced accuracy of the answer's tokens, not of the verdict.
        """
        names = {"current_steps": "step", "lr": "learning_rate"}
        log = run.checkpoints / "trainer_log.jsonl"
        rows = [{names.get(k, k): v for k, v in row.items()} for row in read_jsonl(log)]
        for folder in [*list(checkpoint_folders.steps(run).values())[-1:], run.checkpoints]:
            if checkpoint_folders.complete(folder):  # one that is being written is read the next time
                rows += read_json(folder / trainer_state.FILE, strict=False)["log_history"]
        return logs.by_step({k: v for k, v in row.items() if k in COLUMNS} for row in rows)
