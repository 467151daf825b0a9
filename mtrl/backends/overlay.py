"""A recipe's `upstream:` block laid over a rendered template. Every value must be of the kind that the template has there.

The checks of a plan compute with the result, so a value of another kind is reported here, as the user's mistake; an error in
those checks is then a bug. Upstream's own check of its keys and values comes later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mtrl.core.errors import UserError
from mtrl.core.nested import merge


@dataclass(frozen=True)
class Kinds:
    """What values below `upstream:` must be, beyond the kind of the template's own values. Keys are written a.b.c."""

    counts: tuple[str, ...]
    """Whole numbers of at least 1, which the checks divide by."""
    examples: Mapping[str, Any] = field(default_factory=dict)
    """An example value for each key that the checks read and the template leaves out or has as null."""
    nullable: tuple[str, ...] = ()
    """Keys that may be null although the template has a value, or although they are counts."""
    transformers: bool = False
    """The trainer reads its values by transformers' TrainingArguments: 0.1 of all steps, a list of loggers, null for text."""


def lay(config: dict[str, Any], over: dict[str, Any], kinds: Kinds) -> None:
    """Changes `config`. Raises UserError with the first value of `over` that is of a wrong kind."""
    _check(config, over, kinds, "")
    merge(config, over)


def _check(config: dict[str, Any], over: dict[str, Any], kinds: Kinds, prefix: str) -> None:
    for key, value in over.items():
        name, there = f"{prefix}{key}", config.get(key)
        null = key in config and there is None
        if expected := "no block" if isinstance(value, dict) and null else _expected(name, value, there, kinds):
            raise UserError(
                f"upstream.{name} is {value!r}, and {expected} is expected", "correct the recipe's upstream: block"
            )
        if isinstance(value, dict):
            _check(there if isinstance(there, dict) else {}, value, kinds, f"{name}.")


def _expected(name: str, value: Any, there: Any, kinds: Kinds) -> str:
    """What is expected in place of `value`, "" where it is of the kind of `there`, which is None for a key that is new."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in kinds.counts:
        whole = number and isinstance(value, int) and value >= 1
        return "" if whole or (value is None and name in kinds.nullable) else "a whole number of at least 1"
    kind = kinds.examples.get(name) if there is None else there
    if value is None and (
        name in kinds.nullable
        or isinstance(kind, list)
        or (there is None and not isinstance(kind, dict | int))
        or (kinds.transformers and isinstance(kind, str | bool))
    ):
        return ""
    if isinstance(kind, dict):
        return "" if isinstance(value, dict) or (name == "deepspeed" and isinstance(value, str)) else "a block of keys"
    if isinstance(kind, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(kind, int | float):
        whole = isinstance(kind, int) and not kinds.transformers
        fits = number and (isinstance(value, int) or not whole)
        return "" if fits else "a whole number" if whole else "a number"
    if isinstance(kind, str) and kind != "auto":
        several = isinstance(value, list) and kinds.transformers  # report_to
        return "" if isinstance(value, str) or several else "text"
    return ""
