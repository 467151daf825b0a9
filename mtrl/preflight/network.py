"""The ports that a launch needs free, and the Ray cluster that it needs there: found before a start, with sockets alone.

One node needs nothing: LLaMA-Factory and torchrun take a free port, and a Ray of the run's own does too. MASTER_PORT and
RAY_ADDRESS are the user's, and what upstream says of a wrong one comes late or never: torchrun waits, Ray retries.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

from mtrl.config.recipe_types import Recipe
from mtrl.core import ray_address
from mtrl.core.finding import Check

OWN = ("", "auto", "local")  # no address: looked for on this machine, or a Ray of its own


def check(recipe: Recipe) -> Iterator[Check]:
    """What of MASTER_PORT, MASTER_ADDR and RAY_ADDRESS would stop this training."""
    if recipe.stage == "sft":
        yield from _torchrun(recipe)
    elif recipe.trainer != "trl":  # the others run on Ray
        yield from _ray(os.environ.get("RAY_ADDRESS", ""))


def _torchrun(recipe: Recipe) -> Iterator[Check]:
    port, several = os.environ.get("MASTER_PORT"), recipe.hardware.nodes > 1
    if several and not (port and os.environ.get("MASTER_ADDR")):
        yield Check(
            "error",
            f"SFT over {recipe.hardware.nodes} nodes needs MASTER_ADDR and MASTER_PORT, the same on each",
            f"NODE_RANK=0 MASTER_ADDR=$(hostname) MASTER_PORT={free()} mtrl sft ..., and NODE_RANK=1 on the next",
        )
    elif port and (several or recipe.hardware.gpus_per_node):
        instead = f"MASTER_PORT={free()}" + (
            " on every node" if several else ", or unset it: one node finds a free one"
        )
        if not port.isdecimal() or not 0 < int(port) < 65536:
            yield Check("error", f"MASTER_PORT {port!r} is no port", instead)
        elif os.environ.get("NODE_RANK", "0") == "0" and taken(int(port)):
            yield Check("error", f"port {port} (MASTER_PORT) is taken on this machine", instead)


def _ray(address: str) -> Iterator[Check]:
    if address in OWN:
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        yield Check(
            "error",
            f"RAY_ADDRESS {address!r} is not HOST:PORT",
            "RAY_ADDRESS=HEAD:6379, as ray start --head printed it",
        )
    elif wrong := ray_address.problem(host, int(port)):
        yield Check(
            "error",
            f"no Ray cluster answers at {address} (RAY_ADDRESS): {wrong}",
            f"ray start --head --port={port} on {host}, or unset RAY_ADDRESS for a Ray of the run's own on one node",
        )
    else:
        yield Check("ok", f"a Ray cluster answers at {address}; its GPUs are what ray status shows")


def free() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])


def taken(port: int) -> bool:
    """Whether another process listens on this port of this machine. torchrun binds it as this does."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("", port))
        except OSError:
            return True
        return False
