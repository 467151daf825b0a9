"""Settings that nothing would use: a --set of one is an error, since it would otherwise be ignored.

A preset serves every trainer, so a preset may hold what only some of them use. A recipe's own blocks are recipe.py's to check.
"""

from __future__ import annotations

from collections.abc import Iterable

from mtrl.core.errors import UserError

_SFT_ALONE = ("model.template", "hardware.deepspeed", "hardware.sft_per_device_batch_size")
_RL_ALONE = ("hardware.rl_backend", "hardware.rl_per_device_batch_size")
BY_TRAINER = {  # keys of the presets that a trainer does not use
    "llamafactory": (*_RL_ALONE, "model.tensor_parallel_size", "model.expert_parallel_size"),
    "easyr1": (*_SFT_ALONE, "model.expert_parallel_size"),
    "verl": _SFT_ALONE,
    "trl": (*_SFT_ALONE, "model.expert_parallel_size"),
}
STAGES = {"sft": "SFT", "rl": "RL"}


def of_another_stage(method: str, key: str) -> None:
    """Raises UserError where `key` is one of SFT's and `method` trains by RL, or the other way round, or trains nothing."""
    of, trained = key.partition(".")[0], method.partition("_")[0]
    if of in STAGES and of != trained:
        what = (
            f"trains by {STAGES[trained]}, whose keys begin with {trained}." if trained in STAGES else "trains nothing"
        )
        raise UserError(
            f"--set {key}: this key belongs to {STAGES[of]}, and the recipe {method} {what}", f"leave out {key}"
        )


def by_trainer(trainer: str, keys: Iterable[str]) -> None:
    """Raises UserError where `trainer` does not use one of the keys that were set."""
    for key in keys:
        if key in BY_TRAINER[trainer]:
            raise UserError(f"--set {key}: {trainer}, which trains this recipe, does not use it", f"leave out {key}")
