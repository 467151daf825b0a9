"""EasyR1's configuration: what it would fail on late, or pass over silently. file:line are EasyR1's at b44b311."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from mtrl.backends import easyr1_grpo, envs
from mtrl.backends.envs.tested import TESTED
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import UserError, nearest
from mtrl.core.files import read_json
from mtrl.core.finding import Check
from mtrl.core.rundir import Run
from mtrl.models import model_folder
from mtrl.preflight import ray_rules
from mtrl.preflight.ray_rules import Names, Rule, divisor
from mtrl.preflight.rendered import Rendered

ARGUMENTS = "worker.reward.reward_function_kwargs"
SAMPLING = (
    "n", "temperature", "top_p", "top_k", "min_p", "seed", "max_tokens", "min_tokens", "repetition_penalty",
    "presence_penalty", "frequency_penalty", "stop", "ignore_eos",
)  # fmt: skip
DTYPES = ("null", "bf16", "bfloat16", "fp16", "float16", "fp32", "float32")
NAMES = Names(
    trainer="EasyR1",
    batch="worker.actor.global_batch_size",
    rolled="data.rollout_batch_size",
    rollout="worker.rollout",
    tensor="worker.rollout.tensor_parallel_size",  # fsdp_workers.py:385
    ulysses="worker.actor.ulysses_size",
    validate="trainer.val_freq",
    max_steps="trainer.max_steps",
    loggers=("console", "file", "mlflow", "swanlab", "tensorboard", "wandb"),
    choices={
        # without gae: no critic is rendered
        "algorithm.adv_estimator": ("grpo", "grpo_passk", "reinforce_plus_plus", "remax", "rloo"),
        "algorithm.kl_penalty": ("kl", "abs", "mse", "low_var_kl", "full"),
        "algorithm.kl_type": ("fixed", "adaptive"),
        "worker.actor.strategy": ("fsdp",),
        "worker.actor.loss_type": ("default", "gspo", "gspo_token", "cispo", "sapo"),
        "worker.actor.loss_avg_mode": ("token", "seq"),
        "worker.actor.optim.strategy": ("adamw", "adamw_bf16"),
        "worker.actor.optim.lr_scheduler_type": ("constant", "cosine"),
        "worker.actor.fsdp.torch_dtype": DTYPES,
        "worker.ref.fsdp.torch_dtype": DTYPES,
        "worker.rollout.name": ("vllm",),
        "worker.rollout.dtype": DTYPES[1:],
    },
)


def check(recipe: Recipe, run: Run, config: Rendered) -> Iterator[Check]:
    found = [*ray_rules.values(config, NAMES), *_lossy(config), *_files(config, run), *_free(config, recipe)]
    found += [*ray_rules.run(config, NAMES, recipe), *_tasks(recipe), *_sizes(config)]
    yield from found
    if not any(one.level == "error" for one in found):
        gpus, tensor = ray_rules.world(config), config.whole(NAMES.tensor)
        yield Check("ok", f"EasyR1's sizes and files are right: {gpus} GPUs, rollouts by {gpus // tensor} x {tensor}")
    yield from _installed()


def _sizes(config: Rendered) -> list[Check]:
    gpus = ray_rules.world(config)
    if not gpus:
        return ray_rules.no_gpu(NAMES)
    batch, rolled, n = (config.whole(key) for key in (NAMES.batch, NAMES.rolled, "worker.rollout.n"))
    micro = "micro_batch_size_per_device_for"
    update = config.whole(f"worker.actor.{micro}_update")
    experience = config.whole(f"worker.actor.{micro}_experience")
    shards = max(1, gpus // config.whole(NAMES.ulysses))
    share = batch * n // shards
    mini = config.whole("data.mini_rollout_batch_size", 0)
    budget = config.whole("worker.rollout.max_num_batched_tokens")
    both = ray_rules.batches(config, NAMES, gpus, shards * update // math.gcd(shards * update, n))
    own = ray_rules.broken(
        "EasyR1",
        # ray_trainer.py:209, protocol.py:583
        Rule(rolled % batch == 0, f"rl.rollout_batch_size {rolled} is not a multiple of rl.batch_size {batch}", both),
        # protocol.py:555, in the first step: its own checks round down, so 6 or 7 GPUs pass them
        Rule(rolled % gpus == 0, f"{gpus} GPUs cannot share rl.rollout_batch_size {rolled} prompts", both),
        # fsdp_workers.py:148, which rounds down too; protocol.py:583
        Rule(batch * n % shards == 0, f"{shards} GPUs cannot share rl.batch_size {batch} x rl.n {n} answers", both),
        Rule(
            mini % gpus == 0,
            f"{gpus} GPUs cannot share data.mini_rollout_batch_size {mini} prompts",
            f"--set upstream.data.mini_rollout_batch_size={ray_rules.near(mini, gpus)}",
        ),
        Rule(  # fsdp_workers.py:151
            share % update == 0,
            f"{share} answers per GPU are not a multiple of {micro}_update {update}",
            f"hardware.rl_per_device_batch_size: {divisor(share, update)}",
        ),
        Rule(  # ray_trainer.py:217
            rolled * n % experience == 0,
            f"{rolled * n} answers are not a multiple of {micro}_experience {experience}",
            f"--set upstream.worker.actor.{micro}_experience={divisor(rolled * n, experience)}",
        ),
        Rule(  # fsdp_workers.py:157
            not config.flag("worker.actor.fsdp.enable_cpu_offload") or share == update,
            "worker.actor.fsdp.enable_cpu_offload does not work with gradient accumulation",
            "--set upstream.worker.actor.fsdp.enable_cpu_offload=false",
        ),
        # vllm_rollout_spmd.py:114
        ray_rules.fits("worker.rollout.max_num_batched_tokens", budget, ray_rules.length(config)),
    )
    return [*ray_rules.sizes(config, NAMES), *own]


def _lossy(config: Rendered) -> Iterator[Check]:
    if config.flag("trainer.save_model_only") or not config.flag("trainer.find_last_checkpoint"):
        yield Check("warning", "with save_model_only, or without find_last_checkpoint, a run cannot resume")
    if config.whole("trainer.save_limit", least=-1) > 0:
        text = "trainer.save_limit keeps the best by the whole reward, and may delete the best by accuracy"
        yield Check("warning", text, "mtrl export --step best takes the best of those that are left")


def _files(config: Rendered, run: Run) -> Iterator[Check]:
    """EasyR1 prints a line and goes on without a file that is missing."""
    for key in ("data.image_dir", "data.format_prompt", "data.override_chat_template", "trainer.load_checkpoint_path"):
        if (file := config.string(key, "")) and not Path(file).exists():
            text = f"{key} {file} does not exist, and EasyR1 would go on without it"
            yield Check("error", text, f"correct upstream.{key}, or leave it out")
    start = config.string("trainer.load_checkpoint_path", "")
    if start and not re.fullmatch(r"global_step_\d+", Path(start).name):  # ray_trainer.py:357
        yield Check("error", f"trainer.load_checkpoint_path {start} does not end in global_step_<n>")
    key = "worker.reward.reward_function"
    file, _, name = config.string(key).rpartition(":")
    yield from ray_rules.reward(Path(file), name, f"{key}, which is FILE:FUNCTION", config.block(ARGUMENTS), given=1)
    if ":" in file:
        yield Check("error", f"the path {file} has a colon in it", "install mtrl in another folder")
    if "@" in str(run.path):  # utils/dataset.py:127
        text = f"the path {run.path} has an @ in it, and EasyR1 reads what follows it as the name of a split"
        yield Check("error", text, "work in another folder")


def _free(config: Rendered, recipe: Recipe) -> Iterator[Check]:
    """The keys of blocks that EasyR1 does not check."""
    for key in config.block("worker.rollout.val_override_config"):
        if key not in SAMPLING:  # vllm_rollout_spmd.py: update_sampling_params passes over it
            yield Check("error", f"val_override_config: {key!r} is not a sampling parameter.{nearest(key, SAMPLING)}")
    model, given = model_folder.local_model(recipe.model.path), config.block("worker.actor.model.override_config")
    known = list(read_json(model / "config.json")) if model and given else list(given)
    for key in given:
        if key not in known:
            text = f"override_config: the model's config.json has no key {key!r}.{nearest(key, known)}"
            yield Check("error", text)


def _tasks(recipe: Recipe) -> Iterator[Check]:
    for task in recipe.tasks:
        if re.search(r"(^|[^a-z])(train|val|test)([^a-z]|$)", task):
            text = f"task {task}: EasyR1's loader takes the word train, val or test in a file's name for its split"
            yield Check("error", text, "give the task another name")


def _installed() -> Iterator[Check]:
    try:
        python = envs.interpreter("easyr1")
        root = easyr1_grpo.source(python)
    except UserError:
        return  # another check's error
    limits = {"omegaconf": (2, 4), "transformers": (5, 0)}
    for package, version in envs.versions(python, tuple(limits)).items():
        if version is None or envs.release(version) >= limits[package]:
            limit = ".".join(map(str, limits[package]))
            yield Check(
                "error", f"EasyR1 needs {package} below {limit}, and has {version or 'none'}", "make setup-easyr1"
            )
    try:
        ancestor = ["git", "-C", str(root), "merge-base", "--is-ancestor", TESTED["easyr1"].commit, "HEAD"]
        code = subprocess.run(ancestor, capture_output=True).returncode
    except OSError:  # a container without git
        code = 1
    if code:
        text = f"EasyR1 in {root} is not known to be at or after {TESTED['easyr1'].commit[:7]}, the tested commit"
        yield Check("warning", text, "make setup-easyr1")
