"""upstream.yaml of one run: rendered once, and read by dotted key and type."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from mtrl.backends import registry
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import UserError
from mtrl.core.files import parse_yaml
from mtrl.core.run_files import CONFIG
from mtrl.core.rundir import Run

_REQUIRED: Any = object()


class Rendered:
    """The text that a launch writes to upstream.yaml. It is rendered when it is first read; UserError if that fails.

    `upstream:` in a recipe can give any key any value. A reader raises UserError for a value of another type, with the
    key, the value and what is expected. Its `default` is for a key that is missing or null; without one, such a key is
    an error.
    """

    def __init__(self, recipe: Recipe, run: Run, data: Path) -> None:
        self._recipe, self._run, self._data = recipe, run, data.resolve()

    @cached_property
    def text(self) -> str:
        return registry.of(self._recipe).config(self._recipe, self._run, self._data)

    @cached_property
    def values(self) -> dict[str, Any]:
        found: dict[str, Any] = parse_yaml(self.text, CONFIG)
        return found

    def whole(self, key: str, default: int = _REQUIRED, least: int = 1) -> int:
        expected = f"a whole number of at least {least}"
        return int(self._read(key, default, expected, lambda value: type(value) is int and value >= least))

    def number(self, key: str, default: float = _REQUIRED) -> float:
        """A finite number."""
        return float(self._read(key, default, "a number", lambda v: type(v) in (int, float) and math.isfinite(v)))

    def flag(self, key: str, default: bool = _REQUIRED) -> bool:
        return bool(self._read(key, default, "true or false", lambda value: isinstance(value, bool)))

    def string(self, key: str, default: str = _REQUIRED) -> str:
        return str(self._read(key, default, "text", lambda value: isinstance(value, str)))

    def block(self, key: str) -> dict[str, Any]:
        """A block of keys; {} if it is missing or null."""
        return dict(self._read(key, {}, "a block of keys", lambda value: isinstance(value, dict)))

    def get(self, key: str, default: Any = None) -> Any:
        """The value as it is, `default` if the key is missing."""
        block = self.values
        for part in key.split("."):
            if not isinstance(block, dict) or part not in block:
                return default
            block = block[part]
        return block

    def overrides(self, key: str) -> bool:
        """Whether the recipe's `upstream:` block gives this key, or a value in place of a block that would hold it."""
        block: Any = self._recipe.upstream
        for part in key.split("."):
            if not isinstance(block, dict):
                return True
            if part not in block:
                return False
            block = block[part]
        return True

    def _read(self, key: str, default: Any, expected: str, fits: Callable[[Any], bool]) -> Any:
        value = self.get(key)
        if value is None and default is not _REQUIRED:
            return default
        if fits(value):
            return value
        text = f"upstream.{key} is {'null' if value is None else repr(value)}: expected {expected}"
        raise UserError(text, "correct upstream: in the recipe") if self.overrides(key) else TypeError(text)
