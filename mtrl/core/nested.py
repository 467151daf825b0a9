"""Nested mappings, such as a recipe: one laid over another, and the keys in which two differ."""

from __future__ import annotations

from typing import Any


def merge(base: dict[str, Any], over: dict[str, Any], new_blocks: bool = True) -> None:
    """Changes `base`: values of `over` replace its values, blocks are merged.

    A block that `base` does not have is added, unless `new_blocks` is false.
    """
    for key, value in over.items():
        if not isinstance(value, dict):
            base[key] = value
        elif isinstance(base.get(key), dict) or new_blocks:
            block = base.get(key)
            base[key] = block if isinstance(block, dict) else {}
            merge(base[key], value, new_blocks)


def differing(before: Any, now: Any, prefix: str = "") -> list[str]:
    """The keys, as a.b.c, whose values are not equal."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = []
        for key in dict.fromkeys([*before, *now]):
            found += differing(before.get(key), now.get(key), f"{prefix}.{key}" if prefix else str(key))
        return found
    return [] if before == now else [prefix]
