"""A recipe's `upstream:` block laid over a rendered template.

Where the template has a value, another kind of value is a mistake that is reported here. The keys that mtrl's checks
compute with are read by type (mtrl/preflight/rendered.py), and upstream checks all of them.
"""

from __future__ import annotations

from typing import Any

from mtrl.core.errors import UserError
from mtrl.core.nested import merge


def lay(config: dict[str, Any], over: dict[str, Any]) -> None:
    """Changes `config`. Raises UserError with the first value of `over` that is of another kind than the template's."""
    _check(config, over, "")
    merge(config, over)


def _check(config: dict[str, Any], over: dict[str, Any], prefix: str) -> None:
    for key, value in over.items():
        name, there = f"{prefix}{key}", config.get(key)
        if expected := _expected(name, value, there):
            raise UserError(f"upstream.{name} is {value!r}: expected {expected}", "correct upstream: in the recipe")
        if isinstance(value, dict):
            _check(there if isinstance(there, dict) else {}, value, f"{name}.")


def _expected(name: str, value: Any, there: Any) -> str:
    """What is expected instead of `value`; "" if it is of the kind of `there`, which may be null, "auto" or a list."""
    if value is None or there is None or there == "auto" or isinstance(there, list):
        return ""
    if isinstance(there, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(there, int | float):  # transformers takes 0.1 for a tenth of all steps
        return "" if isinstance(value, int | float) and not isinstance(value, bool) else "a number"
    if isinstance(there, str):
        return "" if isinstance(value, str | list) else "text"  # transformers' report_to takes a list
    return "" if isinstance(value, dict) or (name == "deepspeed" and isinstance(value, str)) else "a block of keys"
