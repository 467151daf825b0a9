"""The two layouts of Qwen-VL-MoE expert tensors, and the conversion from one to the other.

The hub's layout, which vLLM and transformers 4.57 read: gate_up_proj [E, H, 2I], down_proj [E, I, H], with E experts,
H the hidden size and I the size of one expert. transformers 5 saves the transpose of both, which vLLM cannot load. A
square tensor does not show its layout: gate_up is square if H = 2I, down if H = I. As both are never square, both are
checked, and one of them decides.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mtrl.core.errors import MtrlError
from mtrl.core.files import open_regular

_EXPERT = re.compile(r"experts\.(gate_up_proj|down_proj)$")


class Tensor(NamedTuple):
    """The safetensors file that holds a tensor, and the tensor's shape."""

    file: Path
    shape: list[int]


def headers(folder: Path) -> dict[str, Tensor]:
    """{tensor name: file and shape} of a folder's safetensors files; no weights are read. Raises MtrlError.

    safetensors itself checks a file's header, and that the file has the size given there.
    """
    from safetensors import SafetensorError, safe_open

    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            open_regular(path).close()
            with safe_open(path, framework="numpy") as file:
                found |= {name: Tensor(path, file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise MtrlError(
                f"{path} is not a complete safetensors file: it is cut off or damaged "
                f"({getattr(error, 'strerror', None) or error})",
                "export from another checkpoint",
            ) from None
    return found


def layout(shapes: dict[str, list[int]], config: dict[str, Any]) -> Literal["none", "hub", "transposed"]:
    """Which layout the expert tensors have. Raises MtrlError if they have both, or fit neither."""
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
                f"expert tensor {name} has shape {shape}, which fits neither layout "
                f"of hidden_size {hidden}, moe_intermediate_size {inner}"
            )
        if len(fits) == 1:
            votes[fits[0]].append(name)
    if votes["hub"] and votes["transposed"]:
        raise MtrlError(f"expert tensors of both layouts in one folder: {votes['hub'][0]} and {votes['transposed'][0]}")
    return "transposed" if votes["transposed"] else "hub" if votes["hub"] else "none"


def copy_transposed(source: Path, target: Path) -> None:
    """Writes `source`, a safetensors file, to `target` with its experts transposed. All of it is held in memory."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(source, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (safe_open is no mapping)
        metadata = file.metadata()
    for name, tensor in tensors.items():
        if _EXPERT.search(name):
            tensors[name] = tensor.transpose(1, 2).contiguous()
    save_file(tensors, target, metadata=metadata)
