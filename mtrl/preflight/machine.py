"""This machine: its GPUs and its memory, compared with the hardware preset's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mtrl.config.recipe_types import Recipe
from mtrl.core.finding import Check
from mtrl.preflight import network

IDLE = 2  # GB in use on a GPU that nobody trains on: a desktop, a driver


class Gpu(NamedTuple):
    """In GB. 0 where nvidia-smi does not know: GPUs that share the host's memory."""

    memory: float
    used: float


def gpus() -> list[Gpu]:
    """The GPUs of this machine; [] if it has none."""
    query = ["nvidia-smi", "--query-gpu=memory.total,memory.used", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    sizes = [[size.strip() for size in line.split(",")] for line in listed.splitlines() if "," in line]
    return [Gpu(*(int(size) * 2**20 / 1e9 if size.isdecimal() else 0 for size in pair)) for pair in sizes]


def host_memory() -> float:
    """GB of this machine, or of the container that this runs in."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    try:
        return min(whole, int(Path("/sys/fs/cgroup/memory.max").read_text()) / 1e9)
    except (OSError, ValueError):
        return whole


def check(recipe: Recipe) -> Iterator[Check]:
    """Whether the GPUs that the hardware preset wants are here and idle. A Ray cluster has GPUs that are not here."""
    wanted, here = recipe.hardware.gpus_per_node, gpus()
    if not wanted:
        return
    if len(here) < wanted:
        if not network.cluster(recipe):
            text = f"hardware {recipe.hardware.name} needs {wanted} GPUs on this node, which has {len(here)}"
            yield Check("error", text, "--hardware NAME, or run this on the GPU machine")
    elif busy := [(number, gpu.used) for number, gpu in enumerate(here) if gpu.used > IDLE]:
        number, used = busy[0]
        text = f"GPU {number} already has {used:.0f} GB in use ({len(busy)} of {len(here)} GPUs are not idle)"
        yield Check("warning", text, "nvidia-smi shows who uses it; CUDA_VISIBLE_DEVICES chooses other GPUs")
