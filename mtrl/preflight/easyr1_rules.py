"""What EasyR1 would stumble on, or pass over in silence, found in its configuration before it starts.

Every rule reads the rendered upstream.yaml, the recipe's `upstream:` block included. file:line are EasyR1's at b44b311.
The key list easyr1_keys.txt is EasyR1's own: `python -m tests.contract.test_easyr1` writes it anew.
"""

from __future__ import annotations

import ast
import math
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtrl.backends import easyr1_grpo, envs, registry
from mtrl.backends.envs.tested import TESTED
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import UserError, nearest
from mtrl.core.files import parse_yaml, read_json
from mtrl.core.rundir import Run
from mtrl.models import model_folder
from mtrl.preflight.fitting import Found, batches, divisor, multiple, settable

KEYS = Path(__file__).with_name("easyr1_keys.txt")
FREE = (
    "worker.reward.reward_function_kwargs",
    "worker.rollout.val_override_config",
    "worker.actor.model.override_config",
)
SAMPLING = ("n", "temperature", "top_p", "top_k", "min_p", "seed", "max_tokens", "min_tokens", "repetition_penalty",
            "presence_penalty", "frequency_penalty", "stop", "ignore_eos")  # fmt: skip
DTYPES = ("null", "bf16", "bfloat16", "fp16", "float16", "fp32", "float32")
ENUMS = {  # taken as any text, and wrong only later or never
    "algorithm.adv_estimator": (
        "grpo",
        "grpo_passk",
        "reinforce_plus_plus",
        "remax",
        "rloo",
    ),  # gae: no critic is rendered
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
}
OVERRIDDEN = {
    "rl.batch_size": "worker.actor.global_batch_size",
    "rl.rollout_batch_size": "data.rollout_batch_size",
    "rl.n": "worker.rollout.n",
}
LOGGERS = ("console", "file", "mlflow", "swanlab", "tensorboard", "wandb")


def check(recipe: Recipe) -> Iterator[Found]:
    """All that is wrong, and one "ok" where nothing is."""
    run = Run(Path("runs") / recipe.default_name)
    config = parse_yaml(registry.of(recipe).config(recipe, run, Path("data")), "upstream.yaml")
    found = [*_keys(config)]
    found += [*_values(config), *_files(config, run), *_free(config, recipe), *_way(config, recipe), *_sizes(config)]
    found = list(settable(recipe, found, OVERRIDDEN))
    yield from found
    if not any(level == "error" for level, *_ in found):
        world = config["trainer"]["nnodes"] * config["trainer"]["n_gpus_per_node"]
        tensor = config["worker"]["rollout"]["tensor_parallel_size"]
        yield ("ok", f"EasyR1's keys, sizes and files hold: {world} GPUs, rollouts by {world // tensor} x {tensor}")
    yield from _installed()


def known() -> list[str]:
    """The keys that EasyR1 takes, without those it sets itself whatever is given."""
    return [line for line in KEYS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def flat(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of each leaf; a free dictionary is one leaf."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in FREE:
            yield from flat(value, f"{name}.")
        else:
            yield name, value


def _keys(config: dict[str, Any]) -> Iterator[Found]:
    listed = known()
    for key, _ in flat(config):
        if key not in listed:  # EasyR1 stops at these, or sets them itself and drops what was given
            yield (
                "error",
                f"upstream.{key} is no key that EasyR1 takes.{nearest(key, listed)}",
                "mend the recipe's upstream: block",
            )


def _sizes(config: dict[str, Any]) -> Iterator[Found]:
    data, actor, rollout, trainer = (
        config["data"],
        config["worker"]["actor"],
        config["worker"]["rollout"],
        config["trainer"],
    )
    world = trainer["nnodes"] * trainer["n_gpus_per_node"]
    batch, rolled, n = actor["global_batch_size"], data["rollout_batch_size"], rollout["n"]
    update = actor["micro_batch_size_per_device_for_update"]
    experience = actor["micro_batch_size_per_device_for_experience"]
    tensor, ulysses = rollout["tensor_parallel_size"], actor["ulysses_size"]
    length = data["max_prompt_length"] + data["max_response_length"]

    def must(holds: bool, text: str, then: str) -> Iterator[Found]:
        if not holds:
            yield ("error", f"EasyR1: {text}", then)

    yield from must(world >= 1, "it needs GPUs, and the hardware preset has none", "--hardware 8x80gb, or cpu for TRL")
    if world < 1:
        return
    yield from must(n > 1, f"GRPO compares answers of one prompt: rl.n is {n}", "--set rl.n=2")  # ray_trainer.py:236
    shards = max(1, world // ulysses)
    both = batches(batch, rolled, world, shards * update // math.gcd(shards * update, n))
    yield from must(rolled % batch == 0, f"rl.rollout_batch_size {rolled} is no multiple of rl.batch_size {batch}", both)  # ray_trainer.py:209, protocol.py:583  # fmt: skip
    # protocol.py:555, in the first step: its own checks floor the division and let 6 or 7 GPUs pass
    yield from must(rolled % world == 0, f"rl.rollout_batch_size {rolled} prompts cannot be shared by {world} GPUs", both)  # fmt: skip
    mini = data["mini_rollout_batch_size"]
    yield from must(not mini or mini % world == 0, f"data.mini_rollout_batch_size {mini} cannot be shared by {world} GPUs",
                    multiple("upstream.data.mini_rollout_batch_size", mini or 0, world))  # fmt: skip
    yield from must(world % ulysses == 0, f"actor.ulysses_size {ulysses} does not divide {world} GPUs",
                    f"--set upstream.worker.actor.ulysses_size={divisor(world, ulysses)}")  # fmt: skip
    share = batch * n // shards
    # fsdp_workers.py:148, which floors too; protocol.py:583
    yield from must(batch * n % shards == 0, f"rl.batch_size {batch} x rl.n {n} answers cannot be shared by {shards} GPUs", both)  # fmt: skip
    yield from must(share % update == 0, f"{share} answers a GPU do not divide by micro_batch_size_per_device_for_update {update}",
                    f"hardware.rl_per_device_batch_size: {divisor(share, update)}")  # fsdp_workers.py:151  # fmt: skip
    yield from must(rolled * n % experience == 0, f"{rolled * n} answers do not divide by micro_batch_size_per_device_for_experience {experience}",
                    f"--set upstream.worker.actor.micro_batch_size_per_device_for_experience={divisor(rolled * n, experience)}")  # ray_trainer.py:217  # fmt: skip
    yield from must(not actor["fsdp"]["enable_cpu_offload"] or share == update,
                    "actor.fsdp.enable_cpu_offload allows no gradient accumulation",
                    "--set upstream.worker.actor.fsdp.enable_cpu_offload=false")  # fsdp_workers.py:157  # fmt: skip
    yield from must(world % tensor == 0, f"rollout.tensor_parallel_size {tensor} does not divide {world} GPUs",
                    f"--set upstream.worker.rollout.tensor_parallel_size={divisor(world, tensor)}")  # fsdp_workers.py:385  # fmt: skip
    tokens = rollout["max_num_batched_tokens"]
    yield from must(tokens >= length, f"prompt and response are {length} tokens, rollout.max_num_batched_tokens {tokens}",
                    f"--set upstream.worker.rollout.max_num_batched_tokens={length}")  # vllm_rollout_spmd.py:114  # fmt: skip
    model_length = rollout["max_model_len"]
    yield from must(model_length is None or model_length >= length, f"prompt and response are {length} tokens, rollout.max_model_len {model_length}",
                    f"--set upstream.worker.rollout.max_model_len={length}")  # fmt: skip


def _values(config: dict[str, Any]) -> Iterator[Found]:
    values, trainer = dict(flat(config)), config["trainer"]
    for key, known in ENUMS.items():
        value = "null" if values[key] is None else values[key]
        if value not in known:
            yield (
                "error",
                f"upstream.{key} {value!r} is none that EasyR1 knows.{nearest(str(value), known)}",
                f"--set upstream.{key}={known[0]}",
            )
    loggers = trainer["logger"]
    if not isinstance(loggers, list) or "file" not in loggers or not set(loggers) <= set(LOGGERS):
        yield (
            "error",
            f"trainer.logger {loggers!r} must be a list of {', '.join(LOGGERS)} with file in it: progress is read from it",
            "--set upstream.trainer.logger='[file]'",
        )
    if trainer["val_freq"] != trainer["save_freq"] or trainer["save_freq"] < 1:
        yield (
            "error",
            "trainer.val_freq and save_freq must be one number: the best checkpoint is one that was validated",
            f"--set upstream.trainer.val_freq={max(1, trainer['save_freq'])} --set upstream.trainer.save_freq={max(1, trainer['save_freq'])}",
        )
    if trainer["save_model_only"] or not trainer["find_last_checkpoint"]:
        yield ("warning", "save_model_only or find_last_checkpoint: false leaves nothing to resume from", "")
    if trainer["save_limit"] > 0:
        yield (
            "warning",
            "trainer.save_limit keeps the best by the whole reward, and may delete the best by accuracy",
            "mtrl export --step best takes the best of those that are left",
        )


def _files(config: dict[str, Any], run: Run) -> Iterator[Found]:
    """EasyR1 prints a line and goes on with none where a file is missing."""
    values = dict(flat(config))
    for key in ("data.image_dir", "data.format_prompt", "data.override_chat_template", "trainer.load_checkpoint_path"):
        if values[key] is not None and not Path(values[key]).exists():
            yield (
                "error",
                f"{key} {values[key]} does not exist, and EasyR1 would go on without it",
                f"correct upstream.{key}, or leave it out",
            )
    if (start := values["trainer.load_checkpoint_path"]) and not re.fullmatch(r"global_step_\d+", Path(start).name):
        yield ("error", f"trainer.load_checkpoint_path {start} must end in global_step_<n>", "")  # ray_trainer.py:357
    file, _, name = values["worker.reward.reward_function"].rpartition(":")
    if not Path(file).is_file():
        yield (
            "error",
            f"the reward file {file or name} does not exist",
            "upstream.worker.reward.reward_function is FILE:FUNCTION",
        )
    elif (parameters := signature(Path(file), name)) is None:
        yield ("error", f"{file} has no function {name}", "upstream.worker.reward.reward_function is FILE:FUNCTION")
    elif strange := [key for key in values[FREE[0]] if key not in parameters[1:]]:
        yield (
            "error",
            f"reward_function_kwargs: {name} takes no {strange[0]!r}.{nearest(strange[0], parameters[1:])}",
            "",
        )
    if "@" in str(run.path):  # utils/dataset.py:127 reads what follows it as a split
        yield (
            "error",
            f"the path {run.path} holds an @, which EasyR1 reads as the name of a split",
            "work in another folder",
        )
    if ":" in str(Path(file)):
        yield ("error", f"the path {file} holds a colon", "install mtrl elsewhere")


def signature(file: Path, name: str) -> list[str] | None:
    """The parameters of a function of a file that is not run, None where it is not there."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return None


def _free(config: dict[str, Any], recipe: Recipe) -> Iterator[Found]:
    values = dict(flat(config))
    for key in values[FREE[1]]:
        if key not in SAMPLING:  # vllm_rollout_spmd.py: update_sampling_params passes over what it does not know
            yield ("error", f"val_override_config: {key!r} is no sampling parameter.{nearest(key, SAMPLING)}", "")
    model = model_folder.local_model(recipe.model.path)
    if values[FREE[2]] and model:
        known = list(read_json(model / "config.json"))
        for key in values[FREE[2]]:
            if key not in known:
                yield ("error", f"override_config: {key!r} is not in the model's config.json.{nearest(key, known)}", "")


def _way(config: dict[str, Any], recipe: Recipe) -> Iterator[Found]:
    assert recipe.rl is not None
    if recipe.hardware.nodes > 1 and not os.environ.get("RAY_ADDRESS"):
        yield (
            "warning",
            f"{recipe.hardware.nodes} nodes need a Ray cluster, and RAY_ADDRESS is not set: one is looked for on this machine",
            "ray start --head, then on each other node ray start --address=HEAD:6379",
        )
    if recipe.rl.epochs != config["trainer"]["total_epochs"] and config["trainer"]["max_steps"] is None:
        yield (
            "warning",
            f"EasyR1 counts whole epochs: rl.epochs {recipe.rl.epochs} is run as {config['trainer']['total_epochs']}",
            f"--set rl.epochs={config['trainer']['total_epochs']}",
        )
    if odd := [task for task in recipe.tasks if re.search(r"(^|[^a-z])(train|val|test)([^a-z]|$)", task)]:
        yield (
            "error",
            f"task {odd[0]}: from train, val or test in a file's name EasyR1's loader makes up a split",
            "give the task another name",
        )


def _installed() -> Iterator[Found]:
    try:
        python = envs.interpreter("easyr1")
        root = easyr1_grpo.source(python)
    except UserError:
        return  # plan says so already
    versions = envs.versions(python, ("omegaconf", "transformers"))
    for package, limit in (("omegaconf", (2, 4)), ("transformers", (5, 0))):
        version = versions[package]
        if version is None or envs.release(version) >= limit:
            yield (
                "error",
                f"EasyR1 needs {package} below {'.'.join(map(str, limit))}, and {version or 'none'} is there",
                "make setup-easyr1",
            )
    try:
        ancestor = ["git", "-C", str(root), "merge-base", "--is-ancestor", TESTED["easyr1"].commit, "HEAD"]
        code = subprocess.run(ancestor, capture_output=True).returncode
    except OSError:  # a container without git
        code = 1
    if code:
        yield (
            "warning",
            f"EasyR1 in {root} is not known to be at or after {TESTED['easyr1'].commit[:7]}, which this was tested with",
            "make setup-easyr1",
        )
