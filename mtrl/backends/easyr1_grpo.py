"""GRPO by EasyR1 on Ray: its YAML, `python -m verl.trainer.main config=upstream.yaml`, and its own logs. Checked against b44b311.

On one node EasyR1 starts a Ray of its own; RAY_ADDRESS names an existing cluster, which several nodes need. It resumes by
checkpoints/checkpoint_tracker.json, from checkpoints/global_step_<n>/. At each start it empties its log, so `begin` first
moves the log of the attempt before to attempts/<n>/, and `metrics` joins them. It has no early stopping: `plateaued` says
when a run has had enough. The best checkpoint is by validation accuracy; the tracker's best is by the whole reward.
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
from mtrl.backends import trl_grpo
from mtrl.backends.base import Job
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import read_json, read_jsonl, symlink, write_json
from mtrl.core.rundir import Run
from mtrl.models import budget, model_folder

ENVIRONMENT = "easyr1"
PACKAGES = ("verl", "vllm", "transformers", "torch", "ray", "omegaconf", "flash-attn")  # EasyR1 calls itself verl
LOG = "experiment_log.jsonl"
LOGS = (LOG, "generations.log", "experiment_config.json")

data_files = trl_grpo.data_files  # the same parquet, and the same two folders of links


def link_inputs(recipe: Recipe, run: Run, data: Path) -> None:
    """inputs/rl_train and rl_val, and inputs/model: the model with the recipe's image budget in its processor."""
    trl_grpo.link_inputs(recipe, run, data)
    if model := model_folder.local_model(recipe.model.path):
        budget.overlay(model, recipe.image.model_dump(), run.inputs / "model")


def config(recipe: Recipe, run: Run, data: Path = Path("data")) -> str:
    """The text of upstream.yaml. Needs no EasyR1, and no data: what it names is in the run."""
    assert recipe.rl is not None
    hardware, lora = recipe.hardware, recipe.hardware.lora
    budgeted = backend.budgeted(run)
    kept, scored = backend.steps(run), {row["step"] for row in metrics(run) if "eval_accuracy" in row}
    return backend.render(
        "easyr1.yaml.j2",
        recipe,
        run,
        name=run.name,
        model=run.inputs / "model" if budgeted else recipe.model.path,
        min_pixels=1 if budgeted else recipe.image.min_pixels,
        max_pixels=budget.UNLIMITED if budgeted else recipe.image.max_pixels,
        per_device=hardware.rl_per_device_batch_size,
        tensor_parallel=min(recipe.model.tensor_parallel_size, hardware.world_size),
        length=recipe.rl.max_prompt_length + recipe.rl.max_response_length,
        lora=lora,
        pure_bf16=hardware.precision == "bf16" and lora is None,
        reward=Path(mtrl.reward_plugins.__file__).with_name("judge.py").resolve(),
        epochs=math.ceil(recipe.rl.epochs),  # EasyR1 counts whole ones
        loggers=json.dumps(["file", *([] if recipe.logger == "none" else [recipe.logger])]),
        validate_first=max(kept, default=0) not in scored,  # its log comes after its checkpoint: a kill can part them
    )


def environment(recipe: Recipe, run: Run, python: Path) -> dict[str, str]:
    """What a job on Ray and vLLM is started with."""
    several = recipe.hardware.nodes > 1
    return {
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        # Ray would join any cluster that it finds on this machine
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


def job(recipe: Recipe, run: Run, data: Path) -> Job:
    python = envs.interpreter(ENVIRONMENT)
    env = environment(recipe, run, python)
    return Job(config(recipe, run), [str(python), "-m", "verl.trainer.main", "config=upstream.yaml"], env)


def begin(run: Run) -> None:
    """Before each start: keeps the log of the attempt before, and lets the tracker name the newest complete checkpoint."""
    backend.only(run, ENVIRONMENT)
    if (run.checkpoints / LOG).exists():
        number = 1 + len(list((run.path / "attempts").glob("*")))
        folder = run.path / "attempts" / f"{number:03}"
        folder.mkdir(parents=True)
        for name in LOGS:
            if (run.checkpoints / name).exists():
                (run.checkpoints / name).rename(folder / name)
    tracker, kept = run.checkpoints / "checkpoint_tracker.json", backend.steps(run)
    newest = max(kept, default=None)
    with contextlib.suppress(UserError, TypeError, KeyError):
        if read_json(tracker)["last_global_step"] == newest:
            return
    if newest is None:
        tracker.unlink(missing_ok=True)
    else:  # a kill can come between a checkpoint and its entry, or tear the entry, which EasyR1 would stumble on
        actor = str(kept[newest] / "actor")
        best = {"best_global_step": newest, "best_val_reward_score": -1.0}
        write_json(tracker, {**best, "last_global_step": newest, "last_actor_path": actor})


def metrics(run: Run) -> list[dict[str, Any]]:
    """One row a step, over all attempts: step, total_steps, reward, accuracy, accuracy_<task>, timing_s/step, ...; eval_accuracy
    and eval_accuracy_<task> where validated. Of a step that was trained twice, the later attempt's."""
    total = total_steps(run)
    logs = [*sorted((run.path / "attempts").glob(f"*/{LOG}")), run.checkpoints / LOG]
    rows = [{**_row(line), "total_steps": total} for log in logs for line in read_jsonl(log)]
    return backend.by_step(rows, lambda key: True)


def _row(line: dict[str, Any]) -> dict[str, Any]:
    """One nested line of EasyR1's in flat words: those TRL's rows have too, and a few of EasyR1's own."""
    row: dict[str, Any] = {"step": line.get("step")} if "step" in line else {}
    for key, value in (line.get("reward") or {}).items():
        row["reward" if key == "overall" else key] = value
    for key, value in (line.get("val") or {}).items():
        if key.endswith("_reward"):
            name = key.removesuffix("_reward")
            row["eval_reward" if name == "overall" else f"eval_{name}"] = value
    own = {"timing_s": ("step",), "response_length": ("mean", "clip_ratio"), "actor": ("kl_loss", "entropy_loss", "lr")}
    names = {"actor/kl_loss": "kl", "actor/lr": "learning_rate"}
    for block, keys in own.items():
        for key in keys:
            if key in (line.get(block) or {}):
                row[names.get(f"{block}/{key}", f"{block}/{key}")] = line[block][key]
    return row


def total_steps(run: Run) -> int | None:
    """What EasyR1 and verl print as they start; their log files do not say."""
    if not run.log.exists():
        return None
    with run.log.open("rb") as file:
        found = re.search(rb"Total training steps: (\d+)", file.read(1_000_000))
    return int(found[1]) if found else None


def plateaued(recipe: Recipe, rows: list[dict[str, Any]]) -> str:
    """Why the run has had enough, or "". A validated step is in the log only once its checkpoint is saved."""
    assert recipe.rl is not None
    scores = [(row["step"], row["eval_accuracy"]) for row in rows if row["step"] and "eval_accuracy" in row]
    if not scores:
        return ""
    best, accuracy = max(scores, key=lambda score: score[1])  # of equals, the first: a tie is no improvement
    since = sum(step > best for step, _ in scores)
    if since < recipe.rl.patience:
        return ""
    return f"validation accuracy has not improved for {since} validations: best {accuracy:.4f} at step {best}"


def ended(recipe: Recipe, run: Run) -> str:
    """Why no step is left: the last one is saved and validated, or the run had had enough before its trainer was stopped."""
    return no_step_left(recipe, run, metrics(run))


def no_step_left(recipe: Recipe, run: Run, rows: list[dict[str, Any]]) -> str:
    """`ended`, of a trainer whose metrics are `rows`: verl prints its number of steps and names its checkpoints likewise."""
    total, newest = total_steps(run), max(backend.steps(run), default=0)
    if total and newest >= total and any(row["step"] == newest and "eval_accuracy" in row for row in rows):
        return f"all {total} steps are trained"
    return plateaued(recipe, rows)


def finished(run: Run) -> bool:
    """Whether a job that ended well left a model. EasyR1 saves the last step before it exits with 0."""
    return bool(backend.steps(run))


@contextlib.contextmanager
def merged(checkpoint: Path, beside: Path) -> Iterator[Path]:
    """A Hugging Face folder of a global_step_<n>, by EasyR1's own merger in its environment; removed at the end.

    The merger writes where it reads, and passes over a missing shard in silence; so it gets links to a complete
    checkpoint in a folder of its own, in `beside`. Raises MtrlError with its last words.
    """
    python = envs.interpreter(ENVIRONMENT)
    script = source(python) / "scripts" / "model_merger.py"
    if not script.exists():
        raise UserError(f"EasyR1's model merger is not at {script}", f"make setup-{ENVIRONMENT}")
    with tempfile.TemporaryDirectory(prefix=".merge.", dir=beside) as folder:
        actor = Path(folder)
        for file in (checkpoint / "actor").iterdir():
            if file.name.startswith("model_") or file.name == "lora_adapter":
                symlink(file.resolve(), actor / file.name)
        (actor / "huggingface").mkdir()
        for file in (checkpoint / "actor" / "huggingface").iterdir():
            if file.suffix != ".safetensors":
                (actor / "huggingface" / file.name).write_bytes(file.read_bytes())
        command = [str(python), str(script), "--local_dir", str(actor)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["(no output)"])[-1]
            raise MtrlError(f"EasyR1's merger failed on {checkpoint}: {last}", shlex.join(command))
        yield actor / "huggingface"


def source(python: Path) -> Path:
    """EasyR1's checkout: the folder that holds the package `verl` of an environment. Raises UserError."""
    code = "import importlib.util as u; s = u.find_spec('verl'); print(s.origin if s else '')"
    out = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False, timeout=60).stdout.strip()
    if not out:
        raise UserError(f"EasyR1 is not installed in the environment {ENVIRONMENT}", f"make setup-{ENVIRONMENT}")
    return Path(out).parents[1]
