"""A model folder whose own image processor holds the recipe's image budget.

LLaMA-Factory shrinks an image by its own rule before the model's processor does, and rounds up where the processor
rounds down (640 x 480 at 65,536 pixels: 63 tokens against 54); it also keeps the processor's own lower bound. So it is
given the budget where TRL and vLLM take it too: in preprocessor_config.json. All three then resize once, alike.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from mtrl.core.files import read_json, symlink, write_json

FILE = "preprocessor_config.json"
UNLIMITED = 1_000_000_000  # LLaMA-Factory's own limit, when the processor's is the one that counts


class Fitted(NamedTuple):
    """The size in pixels that the model sees. `limited`: by {min_pixels, max_pixels}, not by rounding alone."""

    width: int
    height: int
    limited: bool


def fitted(width: int, height: int, image: dict[str, int], side: int) -> Fitted:
    """Qwen's smart_resize. `side`: of a merged patch in pixels; width and height are multiples of it."""
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
    """{min_pixels, max_pixels} as an image processor's `size`: transformers 5.23 takes it in no other words."""
    return {"shortest_edge": image["min_pixels"], "longest_edge": image["max_pixels"]}


def with_budget(config: dict[str, Any], image: dict[str, int]) -> dict[str, Any]:
    """A preprocessor config with {min_pixels, max_pixels}, in Qwen3-VL's words and, where it has them, Qwen2.5-VL's."""
    config = {**config, "size": size_of(image)}
    return {**config, **{key: value for key, value in image.items() if config.get(key) is not None}}


def overlay(model: Path, image: dict[str, int], target: Path) -> bool:
    """Makes `target` a folder of links to `model`'s files, with the budget in its own preprocessor config.

    False, and nothing made, where the model has no preprocessor config of its own to change.
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
