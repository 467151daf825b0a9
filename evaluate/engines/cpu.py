"""vLLM on a CPU: the size of its KV cache, and a warning that a real model is slow.

vLLM reads the size from an environment variable, in whole GiB. Without it, it may take half of the memory. The size
here is for SEQUENCES requests of the longest kind if memory allows, and for at least one.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from mtrl.models.model_folder import local_model

VARIABLE = "VLLM_CPU_KVCACHE_SPACE"
GIB = 2**30
SEQUENCES = 4  # ours: one request keeps two cores busy; more would only wait in memory
BLOCK = 128  # tokens; vLLM's block size on a CPU
SPARE = 1.25, 1 << 30  # what loading needs: the weights and a quarter more, and 1 GiB
SLOW = 1 << 30  # bytes of weights from which the user is warned
CGROUPS = (  # limit, use, statistics, and its key for cached files; version 2, then 1
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def cache_gib(text: Any, tokens: int, weights: int, free: int) -> int:
    """GiB for a model with the language configuration `text` and requests of at most `tokens`.

    `weights` and `free` memory are in bytes.
    """
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    size = 4 if "float32" in str(getattr(text, "dtype", None) or getattr(text, "torch_dtype", None)) else 2
    one = -(-tokens // BLOCK) * BLOCK * 2 * text.num_hidden_layers * heads * width * size  # keys and values
    room = (free - SPARE[0] * weights - SPARE[1]) // GIB
    return int(max(1, math.ceil(one / GIB), min(math.ceil(SEQUENCES * one / GIB), room)))


def free_memory(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process can still use: of the machine, or of its container if that has less."""
    found = []
    try:
        kilobytes = dict(line.split(":") for line in meminfo.read_text().splitlines())["MemAvailable"].split()[0]
        found.append(int(kilobytes) * 1024)
    except (OSError, ValueError, KeyError, IndexError):
        found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit, use, stat, cached in CGROUPS:
        try:
            about = dict(line.split() for line in (cgroup / stat).read_text().splitlines())
            used = int((cgroup / use).read_text()) - int(about.get(cached, 0))
            found.append(int((cgroup / limit).read_text()) - used)
        except (OSError, ValueError):  # no such cgroup, or "max": no limit
            continue
    return max(0, min(found))


def weights(checkpoint: str, config: Any) -> int:
    """Bytes of a model's weights: of its files, or counted in its architecture where they are not here yet; 0 for an
    architecture that transformers cannot build, and vLLM perhaps can.
    """
    folder = local_model(checkpoint) or Path(checkpoint)
    if size := sum(file.stat().st_size for file in folder.glob("*.safetensors")):
        return size
    import torch
    from transformers import AutoModelForImageTextToText

    try:
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(config)
    except Exception:  # transformers raises what a model's own code raises
        return 0
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


def note(weights: int) -> str:
    """A note for the user before a long wait; "" for a small model."""
    if weights < SLOW:
        return ""
    return (
        f"a model of {weights / 1e9:.1f} GB on a CPU is slow: one of 4.3 GB (2B) took about 100 s per pair of"
        " 1024 x 1024 images on 2 cores. --limit N asks only about the first N samples of each task;"
        " --endpoint URL asks a server"
    )
