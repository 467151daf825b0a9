"""GRPO by EasyR1 on Ray: its YAML, `python -m verl.trainer.main config=upstream.yaml`, and its own logs.

On one node EasyR1 starts a Ray of its own; RAY_ADDRESS names an existing cluster, which several nodes need. It
resumes by checkpoints/checkpoint_tracker.json, and empties its log at each start. mtrl chooses the best checkpoint by
validation accuracy; the tracker's best is by the whole reward.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtrl.backends import checkpoint_folders, envs, inputs, logs, merging, ray_trainers, rendering
from mtrl.backends.base import Job
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import UserError
from mtrl.core.files import read_json, read_jsonl, symlink, write_json
from mtrl.core.run_files import CONFIG
from mtrl.core.rundir import Run

LOG = "experiment_log.jsonl"
TRACKER = "checkpoint_tracker.json"


class EasyR1(ray_trainers.RayTrainer):
    name = "easyr1"
    environment = "easyr1"
    limit = "trainer.save_limit"
    packages: tuple[str, ...] = (
        "verl",
        "vllm",
        "transformers",
        "torch",
        "ray",
        "omegaconf",
        "flash-attn",
    )  # its package is called verl

    def link_inputs(self, recipe: Recipe, run: Run, data: Path) -> None:
        """inputs/rl_train and rl_val, and inputs/model: the model with the recipe's image budget in its processor."""
        inputs.rl_folders(recipe, data, run.inputs)
        inputs.budgeted_model(recipe, run)

    def config(self, recipe: Recipe, run: Run, data: Path) -> str:
        hardware = recipe.hardware
        return rendering.render(
            recipe,
            run,
            **ray_trainers.values(recipe, run, self.metrics(run)),
            tensor_parallel=min(recipe.model.tensor_parallel_size, hardware.world_size),
            pure_bf16=hardware.precision == "bf16" and hardware.lora is None,
        )

    def job(self, recipe: Recipe, run: Run) -> Job:
        python = envs.interpreter(self.environment)
        command = [str(python), "-m", "verl.trainer.main", f"config={CONFIG}"]
        return Job(command, ray_trainers.environment(recipe, run, python))

    def begin(self, run: Run) -> None:
        """Keeps the log of the attempt before, and lets the tracker name the newest complete checkpoint."""
        checkpoint_folders.require_own(run, self.name)
        folder = run.checkpoints
        logs.keep_attempt(run, folder / LOG, folder / "generations.log", folder / "experiment_config.json")
        tracker, kept = folder / TRACKER, checkpoint_folders.steps(run)
        newest = max(kept, default=None)
        with contextlib.suppress(UserError, TypeError, KeyError):
            if read_json(tracker)["last_global_step"] == newest:
                return
        if newest is None:
            tracker.unlink(missing_ok=True)
        else:  # a kill can come between a checkpoint and its entry, or cut off the entry, on which EasyR1 would fail
            actor = str(kept[newest] / "actor")
            best = {"best_global_step": newest, "best_val_reward_score": -1.0}
            write_json(tracker, {**best, "last_global_step": newest, "last_actor_path": actor})

    def metrics(self, run: Run) -> list[dict[str, Any]]:
        """step, total_steps, reward, accuracy, accuracy_<task>, timing_s/step, ...; where validated eval_accuracy and
        eval_accuracy_<task>. Over all attempts; of a step that was trained twice, the later attempt's."""
        total = ray_trainers.total_steps(run)
        lines = [line for log in logs.attempts(run, run.checkpoints / LOG) for line in read_jsonl(log)]
        return logs.by_step({**_row(line), "total_steps": total} for line in lines)

    @contextlib.contextmanager
    def merged(self, checkpoint: Path, recipe: Recipe, scratch: Path) -> Iterator[Path]:
        """By EasyR1's own merger, in its environment.

        The merger writes where it reads, and ignores a missing shard silently; so it gets a folder with links to the
        files of a complete checkpoint.
        """
        python = envs.interpreter(self.environment)
        script = source(python) / "scripts" / "model_merger.py"
        if not script.exists():
            raise UserError(f"EasyR1's model merger is not at {script}", f"make setup-{self.environment}")
        with merging.scratch_folder(scratch) as actor:
            for file in (checkpoint / "actor").iterdir():
                if file.name.startswith("model_") or file.name == "lora_adapter":
                    symlink(file.resolve(), actor / file.name)
            (actor / "huggingface").mkdir()
            for file in (checkpoint / "actor" / "huggingface").iterdir():
                if file.suffix != ".safetensors":
                    (actor / "huggingface" / file.name).write_bytes(file.read_bytes())
            merging.run(
                [str(python), str(script), "--local_dir", str(actor)], f"EasyR1's merger failed on {checkpoint}"
            )
            yield actor / "huggingface"


def _row(line: dict[str, Any]) -> dict[str, Any]:
    """One nested line of EasyR1's log under flat names: those of TRL's rows, and a few of EasyR1's own."""
    row: dict[str, Any] = {"step": line.get("step")} if "step" in line else {}
    for key, value in (line.get("reward") or {}).items():
        row["reward" if key == "overall" else key] = value
    for key, value in (line.get("val") or {}).items():
        if key.endswith("_reward"):
            name = key.removesuffix("_reward")
            row["eval_reward" if name == "overall" else f"eval_{name}"] = value
    own = {
        "timing_s": ("step",),
        "response_length": ("mean", "clip_ratio"),
        "actor": ("kl_loss", "entropy_loss", "lr", "pg_loss", "pg_clipfrac_higher"),
    }
    names = {"actor/kl_loss": "kl", "actor/lr": "learning_rate", "actor/pg_loss": "policy_loss"}
    names["actor/pg_clipfrac_higher"] = "clip_fraction"  # of the usual clip range; _lower is of EasyR1's further bound
    for block, keys in own.items():
        for key in keys:
            if key in (line.get(block) or {}):
                row[names.get(f"{block}/{key}", f"{block}/{key}")] = line[block][key]
    return row


def source(python: Path) -> Path:
    """EasyR1's checkout: the folder that holds the package `verl` of an environment. Raises UserError."""
    code = "import importlib.util as u; s = u.find_spec('verl'); print(s.origin if s else '')"
    out = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False, timeout=60).stdout.strip()
    if not out:
        raise UserError("EasyR1 is not installed in the environment easyr1", "make setup-easyr1")
    return Path(out).parents[1]
