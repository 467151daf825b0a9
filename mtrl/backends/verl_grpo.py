"""GRPO by verl on Ray: a YAML over verl's own, `python -m verl.trainer.main_ppo`, and its own logs. Checked against 0.9.1.

Dense models train by FSDP, a mixture of experts by Megatron where its preset and the GPUs allow it. No training was run by
it here: verl needs CUDA. What was run is its configuration, dataset, agent loop up to vLLM, reward manager, logger and FSDP merger.

Image budget: qwen-vl-utils, which verl calls, resizes first and by limits of its own, unless an image brings min_pixels and
max_pixels; then the model's processor does, in verl as in vLLM. The budget stands in both (inputs/verl_*, inputs/model), so
the second has nothing left to do. On one node verl starts a Ray of its own; RAY_ADDRESS names an existing cluster.
It resumes by checkpoints/latest_checkpointed_iteration.txt, and empties its log at each start: `begin` keeps what was there.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mtrl.reward_plugins
from mtrl import envs
from mtrl.backends import base as backend
from mtrl.backends import easyr1_grpo, inputs, llamafactory_sft, trl_grpo
from mtrl.backends.base import Job
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import MtrlError
from mtrl.core.files import read_jsonl, write_text
from mtrl.core.rundir import Run
from mtrl.models import budget, model_folder

ENVIRONMENT = "verl"
PACKAGES = ("verl", "vllm", "transformers", "torch", "ray", "hydra-core", "flash-attn", "megatron-bridge")
LOG = "verl_log.jsonl"
TRACKER = "latest_checkpointed_iteration.txt"

data_files = trl_grpo.data_files  # what inputs/verl_* is made from
plateaued = easyr1_grpo.plateaued  # verl has no early stopping either
finished = easyr1_grpo.finished


def link_inputs(recipe: Recipe, run: Run, data: Path) -> None:
    """inputs/verl_train and verl_val: verl's own parquet, one file a task; and inputs/model, as for EasyR1."""
    inputs.verl_files(recipe, data, run.inputs)
    if model := model_folder.local_model(recipe.model.path):
        budget.overlay(model, recipe.image.model_dump(), run.inputs / "model")


def by_megatron(recipe: Recipe) -> bool:
    """Whether the experts are shared over GPUs, which verl does by Megatron."""
    size = recipe.model.expert_parallel_size
    return 1 < size <= recipe.hardware.world_size and recipe.hardware.lora is None


def config(recipe: Recipe, run: Run, data: Path = Path("data")) -> str:
    """The text of upstream.yaml. Needs no verl."""
    assert recipe.rl is not None
    hardware = recipe.hardware
    budgeted = backend.budgeted(run)
    kept, scored = backend.steps(run), {row["step"] for row in metrics(run) if "eval_accuracy" in row}

    def files(split: str) -> str:
        return json.dumps([str(run.inputs / f"verl_{split}" / f"{task}.parquet") for task in recipe.tasks])

    return backend.render(
        "verl.yaml.j2",
        recipe,
        run,
        name=run.name,
        megatron=by_megatron(recipe),
        train_files=files("train"),
        val_files=files("val"),
        model=run.inputs / "model" if budgeted else recipe.model.path,
        per_device=hardware.rl_per_device_batch_size,
        tensor_parallel=max(1, min(recipe.model.tensor_parallel_size, hardware.gpus_per_node)),
        length=recipe.rl.max_prompt_length + recipe.rl.max_response_length,
        lora=hardware.lora,
        dtype={"bf16": "bfloat16", "fp32": "float32"}[hardware.precision],
        reward=Path(mtrl.reward_plugins.__file__).with_name("judge.py").resolve(),
        epochs=math.ceil(recipe.rl.epochs),  # verl counts whole ones
        loggers=json.dumps(["file", *([] if recipe.logger == "none" else [recipe.logger])]),
        validate_first=max(kept, default=0) not in scored,  # its log comes after its checkpoint: a kill can part them
        log=run.path / LOG,
    )


def job(recipe: Recipe, run: Run, data: Path) -> Job:
    python = envs.interpreter(ENVIRONMENT)
    env = {
        **easyr1_grpo.environment(recipe, run, python),
        "HYDRA_FULL_ERROR": "1",
        "SWANLAB_LOG_DIR": str(run.path / "swanlab"),
    }
    command = [str(python), "-m", "verl.trainer.main_ppo", "--config-path", str(run.path), "--config-name", "upstream"]
    return Job(config(recipe, run), command, env)


def ended(recipe: Recipe, run: Run) -> str:
    """Why no step is left, "" where one is: verl's older trainer loop would go one step past the end."""
    return easyr1_grpo.no_step_left(recipe, run, metrics(run))


def begin(run: Run) -> None:
    """Before each start: keeps the log of the attempt before, and lets the tracker name the newest complete checkpoint."""
    backend.only(run, ENVIRONMENT)
    if (run.path / LOG).exists():
        folder = run.path / "attempts" / f"{1 + len(list((run.path / 'attempts').glob('*'))):03}"
        folder.mkdir(parents=True)
        (run.path / LOG).rename(folder / LOG)
    newest = max(backend.steps(run), default=None)
    if newest is None:
        (run.checkpoints / TRACKER).unlink(missing_ok=True)
    else:  # a kill can come between a checkpoint and its entry
        write_text(run.checkpoints / TRACKER, str(newest))


def metrics(run: Run) -> list[dict[str, Any]]:
    """One row a step, over all attempts: step, total_steps, reward, kl, timing_s/step, ...; where validated eval_accuracy,
    eval_reward, and by task eval_accuracy_<task>, eval_format_<task>, ... Of a step that was trained twice, the later's.

    verl scores each task (its data_source) by itself: eval_accuracy is over all validation rows, as with EasyR1.
    """
    logs = [*sorted((run.path / "attempts").glob(f"*/{LOG}")), run.path / LOG]
    lines = [line for log in logs for line in read_jsonl(log)]
    if not lines:
        return []
    total, counts = easyr1_grpo.total_steps(run), inputs.verl_counts(run.inputs, "val")
    rows = [{**_row(line["step"], line["data"], counts), "total_steps": total} for line in lines if "data" in line]
    return backend.by_step(rows, lambda key: True)


TRAINING = {
    "critic/score/mean": "reward", "actor/kl_loss": "kl", "actor/lr": "learning_rate", "actor/entropy": "actor/entropy_loss",
    "timing_s/step": "timing_s/step", "response_length/mean": "response_length/mean",
    "response_length/clip_ratio": "response_length/clip_ratio",
}  # fmt: skip
VALIDATION = {"acc": "accuracy", "reward": "reward", "format": "format", "invalid": "invalid", "yes_rate": "yes_rate"}


def _row(step: int, data: dict[str, Any], counts: dict[str, int]) -> dict[str, Any]:
    """One line of verl's in the words of the other backends."""
    row: dict[str, Any] = {"step": step, **{name: data[key] for key, name in TRAINING.items() if key in data}}
    for key, value in data.items():
        found = re.fullmatch(r"val-(?:core|aux)/(.+)/(\w+)/mean@\d+", key)
        if found and found[2] in VALIDATION and value is not None:
            row[f"eval_{VALIDATION[found[2]]}_{found[1]}"] = value
    for name in ("accuracy", "reward"):
        scored = {task: row[f"eval_{name}_{task}"] for task in counts if f"eval_{name}_{task}" in row}
        if scored and (total := sum(counts[task] for task in scored)):
            row[f"eval_{name}"] = sum(value * counts[task] for task, value in scored.items()) / total
    return row


@contextlib.contextmanager
def merged(checkpoint: Path, recipe: Recipe, beside: Path) -> Iterator[Path]:
    """A Hugging Face folder of a global_step_<n>; what was made for it lies in `beside`, and is removed at the end.

    FSDP's shards go through verl's own merger. Adapters it leaves apart from the base model, and LLaMA-Factory's export puts
    them in. Megatron saves in the published layout already, unless it was told to use dist_checkpointing, which is merged on
    GPUs: the error says by which command. Raises MtrlError with the merger's last words.
    """
    python, actor = envs.interpreter(ENVIRONMENT), checkpoint / "actor"
    with tempfile.TemporaryDirectory(prefix=".merge.", dir=beside) as folder:
        target = Path(folder) / "merged"
        command = merge_command(python, actor, target)
        if (actor / "ckpt_contents.json").exists():
            saved = actor / "model" / "huggingface"
            if not any((saved / name).exists() for name in backend.WEIGHTS):
                by_hand = merge_command(python, actor, actor / "model" / "huggingface")
                raise MtrlError(f"{checkpoint} holds Megatron's own shards", f"{shlex.join(by_hand)}  (on GPUs; not run here), then export again")  # fmt: skip
            yield saved
            return
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["(no output)"])[-1]
            raise MtrlError(f"verl's merger failed on {checkpoint}: {last}", shlex.join(command))
        if (target / "lora_adapter").is_dir():
            with llamafactory_sft.merged(target / "lora_adapter", recipe, beside) as whole:
                yield whole
        else:
            yield target


def merge_command(python: Path, actor: Path, target: Path) -> list[str]:
    """verl's own merger of the shards in `actor`, written to `target`."""
    engine = "megatron" if (actor / "ckpt_contents.json").exists() else "fsdp"
    return [str(python), "-m", "verl.model_merger", "merge", "--backend", engine, "--local_dir", str(actor), "--target_dir", str(target)]  # fmt: skip
