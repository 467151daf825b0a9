"""Writes a trained model as the hub publishes models, so that transformers 4, transformers 5 and vLLM load it.

The experts are in the hub's layout, the config has keys that old and new transformers read, and the processor, chat
template and generation config are the base model's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import read_json, write_json
from mtrl.models import budget, experts
from mtrl.models.model_folder import OTHER_FILES

TIED = {"lm_head.weight"}  # some trainers save it although it is the same tensor as the embedding


def write(source: Path, base: Path | None, target: Path, image: dict[str, int]) -> Literal["none", "hub", "transposed"]:
    """Copies the model in `source` to `target` and returns the layout of its experts in `source`.

    `base` is the folder of the model that was trained, None if it is not on this machine; `image` is the recipe's
    {min_pixels, max_pixels}. Raises UserError and MtrlError.
    """
    config = _readable_config(read_json(source / "config.json"), base)
    write_json(target / "config.json", config)
    found = experts.headers(source)
    if not found:
        raise UserError(f"{source} has no safetensors weights", "export another step")
    layout = experts.layout({name: tensor.shape for name, tensor in found.items()}, config)
    _compare_names(found, base)
    for file in sorted({tensor.file for tensor in found.values()}):
        if layout == "transposed":
            experts.copy_transposed(file, target / file.name)
        else:
            shutil.copyfile(file, target / file.name)
    if (index := source / "model.safetensors.index.json").exists():
        shutil.copyfile(index, target / index.name)
    for name in OTHER_FILES:
        # the base model's files first: training changes none, and transformers 4 cannot read some that 5 writes
        for folder in (base, source):
            if folder is not None and (folder / name).exists():
                shutil.copyfile(folder / name, target / name)
                break
    if (target / budget.FILE).exists():  # a server without image options then resizes as training did
        write_json(target / budget.FILE, budget.with_budget(read_json(target / budget.FILE), image))
    if not (target / "tokenizer_config.json").exists() or not (target / budget.FILE).exists():
        raise MtrlError(
            f"{source} and its base model lack a tokenizer or preprocessor config",
            "set model.path to a folder that has both",
        )
    return layout


def _readable_config(config: dict[str, Any], base: Path | None) -> dict[str, Any]:
    """The config in the keys of transformers 4, which 5 and vLLM read too. 4 misreads some of 5's without an error."""
    text = config.get("text_config", config)
    reference = read_json(base / "config.json") if base else {}
    known = reference.get("text_config", reference)
    if "rope_parameters" in text:
        rope = dict(text.pop("rope_parameters"))
        text["rope_theta"] = rope.pop("rope_theta", known.get("rope_theta"))
        text["rope_scaling"] = known.get("rope_scaling") or rope
    if "num_local_experts" in text:
        text["num_experts"] = text.pop("num_local_experts")
    if "num_experts" in text:
        text.setdefault("norm_topk_prob", known.get("norm_topk_prob", True))  # vLLM 0.32 fails without it
    return config


def _compare_names(found: Iterable[str], base: Path | None) -> None:
    """Raises MtrlError if the tensors `found` are not those of the base model."""
    if base is None:
        return
    want = set(experts.headers(base))
    missing, extra = sorted(want - set(found) - TIED), sorted(set(found) - want - TIED)
    if want and (missing or extra):
        named = [
            f"{kind} {names[0]} and {len(names) - 1} more"
            for kind, names in (("missing", missing), ("not in the base model", extra))
            if names
        ]
        raise MtrlError(f"the checkpoint's tensors are not the base model's: {'; '.join(named)}")
