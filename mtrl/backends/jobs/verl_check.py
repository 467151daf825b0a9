"""verl's own check of configurations: `python verl_check.py FILE...` in verl's environment prints one line of JSON.

{FILE: {"unknown": keys that verl does not have, "error": what its own check raises or "", "engine": "dp" or
"megatron"}}; with unknown keys also "near": {unknown key: verl's most similar key, or ""}. verl accepts an unknown key
in a file without a message; hydra reports it on a command line only. The rank of an adapter is not checked where vLLM
is not installed: verl asks vLLM for the ranks that it supports.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FREE = (  # blocks whose keys belong to another library
    "env_vars",
    "reward_kwargs",
    "override_config",
    "override_optimizer_config",
    "override_transformer_config",
    "override_mcore_model_config",
    "override_ddp_config",
    "engine_kwargs",
    "vllm",
    "sampler_kwargs",
    "mm_processor_kwargs",
    "apply_chat_template_kwargs",
    "mbridge_config",
)


def main(files: list[str]) -> dict[str, dict[str, Any]]:
    import verl
    from hydra import initialize_config_dir

    warnings.filterwarnings("ignore")
    own = str(Path(verl.__file__).parent / "trainer" / "config")
    known: dict[str, Any] = {}
    found = {}
    for file in files:
        with initialize_config_dir(str(Path(file).parent.resolve()), version_base=None):
            result, config = _check(file)
        if config is not None:
            if (engine := config.model_engine) not in known:
                with initialize_config_dir(own, version_base=None):
                    known[engine] = _plain(_compose("ppo_trainer", [f"model_engine={engine}"]))
            strange = dict(_unknown(_plain(config), known[engine]))
            result |= {"engine": engine, "unknown": list(strange)}
            if strange:
                result["near"] = strange
        found[file] = result
    return found


def _compose(name: str, overrides: list[str]) -> Any:
    from hydra import compose

    return compose(name, overrides=overrides)


def _plain(config: Any) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=False)


def _check(file: str) -> tuple[dict[str, Any], Any]:
    """The result of verl's check, and the composed configuration, None where verl could not compose it."""
    from omegaconf import open_dict
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    result: dict[str, Any] = {"unknown": [], "error": "", "engine": ""}
    config = None
    try:
        config = _compose(Path(file).stem, [])
        checked = config.copy()
        if importlib.util.find_spec("vllm") is None:
            with open_dict(checked):
                checked.actor_rollout_ref.model.lora_rank = 0
        validate_config(checked, need_reference_policy(checked), need_critic(checked))
        for part in (checked.actor_rollout_ref.rollout, checked.algorithm):
            omega_conf_to_dataclass(part)
    except Exception as error:  # hydra, omegaconf and verl have no base class in common
        result["error"] = f"{type(error).__name__}: {error}".strip().replace("\n", " ")[:300]
    return result, config


def _unknown(ours: dict[str, Any], known: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(key, verl's most similar key or "") for each key that verl does not have."""
    for key, value in ours.items():
        if key not in known and key not in FREE:
            yield f"{prefix}{key}", next(iter(difflib.get_close_matches(key, known, n=1)), "")
        elif isinstance(value, dict) and isinstance(known.get(key), dict) and key not in FREE:
            yield from _unknown(value, known[key], f"{prefix}{key}.")


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # verl prints as it goes
        answer = main(sys.argv[1:])
    print(json.dumps(answer))
