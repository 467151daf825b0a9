"""The layout of Qwen-VL-MoE expert tensors, and the rewrite from one to the other.

The hub's layout, which vLLM and transformers 4.57 read: gate_up_proj [E, H, 2I], down_proj [E, I, H]. transformers 5
saves the transpose of both, and vLLM refuses it. Which one a file holds is decided from both kinds of tensor together:
H = 2I makes only gate_up square and H = I only down, so one of them always tells.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any, Literal

from mtrl.core.errors import MtrlError, UserError
from mtrl.core.parsing import parse_json

_EXPERT = re.compile(r"experts\.(gate_up_proj|down_proj)$")


def headers(folder: Path) -> dict[str, tuple[Path, list[int]]]:
    """{tensor name: (file, shape)} of a folder's safetensors files, from their headers alone. Raises MtrlError."""
    found: dict[str, tuple[Path, list[int]]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with file.open("rb") as stream:
                size = struct.unpack("<Q", stream.read(8))[0]
                if size > 100_000_000:
                    raise ValueError("its header is too long")
                header = {k: v for k, v in parse_json(stream.read(size), file.name).items() if k != "__metadata__"}
            end = 8 + size + max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
            if not all(isinstance(number, int) for entry in header.values() for number in entry["shape"]):
                raise ValueError("a shape in its header is not made of whole numbers")
        except (struct.error, ValueError, KeyError, TypeError, IndexError, AttributeError, UserError) as error:
            raise MtrlError(
                f"{file} is not a whole safetensors file: {error}", "export from another checkpoint"
            ) from None
        if file.stat().st_size != end:
            raise MtrlError(
                f"{file} is cut off: {file.stat().st_size:,} of {end:,} bytes", "export from another checkpoint"
            )
        found |= {name: (file, entry["shape"]) for name, entry in header.items()}
    return found


def layout(shapes: dict[str, list[int]], config: dict[str, Any]) -> Literal["none", "hub", "transposed"]:
    """Which layout the expert tensors have. Raises MtrlError where they contradict each other or fit neither."""
    text = config.get("text_config", config)
    votes: dict[str, list[str]] = {"hub": [], "transposed": []}
    for name, shape in shapes.items():
        if not (match := _EXPERT.search(name)):
            continue
        hidden, inner = text["hidden_size"], text["moe_intermediate_size"]
        hub = [hidden, 2 * inner] if match.group(1) == "gate_up_proj" else [inner, hidden]
        fits = [kind for kind, want in (("hub", hub), ("transposed", hub[::-1])) if shape[1:] == want]
        if not fits:
            raise MtrlError(
                f"expert tensor {name} has shape {shape}, which fits neither layout of hidden {hidden}, expert {inner}"
            )
        if len(fits) == 1:
            votes[fits[0]].append(name)
    if votes["hub"] and votes["transposed"]:
        raise MtrlError(f"expert tensors of both layouts in one folder: {votes['hub'][0]} and {votes['transposed'][0]}")
    return "transposed" if votes["transposed"] else "hub" if votes["hub"] else "none"


def copy_transposed(source: Path, target: Path) -> None:
    """Writes `source`, a safetensors file, to `target` with its expert tensors transposed; one file in memory."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(source, framework="pt") as file:
        tensors = {
            name: (t.transpose(1, 2).contiguous() if _EXPERT.search(name) else t)
            for name in file.keys()  # noqa: SIM118  (safe_open is no mapping)
            for t in (file.get_tensor(name),)
        }
        save_file(tensors, target, metadata=file.metadata())
