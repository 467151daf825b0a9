"""A model folder whose image processor has the recipe's image budget: the least and most pixels of an image.

LLaMA-Factory resizes an image by its own rule before the model's processor does, and rounds up where the processor
rounds down (640 x 480 pixels with a limit of 65,536: 63 tokens instead of 54). It also keeps the processor's own lower
limit. Therefore the budget is written to preprocessor_config.json, which LLaMA-Factory, TRL and vLLM all read. Each
of them then resizes an image once, to the same size.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from mtrl.core.files import read_json, symlink, write_json

FILE = "preprocessor_config.json"
UNLIMITED = 1_000_000_000  # pixels: LLaMA-Factory's own limit, so high that only the processor's applies


class Fitted(NamedTuple):
    """The size in pixels that the model sees. `limited`: whether {min_pixels, max_pixels} changed it."""

    width: int
    height: int
    limited: bool


def fitted(width: int, height: int, image: dict[str, int], side: int) -> Fitted:
    """Qwen's smart_resize. `side` is that of a merged patch in pixels; the new width and height are multiples of it."""
    wide, high = max(side, round(width / side) * side), max(side, round(height / side) * side)
    if wide * high > image["max_pixels"]:
        scale = math.sqrt(width * height / image["max_pixels"])
        wide, high = (max(side, math.floor(edge / scale / side) * side) for edge in (width, height))
        return Fitted(wide, high, True)
    if wide * high < image["min_pixels"]:
        scale = math.sqrt(image["min_pixels"] / (width * height))
        wide, high = (math.ceil(edge * scale / side) * side for edge in (width, height))
        return Fitted(wide, high, True)
    return Fitted(wide, high, False)


def size_of(image: dict[str, int]) -> dict[str, int]:
    """{min_pixels, max_pixels} as an image processor's `size`: transformers 5.23 accepts no other keys."""
    return {"shortest_edge": image["min_pixels"], "longest_edge": image["max_pixels"]}


def with_budget(config: dict[str, Any], image: dict[str, int]) -> dict[str, Any]:
    """A preprocessor config with the budget in Qwen3-VL's keys, and in Qwen2.5-VL's if it has those."""
    config = {**config, "size": size_of(image)}
    return {**config, **{key: value for key, value in image.items() if config.get(key) is not None}}


def overlay(model: Path, image: dict[str, int], target: Path) -> bool:
    """Makes `target` a folder of links to `model`'s files, with a preprocessor config that has the budget.

    Returns False and makes nothing if the model has no preprocessor config.
    """
    if not (model / FILE).exists():
        return False
    target.mkdir(parents=True, exist_ok=True)
    for old in target.iterdir():
        old.unlink()
    for file in model.iterdir():
        if file.is_file() and file.name != FILE:
            symlink(file.resolve(), target / file.name)
    write_json(target / FILE, with_budget(read_json(model / FILE), image))
    return True
