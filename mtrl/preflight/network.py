"""The ports that a launch needs free, and the Ray cluster that it needs: checked with sockets alone.

One node needs nothing: LLaMA-Factory, torchrun and a Ray of the run's own take free ports. The user sets MASTER_PORT
and RAY_ADDRESS, and upstream reports a wrong one late or never: torchrun waits, Ray retries.
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
    """MASTER_PORT, MASTER_ADDR and RAY_ADDRESS, as far as this training uses them."""
    if recipe.stage == "sft":
        yield from _torchrun(recipe)
    elif cluster(recipe):
        yield _ray(os.environ["RAY_ADDRESS"])


def cluster(recipe: Recipe) -> bool:
    """Whether the training joins a Ray cluster by its address."""
    return recipe.trainer in ("easyr1", "verl") and os.environ.get("RAY_ADDRESS", "") not in OWN


def _torchrun(recipe: Recipe) -> Iterator[Check]:
    port, several = os.environ.get("MASTER_PORT"), recipe.hardware.nodes > 1
    if several and not (port and os.environ.get("MASTER_ADDR")):
        yield Check(
            "error",
            f"SFT over {recipe.hardware.nodes} nodes needs MASTER_ADDR and MASTER_PORT, the same on each node",
            f"NODE_RANK=0 MASTER_ADDR=$(hostname) MASTER_PORT={free()} mtrl sft ..., and NODE_RANK=1 on the next",
        )
    elif port and (several or recipe.hardware.gpus_per_node):
        instead = f"MASTER_PORT={free()}"
        instead += " on every node" if several else ", or unset it: one node finds a free port"
        if not port.isdecimal() or not 0 < int(port) < 65536:
            yield Check("error", f"MASTER_PORT {port!r} is not a port", instead)
        elif os.environ.get("NODE_RANK", "0") == "0" and taken(int(port)):
            yield Check("error", f"port {port} (MASTER_PORT) is in use on this machine", instead)


def _ray(address: str) -> Check:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        text = f"RAY_ADDRESS {address!r} is not HOST:PORT"
        return Check("error", text, "RAY_ADDRESS=HEAD:6379, as ray start --head printed it")
    if wrong := ray_address.problem(host, int(port)):
        start = f"ray start --head --port={port} on {host}"
        then = f"{start}, or unset RAY_ADDRESS: one node starts a Ray of its own"
        return Check("error", f"no Ray cluster answers at {address} (RAY_ADDRESS): {wrong}", then)
    return Check("ok", f"a Ray cluster answers at {address}; ray status shows its GPUs")


def free() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])


def taken(port: int) -> bool:
    """Whether another process listens on this port of this machine. It is bound as torchrun binds it."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("", port))
        except OSError:
            return True
        return False
