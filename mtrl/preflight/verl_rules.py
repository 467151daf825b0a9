"""What verl would stumble on, or pass over in silence, found before it starts.

First verl's own words: verl_check.py has it compose the rendered upstream.yaml and check it, where verl is installed. Then
what that check leaves out, read from the same file, the recipe's `upstream:` block included. file:line are verl's at 0.9.1.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtrl.backends import envs, registry, verl_grpo
from mtrl.backends.envs.tested import TESTED
from mtrl.backends.jobs import verl_check
from mtrl.config.recipe_types import Recipe
from mtrl.core import child
from mtrl.core.errors import UserError, nearest
from mtrl.core.files import parse_yaml, write_text
from mtrl.core.rundir import Run
from mtrl.preflight.easyr1_rules import signature
from mtrl.preflight.fitting import Found, batches, divisor, settable

RELEASE = envs.release(TESTED["verl"].version)
LOGGERS = ("wandb", "mlflow", "swanlab", "vemlp_wandb", "tensorboard", "console", "clearml", "trackio", "file", "rl_insight")  # fmt: skip
ENUMS = {  # taken as any text, and wrong only later
    "algorithm.adv_estimator": ("grpo", "grpo_passk", "grpo_vectorized", "rloo", "rloo_vectorized", "reinforce_plus_plus",
                                "reinforce_plus_plus_baseline", "opo", "gpg", "gdpo"),  # core_algos.py:89; gae and remax want more than is set up here
    "actor_rollout_ref.actor.kl_loss_type": ("low_var_kl", "k3", "kl", "k1", "abs", "mse", "k2"),  # core_algos.py:2228
    "actor_rollout_ref.rollout.name": ("vllm",),
    "data.truncation": ("error", "left", "right", "middle"),
    "trainer.resume_mode": ("auto",),  # anything else would not resume a run that was stopped
}  # fmt: skip
OVERRIDDEN = {
    "rl.batch_size": "actor_rollout_ref.actor.ppo_mini_batch_size",
    "rl.rollout_batch_size": "data.train_batch_size",
    "rl.n": "actor_rollout_ref.rollout.n",
}
MAX_RANK = 512  # vLLM's largest, in verl/workers/rollout/vllm_rollout/utils.py:94


def check(recipe: Recipe) -> Iterator[Found]:
    """All that is wrong, and one "ok" where nothing is."""
    run = Run(Path("runs") / recipe.default_name)
    text = registry.of(recipe).config(recipe, run, Path("data"))
    config = parse_yaml(text, "upstream.yaml")
    own = list(_installed())
    found = own if any(level == "error" for level, *_ in own) else [*own, *_asked(text)]
    found += [*_sizes(config), *_values(config, recipe), *_files(config), *_way(config, recipe)]
    found = list(settable(recipe, found, OVERRIDDEN))
    yield from found
    if not any(level == "error" for level, *_ in found):
        rollout, world = config["actor_rollout_ref"]["rollout"], _world(config)
        by = "Megatron" if verl_grpo.by_megatron(recipe) else "FSDP"
        tensor = rollout["tensor_model_parallel_size"]
        yield ("ok", f"verl's sizes and files hold: {world} GPUs by {by}, rollouts by {world // tensor} x {tensor}")


def _world(config: dict[str, Any]) -> int:
    return int(config["trainer"]["nnodes"] * config["trainer"]["n_gpus_per_node"])


def _installed() -> Iterator[Found]:
    """Nothing where verl is not installed: plan says so already."""
    try:
        version = envs.versions(envs.interpreter("verl"), ("verl",))["verl"]
    except UserError:
        return
    if version and envs.release(version) != RELEASE:
        own = " (EasyR1 calls itself verl too)" if version.startswith("0.3.") else ""
        yield ("error", f"verl {version}{own} is outside {'.'.join(map(str, RELEASE))}.x, whose keys and logs are known here", "make setup-verl")  # fmt: skip


def _asked(text: str) -> Iterator[Found]:
    """verl's own verdict on upstream.yaml, in some seconds; nothing where it is not installed."""
    try:
        python = envs.interpreter("verl")
    except UserError:
        return
    if envs.versions(python, ("verl",))["verl"] is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "upstream.yaml"
        write_text(file, text)
        done = subprocess.run([python, verl_check.__file__, file], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        yield (
            "error",
            f"verl's own check of its configuration did not run: {child.reason(done.stderr)}",
            "make setup-verl",
        )
        return
    said = json.loads(done.stdout)[str(file)]
    for key in said["unknown"]:
        near = f". Did you mean {said['near'][key]!r}?" if said["near"][key] else ""
        yield ("error", f"upstream.{key} is no key that verl takes, and it would not say so{near}", "mend the recipe's upstream: block")  # fmt: skip
    if said["error"]:
        yield ("error", f"verl refuses this configuration: {said['error']}", "mend the recipe")
    elif not said["unknown"]:
        yield ("ok", f"verl's own check takes this configuration ({said['engine']} engine)")


def _sizes(config: dict[str, Any]) -> Iterator[Found]:
    data, part, trainer = config["data"], config["actor_rollout_ref"], config["trainer"]
    actor, rollout, ref = part["actor"], part["rollout"], part["ref"]
    world, per_node = _world(config), trainer["n_gpus_per_node"]
    batch, mini, n = data["train_batch_size"], actor["ppo_mini_batch_size"], rollout["n"]
    length = data["max_prompt_length"] + data["max_response_length"]

    def must(holds: bool, text: str, then: str) -> Iterator[Found]:
        if not holds:
            yield ("error", f"verl: {text}", then)

    yield from must(
        world >= 1, "it needs GPUs, and the hardware preset has none", "--hardware 8x80gb, or --set backend=trl"
    )
    if world < 1:
        return
    yield from must(n > 1, f"GRPO compares answers of one prompt: rl.n is {n}", "--set rl.n=2")
    if "megatron" in actor:
        sizes = actor["megatron"]
        tensor, context, pipeline = (sizes.get(f"{k}_parallel_size", 1) for k in ("tensor_model", "context", "pipeline_model"))  # fmt: skip
        experts, expert_tensor = (sizes.get(f"expert_{k}_parallel_size", 1) for k in ("model", "tensor"))
        shared = tensor * context * pipeline
        whole = math.lcm(shared, experts * expert_tensor * pipeline)
        # utils/config.py:118, of fixed micro-batches only; Megatron's own parallel_state for the experts
        yield from must(world % shared == 0, f"Megatron's tensor x pipeline x context {shared} does not divide {world} GPUs", f"a number of GPUs that {shared} divides")  # fmt: skip
        yield from must(world % (experts * expert_tensor * pipeline) == 0, f"Megatron's expert parallelism {experts * expert_tensor * pipeline} does not divide {world} GPUs", f"a number of GPUs that {whole} divides")  # fmt: skip
        if world % shared:
            return
        replicas = world // shared
    else:
        ulysses = actor.get("ulysses_sequence_parallel_size", 1)
        yield from must(world % ulysses == 0, f"actor.ulysses_sequence_parallel_size {ulysses} does not divide {world} GPUs", f"--set upstream.actor_rollout_ref.actor.ulysses_sequence_parallel_size={divisor(world, ulysses)}")  # fmt: skip
        replicas = max(1, world // ulysses)  # engine/fsdp/transformer_impl.py:652
    # config/actor.py:196, of fixed micro-batches only; padded with rows that teach nothing at v1/trainer_base.py: _balance_batch
    both = batches(mini, batch, 1, replicas // math.gcd(replicas, n))
    yield from must(batch % mini == 0, f"rl.rollout_batch_size {batch} is no multiple of rl.batch_size {mini}", both)  # fmt: skip
    # engine_workers.py:267, in the first update
    yield from must(mini * n % replicas == 0, f"rl.batch_size {mini} x rl.n {n} answers cannot be shared by {replicas} replicas", both)  # fmt: skip
    if actor["use_dynamic_bsz"]:
        # utils/seqlen_balancing.py:384; the others take the actor's where they have none of their own
        limits = {"actor.ppo_max_token_len_per_gpu": actor["ppo_max_token_len_per_gpu"]}
        limits |= {f"{k}.log_prob_max_token_len_per_gpu": v["log_prob_max_token_len_per_gpu"] for k, v in (("rollout", rollout), ("ref", ref)) if "log_prob_max_token_len_per_gpu" in v}  # fmt: skip
        for key, tokens in limits.items():
            yield from must(tokens >= length, f"prompt and response are {length} tokens, {key} {tokens}", f"--set upstream.actor_rollout_ref.{key}={length}")  # fmt: skip
    else:
        micro, share = actor["ppo_micro_batch_size_per_gpu"], mini * n // replicas
        yield from must(share % micro == 0, f"{share} answers a replica do not divide by ppo_micro_batch_size_per_gpu {micro}", f"--set upstream.actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu={divisor(share, micro)}")  # engine/utils.py:125  # fmt: skip
        rows = batch * n // replicas
        for name, block in (("rollout", rollout), ("ref", ref)):
            micro = block["log_prob_micro_batch_size_per_gpu"]
            yield from must(rows % micro == 0, f"{rows} answers a replica do not divide by {name}.log_prob_micro_batch_size_per_gpu {micro}", f"--set upstream.actor_rollout_ref.{name}.log_prob_micro_batch_size_per_gpu={divisor(rows, micro)}")  # fmt: skip
    tensor = rollout["tensor_model_parallel_size"] * rollout.get("data_parallel_size", 1)
    yield from must(world % tensor == 0, f"rollout.tensor_model_parallel_size {tensor} does not divide {world} GPUs", f"--set upstream.actor_rollout_ref.rollout.tensor_model_parallel_size={divisor(world, tensor)}")  # engine_workers.py:659  # fmt: skip
    yield from must(tensor % min(tensor, per_node) == 0, f"a rollout of {tensor} GPUs does not fill nodes of {per_node}", f"--set upstream.actor_rollout_ref.rollout.tensor_model_parallel_size={per_node}")  # rollout/replica.py:114  # fmt: skip
    room, tokens = rollout["max_model_len"], rollout["max_num_batched_tokens"]
    yield from must(room is None or room >= length, f"prompt and response are {length} tokens, rollout.max_model_len {room}", f"--set upstream.actor_rollout_ref.rollout.max_model_len={length}")  # fmt: skip
    chunked = rollout.get("enable_chunked_prefill", True)
    yield from must(chunked or tokens >= length, f"without chunked prefill rollout.max_num_batched_tokens {tokens} must hold {length} tokens", f"--set upstream.actor_rollout_ref.rollout.max_num_batched_tokens={length}")  # vllm_async_server.py:1113  # fmt: skip
    rank = part["model"].get("lora_rank", 0)
    yield from must(
        rank <= MAX_RANK, f"vLLM takes adapters up to rank {MAX_RANK}, not {rank}", f"hardware.lora.rank: {MAX_RANK}"
    )


def _values(config: dict[str, Any], recipe: Recipe) -> Iterator[Found]:
    assert recipe.rl is not None
    trainer = config["trainer"]
    for key, known in ENUMS.items():
        block: Any = config
        for name in key.split("."):
            block = block.get(name, known[0])
        if block not in known:
            yield ("error", f"upstream.{key} {block!r} does not work here.{nearest(str(block), known)}", f"--set upstream.{key}={known[0]}")  # fmt: skip
    loggers = trainer["logger"]
    if not isinstance(loggers, list) or "file" not in loggers or not set(loggers) <= set(LOGGERS):  # tracking.py:42
        yield ("error", f"trainer.logger {loggers!r} must be a list of {', '.join(LOGGERS)} with file in it: progress is read from it", "--set upstream.trainer.logger='[file]'")  # fmt: skip
    if trainer["test_freq"] != trainer["save_freq"] or trainer["save_freq"] < 1:
        yield ("error", "trainer.test_freq and save_freq must be one number: the best checkpoint is one that was validated", f"--set upstream.trainer.test_freq={max(1, trainer['save_freq'])} --set upstream.trainer.save_freq={max(1, trainer['save_freq'])}")  # fmt: skip
    if trainer.get("max_actor_ckpt_to_keep"):
        yield ("warning", "trainer.max_actor_ckpt_to_keep keeps the newest, and may delete the best", "mtrl export --step best takes the best of those that are left")  # fmt: skip
    if config["data"]["filter_overlong_prompts"]:  # rl_dataset.py:225
        yield ("warning", "data.filter_overlong_prompts drops what is too long or broken, and goes on", "--set upstream.data.filter_overlong_prompts=false")  # fmt: skip
    if config["data"]["image_patch_size"] != recipe.model.patch_size:
        yield ("error", f"data.image_patch_size {config['data']['image_patch_size']} is not the model's {recipe.model.patch_size}: prompts would be measured wrong", f"--set upstream.data.image_patch_size={recipe.model.patch_size}")  # fmt: skip
    if recipe.rl.length_cap is not None:
        yield ("error", "verl tells a reward function no length: rl.length_cap cannot be kept", "--set rl.length_cap=null, or --set backend=easyr1")  # fmt: skip


def _files(config: dict[str, Any]) -> Iterator[Found]:
    reward = config["reward"]["custom_reward_function"]
    file, name = Path(reward["path"]), reward["name"]
    if not file.is_file():
        yield (
            "error",
            f"the reward file {file} does not exist",
            "correct upstream.reward.custom_reward_function.path",
        )
    elif (parameters := signature(file, name)) is None:
        yield ("error", f"{file} has no function {name}", "correct upstream.reward.custom_reward_function.name")
    elif strange := [key for key in reward.get("reward_kwargs", {}) if key not in parameters[4:]]:
        yield ("error", f"reward_kwargs: {name} takes no {strange[0]!r}.{nearest(strange[0], parameters[4:])}", "")


def _way(config: dict[str, Any], recipe: Recipe) -> Iterator[Found]:
    assert recipe.rl is not None
    if recipe.hardware.nodes > 1 and not os.environ.get("RAY_ADDRESS"):
        yield ("warning", f"{recipe.hardware.nodes} nodes need a Ray cluster, and RAY_ADDRESS is not set: one is looked for on this machine", "ray start --head, then on each other node ray start --address=HEAD:6379")  # fmt: skip
    if recipe.rl.epochs != config["trainer"]["total_epochs"] and not config["trainer"].get("total_training_steps"):
        yield ("warning", f"verl counts whole epochs: rl.epochs {recipe.rl.epochs} is run as {config['trainer']['total_epochs']}", f"--set rl.epochs={config['trainer']['total_epochs']}")  # fmt: skip
    if verl_grpo.by_megatron(recipe):
        yield ("warning", "verl's Megatron path was never run by mtrl: its configuration is accepted by verl, no more", "pip install 'verl[megatron]==0.9.1' into its environment, or verl's image")  # fmt: skip
