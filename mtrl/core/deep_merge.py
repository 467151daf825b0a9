"""Nested mappings laid one over another."""

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
