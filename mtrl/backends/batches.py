"""The batch of one optimizer step, shared by the devices of a Hugging Face trainer."""

from __future__ import annotations

import math
from typing import NamedTuple

from mtrl.core.errors import UserError


class Share(NamedTuple):
    """What one device does in an optimizer step: `accumulation` forward passes of `per_device` rows."""

    per_device: int
    accumulation: int


def share(batch: int, per_device: int, world: int, what: str) -> Share:
    """One device's share of `batch`, exactly; at most `per_device` rows at once, fewer where they divide the share.

    Raises UserError with the nearest batches that divide, where `world` devices cannot share `batch` evenly. `what`
    names the recipe's key.
    """
    if batch % world:
        below, above = batch // world * world, math.ceil(batch / world) * world
        near = " or ".join(str(n) for n in (below, above) if n > 0)
        raise UserError(f"{what} {batch} cannot be shared by {world} devices", f"nearest that can: {near}")
    rows = batch // world
    size = next(n for n in range(min(per_device, rows), 0, -1) if rows % n == 0)
    return Share(size, rows // size)
