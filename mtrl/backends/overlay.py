"""A recipe's `upstream:` block laid over a rendered template. Every value must be of the kind that the template has there.

The checks of a plan compute with what comes out, so a value of another kind is named here, as the user's mistake; an error in
those checks is then a bug. Upstream's own check of its keys and values comes after this one.
"""

from __future__ import annotations

from typing import Any

from mtrl.core.errors import UserError

# whole numbers of at least 1, which the checks divide by
_WORKER = "worker.actor.micro_batch_size_per_device_for"
_ROLES = "actor_rollout_ref"
COUNTS = {
    "easyr1": (
        "data.rollout_batch_size", "data.mini_rollout_batch_size", "worker.actor.global_batch_size", f"{_WORKER}_update",
        f"{_WORKER}_experience", "worker.actor.ulysses_size", "worker.rollout.tensor_parallel_size",
        "trainer.nnodes", "trainer.n_gpus_per_node",
    ),
    "verl": (
        "data.train_batch_size", f"{_ROLES}.actor.ppo_mini_batch_size", f"{_ROLES}.actor.ppo_micro_batch_size_per_gpu",
        f"{_ROLES}.actor.ulysses_sequence_parallel_size", f"{_ROLES}.rollout.tensor_model_parallel_size",
        f"{_ROLES}.rollout.data_parallel_size", f"{_ROLES}.rollout.log_prob_micro_batch_size_per_gpu",
        f"{_ROLES}.ref.log_prob_micro_batch_size_per_gpu",
        "trainer.nnodes", "trainer.n_gpus_per_node", "trainer.max_actor_ckpt_to_keep",
        *(f"{_ROLES}.actor.megatron.{key}_parallel_size"
          for key in ("tensor_model", "pipeline_model", "context", "expert_model", "expert_tensor")),
    ),
    "llamafactory": ("per_device_train_batch_size", "save_total_limit"),
    "trl": ("grpo.per_device_train_batch_size", "grpo.save_total_limit"),
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {  # of what the checks read and a template leaves out or has as null: an example
    "easyr1": dict.fromkeys(
        ("data.image_dir", "data.format_prompt", "data.override_chat_template", "trainer.load_checkpoint_path"), "text"
    ),
    "verl": {
        f"{_ROLES}.actor.megatron": {}, f"{_ROLES}.actor.fsdp_config": {}, f"{_ROLES}.model.lora_rank": 1,
        f"{_ROLES}.rollout.log_prob_max_token_len_per_gpu": 1, f"{_ROLES}.ref.log_prob_max_token_len_per_gpu": 1,
    },
    "llamafactory": {"deepspeed.zero_optimization": {}},
    "trl": {},
}  # fmt: skip
TRANSFORMERS = ("llamafactory", "trl")  # by its TrainingArguments
NULLABLE = (
    "deepspeed",
    "rollout.max_model_len",
    "torch_dtype",
    "mini_rollout_batch_size",
    "save_total_limit",
    "ckpt_to_keep",
)


def lay(config: dict[str, Any], over: dict[str, Any], trainer: str, prefix: str = "") -> None:
    """Changes `config`. Raises UserError naming the first value of `over` that is of a wrong kind."""
    for key, value in over.items():
        name = f"{prefix}{key}"
        there = config.get(key, ...)
        expected = "no block" if isinstance(value, dict) and there is None else _expected(name, value, there, trainer)
        if expected:
            raise UserError(
                f"upstream.{name} is {value!r}, and {expected} is expected", "correct the recipe's upstream: block"
            )
        if isinstance(value, dict):
            inner = config.get(key)
            config[key] = inner if isinstance(inner, dict) else {}
            lay(config[key], value, trainer, f"{name}.")
        else:
            config[key] = value


def _expected(name: str, value: Any, there: Any, trainer: str) -> str:
    """What is expected in place of `value`, "" where it is of the kind that is `there`: ... where no such key is."""
    there = None if there is ... else there
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in COUNTS[trainer]:
        whole = number and isinstance(value, int) and value >= 1
        return "" if whole or (value is None and name.endswith(NULLABLE)) else "a whole number of at least 1"
    kind = KINDS[trainer].get(name) if there is None else there
    may_be_null = (trainer in TRANSFORMERS and isinstance(kind, str | bool)) or isinstance(kind, list)
    if value is None and (
        (there is None and not isinstance(kind, dict | int)) or name.endswith(NULLABLE) or may_be_null
    ):
        return ""
    if isinstance(kind, dict):
        return "" if isinstance(value, dict) or (name == "deepspeed" and isinstance(value, str)) else "a block of keys"
    if isinstance(kind, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(kind, int | float):
        whole = isinstance(kind, int) and trainer in (
            "easyr1",
            "verl",
        )  # transformers takes 0.1 for a tenth of all steps
        fits = number and (isinstance(value, int) or not whole)
        return "" if fits else "a whole number" if whole else "a number"
    if isinstance(kind, str) and kind != "auto":
        several = isinstance(value, list) and trainer in TRANSFORMERS  # report_to
        return "" if isinstance(value, str) or several else "text"
    return ""
