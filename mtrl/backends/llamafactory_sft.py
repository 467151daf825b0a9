"""SFT by LLaMA-Factory: its YAML, `llamafactory-cli train`, and its own logs. Checked against 0.9.5."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtrl import envs
from mtrl.backends import base as backend
from mtrl.backends import inputs
from mtrl.backends.base import Job
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import MtrlError
from mtrl.core.files import dump_yaml, read_json, read_jsonl, write_text
from mtrl.core.rundir import Run
from mtrl.models import budget, model_folder

ENVIRONMENT = "llamafactory"
PACKAGES = ("llamafactory", "transformers", "torch", "deepspeed")

ended = backend.ended


def data_files(recipe: Recipe, data: Path) -> list[Path]:
    return [data / task / f"sft_{split}.json" for task in recipe.tasks for split in ("train", "val")]


def link_inputs(recipe: Recipe, run: Run, data: Path) -> None:
    """inputs/model: the model with the recipe's image budget in its processor. inputs/sft: the rows, where capped."""
    inputs.sft_registry(recipe, data, run.inputs / "sft")
    if model := model_folder.local_model(recipe.model.path):
        budget.overlay(model, recipe.image.model_dump(), run.inputs / "model")


def config(recipe: Recipe, run: Run, data: Path) -> str:
    """The text of upstream.yaml. Needs no LLaMA-Factory. Raises UserError where the batch cannot be shared."""
    assert recipe.sft is not None
    world = recipe.hardware.world_size
    size, accumulation = backend.accumulation(
        recipe.sft.batch_size, recipe.hardware.sft_per_device_batch_size, world, "sft.batch_size"
    )
    budgeted = backend.budgeted(run)
    return backend.render(
        "llamafactory.yaml.j2",
        recipe,
        run,
        model=run.inputs / "model" if budgeted else recipe.model.path,
        min_pixels=1 if budgeted else recipe.image.min_pixels,
        max_pixels=budget.UNLIMITED if budgeted else recipe.image.max_pixels,
        data=data,
        registry=data if recipe.max_rows_per_task is None else run.inputs / "sft",
        datasets=lambda split: ",".join(f"{task}_{split}" for task in recipe.tasks),
        per_device=size,
        accumulation=accumulation,
        workers=max(1, (os.cpu_count() or 1) // 2),
    )


def job(recipe: Recipe, run: Run, data: Path) -> Job:
    binaries = envs.interpreter(ENVIRONMENT).parent
    env = {
        "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}",  # torchrun is looked up there
        "DISABLE_VERSION_CHECK": "0",
        "WANDB_MODE": "online" if recipe.logger == "wandb" else "disabled",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
        **({"HF_HUB_OFFLINE": "1"} if Path(recipe.model.path).exists() else {}),
        **recipe.hardware.env,
    }
    if recipe.hardware.gpus_per_node or recipe.hardware.nodes > 1:
        env |= {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": str(max(1, recipe.hardware.gpus_per_node))}
    if recipe.hardware.nodes > 1:
        env |= {"NNODES": str(recipe.hardware.nodes)}
        env |= {k: os.environ[k] for k in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT") if k in os.environ}
    if not recipe.hardware.gpus_per_node:
        env["CUDA_VISIBLE_DEVICES"] = ""
    return Job(config(recipe, run, data), [str(binaries / "llamafactory-cli"), "train", "upstream.yaml"], env)


@contextlib.contextmanager
def merged(adapter: Path, recipe: Recipe, beside: Path) -> Iterator[Path]:
    """A Hugging Face folder of the base model with a LoRA checkpoint merged in, by LLaMA-Factory's own export, on the CPU.

    It lies in `beside` and is removed at the end. Raises MtrlError with LLaMA-Factory's last words.
    """
    binary = envs.interpreter(ENVIRONMENT).parent / "llamafactory-cli"
    with tempfile.TemporaryDirectory(prefix=".merge.", dir=beside) as folder:
        config = Path(folder) / "export.yaml"
        keys = {
            "model_name_or_path": recipe.model.path,
            "adapter_name_or_path": str(adapter),
            "template": recipe.model.template,
            "trust_remote_code": False,
            "export_dir": str(Path(folder) / "merged"),
            "export_device": "cpu",
            "export_size": 5,  # GB a file, as the hub's
        }
        write_text(config, dump_yaml(keys))
        command = [str(binary), "export", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["(no output)"])[-1]
            raise MtrlError(f"LLaMA-Factory could not merge {adapter}: {last}", shlex.join(command))
        yield Path(folder) / "merged"


def metrics(run: Run) -> list[dict[str, Any]]:
    """One row a logged step: step, total_steps, loss, learning_rate; and eval_accuracy where validated.

    eval_accuracy is LLaMA-Factory's: teacher-forced accuracy of the answer's tokens, not of the verdict.
    """
    names = {"current_steps": "step", "lr": "learning_rate"}
    rows = [{names.get(k, k): v for k, v in row.items()} for row in read_jsonl(run.checkpoints / "trainer_log.jsonl")]
    for folder in [*list(backend.steps(run).values())[-1:], run.checkpoints]:
        if backend.complete(folder):  # while it is being written, the next look will find it
            rows += read_json(folder / "trainer_state.json", strict=False)["log_history"]
    wanted = ("step", "total_steps", "loss", "learning_rate", "epoch", "eval_loss", "eval_accuracy")
    return backend.by_step(rows, lambda key: key in wanted)
