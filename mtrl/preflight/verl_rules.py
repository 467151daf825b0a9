"""verl's configuration. First verl's own check of it, where verl is installed; then what that check leaves out.

jobs/verl_check.py has verl compose upstream.yaml and check it. file:line are verl's at 0.9.1.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mtrl.backends import envs
from mtrl.backends.envs.tested import TESTED
from mtrl.backends.jobs import verl_check
from mtrl.config.recipe_types import Recipe
from mtrl.core import child
from mtrl.core.errors import UserError
from mtrl.core.files import write_text
from mtrl.core.finding import Check
from mtrl.core.run_files import CONFIG
from mtrl.core.rundir import Run
from mtrl.preflight import ray_rules
from mtrl.preflight.ray_rules import Names, Rule, divisor
from mtrl.preflight.rendered import Rendered

RELEASE = envs.release(TESTED["verl"].version)
ROLES = "actor_rollout_ref"
MAX_RANK = 512  # vLLM's largest, in verl/workers/rollout/vllm_rollout/utils.py:94
NAMES = Names(
    trainer="verl",
    batch=f"{ROLES}.actor.ppo_mini_batch_size",
    rolled="data.train_batch_size",
    rollout=f"{ROLES}.rollout",
    tensor=f"{ROLES}.rollout.tensor_model_parallel_size",  # engine_workers.py:659
    ulysses=f"{ROLES}.actor.ulysses_sequence_parallel_size",
    validate="trainer.test_freq",
    max_steps="trainer.total_training_steps",
    loggers=(
        "wandb", "mlflow", "swanlab", "vemlp_wandb", "tensorboard", "console", "clearml", "trackio", "file",
        "rl_insight",
    ),  # tracking.py:42
    choices={
        # core_algos.py:89; gae and remax need more than is set up here
        "algorithm.adv_estimator": ("grpo", "grpo_passk", "grpo_vectorized", "rloo", "rloo_vectorized",
                                    "reinforce_plus_plus", "reinforce_plus_plus_baseline", "opo", "gpg", "gdpo"),
        # core_algos.py:2228
        f"{ROLES}.actor.kl_loss_type": ("low_var_kl", "k3", "kl", "k1", "abs", "mse", "k2"),
        f"{ROLES}.rollout.name": ("vllm",),
        "data.truncation": ("error", "left", "right", "middle"),
        "trainer.resume_mode": ("auto",),  # with any other a run does not resume
    },
)  # fmt: skip


def check(recipe: Recipe, run: Run, config: Rendered) -> Iterator[Check]:
    found = list(_installed())
    if not found:
        found += _asked(config.text)
    found += [*_sizes(config), *ray_rules.values(config, NAMES), *_values(config, recipe), *_reward(config)]
    found += [*ray_rules.run(config, NAMES, recipe)]
    yield from found
    if not any(one.level == "error" for one in found):
        gpus, tensor = ray_rules.world(config), config.whole(NAMES.tensor)
        by = "Megatron" if _by_megatron(config) else "FSDP"
        text = f"verl's sizes and files are right: {gpus} GPUs by {by}, rollouts by {gpus // tensor} x {tensor}"
        yield Check("ok", text)


def _by_megatron(config: Rendered) -> bool:
    return bool(config.block(f"{ROLES}.actor.megatron"))


def _installed() -> Iterator[Check]:
    """Nothing if verl is not installed, which is another check's error."""
    try:
        version = envs.versions(envs.interpreter("verl"), ("verl",))["verl"]
    except UserError:
        return
    if version and envs.release(version) != RELEASE:
        own = " (EasyR1's package is called verl too)" if version.startswith("0.3.") else ""
        text = (
            f"verl {version}{own} is outside {'.'.join(map(str, RELEASE))}.x: mtrl knows the keys and "
            "logs of that range"
        )
        yield Check("error", text, "make setup-verl")


def _asked(text: str) -> Iterator[Check]:
    """verl's own verdict on upstream.yaml, in some seconds; nothing if it is not installed."""
    try:
        python = envs.interpreter("verl")
    except UserError:
        return
    if envs.versions(python, ("verl",))["verl"] is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / CONFIG
        write_text(file, text)
        done = subprocess.run([python, verl_check.__file__, file], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        text = f"verl's own check of its configuration did not run: {child.reason(done.stderr)}"
        yield Check("error", text, "make setup-verl")
        return
    said = json.loads(done.stdout)[str(file)]
    for key in said["unknown"]:
        near = f" Did you mean {said['near'][key]!r}?" if said["near"][key] else ""
        text = f"verl has no key {key!r}, and would pass over it silently.{near}"
        yield Check("error", text, "correct upstream: in the recipe")
    if said["error"]:
        yield Check("error", f"verl does not accept this configuration: {said['error']}", "correct the recipe")
    elif not said["unknown"]:
        yield Check("ok", f"verl's own check accepts this configuration ({said['engine']} engine)")


def _sizes(config: Rendered) -> list[Check]:
    gpus, per_node = ray_rules.world(config), config.whole("trainer.n_gpus_per_node", least=0)
    if not gpus:
        return ray_rules.no_gpu(NAMES)
    found = ray_rules.sizes(config, NAMES)
    replicas = max(1, gpus // config.whole(NAMES.ulysses, 1))  # engine/fsdp/transformer_impl.py:652
    if _by_megatron(config):
        sizes = f"{ROLES}.actor.megatron"
        tensor, context, pipeline, expert, expert_tensor = (
            config.whole(f"{sizes}.{name}_parallel_size", 1)
            for name in ("tensor_model", "context", "pipeline_model", "expert_model", "expert_tensor")
        )
        shared, experts = tensor * context * pipeline, expert * expert_tensor * pipeline
        # utils/config.py:118, of fixed micro-batches only; Megatron's own parallel_state for the experts
        found += ray_rules.broken(
            "verl",
            Rule(
                gpus % shared == 0,
                f"Megatron's tensor x pipeline x context {shared} does not divide {gpus} GPUs",
                f"a number of GPUs that {shared} divides",
            ),
            Rule(
                gpus % experts == 0,
                f"Megatron's expert parallelism {experts} does not divide {gpus} GPUs",
                f"a number of GPUs that {math.lcm(shared, experts)} divides",
            ),
        )
        if gpus % shared:
            return found
        replicas = gpus // shared
    batch, rolled, n = (config.whole(key) for key in (NAMES.batch, NAMES.rolled, f"{ROLES}.rollout.n"))
    both = ray_rules.batches(config, NAMES, 1, replicas // math.gcd(replicas, n))
    whole = config.whole(NAMES.tensor) * config.whole(f"{ROLES}.rollout.data_parallel_size", 1)
    rank = config.whole(f"{ROLES}.model.lora_rank", 0, least=0)
    found += ray_rules.broken(
        "verl",
        # config/actor.py:196, of fixed micro-batches only; otherwise padded with rows that teach nothing
        Rule(rolled % batch == 0, f"rl.rollout_batch_size {rolled} is not a multiple of rl.batch_size {batch}", both),
        # engine_workers.py:267, in the first update
        Rule(
            batch * n % replicas == 0,
            f"{replicas} replicas cannot share rl.batch_size {batch} x rl.n {n} answers",
            both,
        ),
        Rule(  # rollout/replica.py:114
            whole % min(whole, per_node) == 0,
            f"a rollout of {whole} GPUs does not fill nodes of {per_node}",
            f"--set upstream.{NAMES.tensor}={per_node}",
        ),
        Rule(
            rank <= MAX_RANK,
            f"vLLM takes adapters of up to rank {MAX_RANK}, not {rank}",
            f"hardware.lora.rank: {MAX_RANK}",
        ),
    )
    return [*found, *_lengths(config), *_micro_batches(config, batch * n // replicas, rolled * n // replicas)]


def _lengths(config: Rendered) -> list[Check]:
    keys = []
    if not config.flag(f"{ROLES}.rollout.enable_chunked_prefill", True):
        keys.append(f"{ROLES}.rollout.max_num_batched_tokens")  # vllm_async_server.py:1113
    if config.flag(f"{ROLES}.actor.use_dynamic_bsz"):  # utils/seqlen_balancing.py:384
        blocks = ("actor.ppo", "rollout.log_prob", "ref.log_prob")
        keys += [f"{ROLES}.{block}_max_token_len_per_gpu" for block in blocks]
    tokens = ray_rules.length(config)  # without a limit of its own a block has the actor's
    return ray_rules.broken("verl", *(ray_rules.fits(key, config.whole(key, tokens), tokens) for key in keys))


def _micro_batches(config: Rendered, update: int, rollout: int) -> list[Check]:
    """`update` and `rollout` are the answers per replica."""
    if config.flag(f"{ROLES}.actor.use_dynamic_bsz"):
        return []
    rules = []
    shares = {"actor.ppo": update, "rollout.log_prob": rollout, "ref.log_prob": rollout}
    for block, answers in shares.items():  # engine/utils.py:125
        key = f"{ROLES}.{block}_micro_batch_size_per_gpu"
        micro = config.whole(key)
        text = f"{answers} answers per replica are not a multiple of {key} {micro}"
        rules.append(Rule(answers % micro == 0, text, f"--set upstream.{key}={divisor(answers, micro)}"))
    return ray_rules.broken("verl", *rules)


def _values(config: Rendered, recipe: Recipe) -> Iterator[Check]:
    if config.get("trainer.max_actor_ckpt_to_keep"):
        text = "trainer.max_actor_ckpt_to_keep keeps the newest checkpoints, and may delete the best"
        yield Check("warning", text, "mtrl export --step best takes the best of those that are left")
    if config.flag("data.filter_overlong_prompts"):  # rl_dataset.py:225
        text = "data.filter_overlong_prompts drops a row that is too long or broken, without an error"
        yield Check("warning", text, "--set upstream.data.filter_overlong_prompts=false")
    patch, models = config.whole("data.image_patch_size"), recipe.model.patch_size
    if patch != models:
        text = f"data.image_patch_size {patch} is not the model's {models}: verl would count image tokens wrong"
        yield Check("error", text, f"--set upstream.data.image_patch_size={models}")
    mode, kept = f"{ROLES}.actor.megatron.router_replay.mode", f"{ROLES}.rollout.enable_rollout_routing_replay"
    if (config.string(mode, "disabled") == "R3") != config.flag(kept, False):  # an error in the first step, or unused
        text = f"a rollout's experts are replayed if {mode} is R3 and {kept} is true, and only one of the two is"
        yield Check("error", text, "--set rl.router_replay=rollout in place of both")
    if _by_megatron(config):
        replay = "" if config.string(mode, "disabled") == "disabled" else ", nor its router replay"
        text = f"mtrl never ran verl's Megatron path{replay}: verl accepts its configuration, and no more is known"
        then = "pip install 'verl[megatron]==0.9.1' into its environment, or use verl's image"
        yield Check("warning", text, then)


def _reward(config: Rendered) -> Iterator[Check]:
    key = "reward.custom_reward_function"
    file, name = Path(config.string(f"{key}.path")), config.string(f"{key}.name")
    yield from ray_rules.reward(file, name, key, config.block(f"{key}.reward_kwargs"), given=4)
