"""GRPO by verl on Ray: a YAML over verl's own, `python -m verl.trainer.main_ppo`, and its own logs.

Dense models train by FSDP, a mixture of experts by Megatron where its preset and the GPUs allow it. No training was
run with it yet: verl needs CUDA. Its configuration, dataset, agent loop up to vLLM, reward manager, logger and FSDP
merger were run.

Image budget: qwen-vl-utils, which verl calls, resizes first, by limits of its own unless an image has min_pixels and
max_pixels; then the model's processor resizes, in verl as in vLLM. The budget is in both (inputs/verl_* and
inputs/model), so the second changes nothing. On one node verl starts a Ray of its own; RAY_ADDRESS names an existing
cluster. It resumes by checkpoints/latest_checkpointed_iteration.txt, and empties its log at each start.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtrl.backends import checkpoint_folders, envs, inputs, logs, merging, ray_trainers, rendering
from mtrl.backends.base import Job
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import MtrlError
from mtrl.core.files import read_jsonl, write_text
from mtrl.core.rundir import Run

LOG = "verl_log.jsonl"
TRACKER = "latest_checkpointed_iteration.txt"
ACTOR, ROLLOUT, REF = (f"actor_rollout_ref.{role}" for role in ("actor", "rollout", "ref"))


class Verl(ray_trainers.RayTrainer):
    name = "verl"
    environment = "verl"
    limit = "trainer.max_actor_ckpt_to_keep"
    packages: tuple[str, ...] = (
        "verl", "vllm", "transformers", "torch", "ray", "hydra-core", "flash-attn", "megatron-bridge",
    )  # fmt: skip

    def link_inputs(self, recipe: Recipe, run: Run, data: Path) -> None:
        """inputs/verl_train and verl_val: verl's own parquet, one file per task; and inputs/model, as for EasyR1."""
        inputs.verl_files(recipe, data, run.inputs)
        inputs.budgeted_model(recipe, run)

    def config(self, recipe: Recipe, run: Run, data: Path) -> str:
        hardware = recipe.hardware

        def files(split: str) -> str:
            return json.dumps([str(run.inputs / f"verl_{split}" / f"{task}.parquet") for task in recipe.tasks])

        return rendering.render(
            recipe,
            run,
            "and in inputs/verl_*, row by row",
            **ray_trainers.values(recipe, run, self.metrics(run)),
            megatron=recipe.by_megatron,
            train_files=files("train"),
            val_files=files("val"),
            tensor_parallel=max(1, min(recipe.model.tensor_parallel_size, hardware.gpus_per_node)),
            dtype={"bf16": "bfloat16", "fp32": "float32"}[hardware.precision],
            log=run.path / LOG,
        )

    def job(self, recipe: Recipe, run: Run) -> Job:
        python = envs.interpreter(self.environment)
        env = {
            **ray_trainers.environment(recipe, run, python),
            "HYDRA_FULL_ERROR": "1",
            "SWANLAB_LOG_DIR": str(run.path / "swanlab"),
        }
        where = ["--config-path", str(run.path), "--config-name", "upstream"]
        return Job([str(python), "-m", "verl.trainer.main_ppo", *where], env)

    def begin(self, run: Run) -> None:
        """Keeps the log of the attempt before, and lets the tracker name the newest complete checkpoint."""
        checkpoint_folders.require_own(run, self.name)
        logs.keep_attempt(run, run.path / LOG)
        if newest := checkpoint_folders.newest(run):  # a kill can come between a checkpoint and its entry
            write_text(run.checkpoints / TRACKER, str(newest))
        else:
            (run.checkpoints / TRACKER).unlink(missing_ok=True)

    def metrics(self, run: Run) -> list[dict[str, Any]]:
        """step, total_steps, reward, kl, timing_s/step, ...; where validated eval_accuracy, eval_reward, and by task
        eval_accuracy_<task>, eval_format_<task>, ... Over all attempts; of a step that was trained twice, the later's.

        verl scores each task (its data_source) separately: eval_accuracy is over all validation rows, as with EasyR1.
        """
        lines = [line for log in logs.attempts(run, run.path / LOG) for line in read_jsonl(log) if "data" in line]
        if not lines:
            return []
        total, counts = ray_trainers.total_steps(run), inputs.verl_counts(run.inputs, "val")
        return logs.by_step({**_row(line["step"], line["data"], counts), "total_steps": total} for line in lines)

    @contextlib.contextmanager
    def merged(self, checkpoint: Path, recipe: Recipe, scratch: Path) -> Iterator[Path]:
        """verl's own merger merges FSDP's shards; LLaMA-Factory merges adapters, which it leaves separate.

        Megatron saves in the published layout already, unless it was told to use dist_checkpointing, which is merged on
        GPUs: the error has the command.
        """
        actor = checkpoint / "actor"
        if checkpoint_folders.by_megatron(checkpoint):
            saved = actor / "model" / "huggingface"
            if not checkpoint_folders.has_weights(saved):
                raise MtrlError(
                    f"{checkpoint} holds Megatron's own shards, which are merged on GPUs",
                    f"{shlex.join(_merge_command('megatron', actor, saved))}, then export again",
                )
            yield saved
            return
        with merging.scratch_folder(scratch) as folder:
            target = folder / "merged"
            merging.run(_merge_command("fsdp", actor, target), f"verl's merger failed on {checkpoint}")
            if (target / "lora_adapter").is_dir():
                with merging.adapter(target / "lora_adapter", recipe, scratch) as whole:
                    yield whole
            else:
                yield target


TRAINING = {
    "critic/score/mean": "reward", "actor/kl_loss": "kl", "actor/lr": "learning_rate",
    "actor/pg_loss": "policy_loss", "actor/pg_clipfrac": "clip_fraction",
    "actor/entropy": "actor/entropy_loss", "timing_s/step": "timing_s/step",
    "response_length/mean": "response_length/mean", "response_length/clip_ratio": "response_length/clip_ratio",
    "training/rollout_actor_probs_pearson_corr": logs.CORRELATION,  # utils/debug/metrics.py, of probabilities
    "training/rollout_probs_diff_mean": logs.PROBABILITY,
}  # fmt: skip
VALIDATION = {"acc": "accuracy", "reward": "reward", "format": "format", "invalid": "invalid", "yes_rate": "yes_rate"}


def _row(step: int, data: dict[str, Any], counts: dict[str, int]) -> dict[str, Any]:
    """One line of verl's log under the names of the other backends. `counts` are the validation rows of each task."""
    row: dict[str, Any] = {"step": step}
    for key, name in TRAINING.items():
        if key in data:  # its logger writes NaN as null
            row[name] = math.nan if data[key] is None else data[key]
    for key, value in data.items():
        found = re.fullmatch(r"val-(?:core|aux)/(.+)/(\w+)/mean@\d+", key)
        if found and found[2] in VALIDATION and value is not None:
            row[f"eval_{VALIDATION[found[2]]}_{found[1]}"] = value
    for name in ("accuracy", "reward"):
        scored = {task: row[f"eval_{name}_{task}"] for task in counts if f"eval_{name}_{task}" in row}
        if scored and (total := sum(counts[task] for task in scored)):
            row[f"eval_{name}"] = sum(value * counts[task] for task, value in scored.items()) / total
    return row


def _merge_command(engine: str, actor: Path, target: Path) -> list[str]:
    """verl's own merger of the shards in `actor`, written to `target`."""
    python = str(envs.interpreter("verl"))
    where = ["--local_dir", str(actor), "--target_dir", str(target)]
    return [python, "-m", "verl.model_merger", "merge", "--backend", engine, *where]
