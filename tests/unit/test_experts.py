"""Expert layouts: recognised from shapes, rewritten exactly, contradictions and torn files refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from mtrl.core.errors import MtrlError
from mtrl.models import experts

torch = pytest.importorskip("torch", reason="the main environment has torch; `make setup` builds it")
from safetensors.torch import load_file, save_file  # noqa: E402

UP, DOWN = "model.layers.0.mlp.experts.gate_up_proj", "model.layers.1.mlp.experts.down_proj"


def config(hidden: int, inner: int) -> dict:
    return {"text_config": {"hidden_size": hidden, "moe_intermediate_size": inner}}


@pytest.mark.parametrize(
    ("hidden", "inner"),
    [(8, 6), (8, 4), (8, 8), (2048, 768)],
    ids=["plain", "gate_up square", "down square", "30B-A3B"],
)
def test_both_layouts_are_recognised(hidden: int, inner: int) -> None:
    hub = {UP: [4, hidden, 2 * inner], DOWN: [4, inner, hidden]}
    turned = {name: [e, b, a] for name, (e, a, b) in hub.items()}
    assert experts.layout(hub, config(hidden, inner)) == "hub"
    assert experts.layout(turned, config(hidden, inner)) == "transposed"
    assert experts.layout({"lm_head.weight": [3, 3]}, config(hidden, inner)) == "none"


def test_mixed_and_foreign_shapes_are_refused() -> None:
    with pytest.raises(MtrlError, match="both layouts"):
        experts.layout({UP: [4, 8, 12], DOWN: [4, 8, 6]}, config(8, 6))
    with pytest.raises(MtrlError, match="fits neither"):
        experts.layout({UP: [4, 5, 5]}, config(8, 6))


def test_rewriting_transposes_experts_and_nothing_else(tmp_path: Path) -> None:
    tensors = {UP: torch.randn(2, 12, 8), "model.norm.weight": torch.randn(8)}
    save_file(tensors, tmp_path / "a.safetensors", metadata={"format": "pt"})
    experts.copy_transposed(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    found = load_file(tmp_path / "b.safetensors")
    assert torch.equal(found[UP], tensors[UP].transpose(1, 2))
    assert torch.equal(found["model.norm.weight"], tensors["model.norm.weight"])
    assert experts.headers(tmp_path)[UP][1] == [2, 8, 12]  # b comes after a


def test_a_torn_file_is_found_by_its_size(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    save_file({UP: torch.zeros(2, 4, 4)}, file)
    whole = file.read_bytes()
    for cut in (3, 20, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(MtrlError, match=r"whole|cut off"):
            experts.headers(tmp_path)


@pytest.mark.parametrize(
    "header",
    [b"", b"[]", b"{", b'{"a": 1}', b'{"a": {}}', b'{"a": {"data_offsets": [], "shape": [1]}}', b"[" * 100_000,
     b'{"a": {"data_offsets": [0, 0], "shape": ["x"]}}'],
)  # fmt: skip
def test_a_damaged_header_is_named(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(MtrlError, match=r"m.safetensors is not a complete safetensors file"):
        experts.headers(tmp_path)
