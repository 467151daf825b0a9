"""The size of vLLM's cache on a CPU, and what a container leaves free."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from mtrl.demo.walkthrough import tiny
from mtrl.evaluate.engines import cpu
from mtrl.evaluate.engines.offline import likely_cause

GIB = 2**30
TWO_B = SimpleNamespace(
    num_hidden_layers=28,
    num_key_value_heads=8,
    head_dim=128,
    num_attention_heads=16,
    hidden_size=2048,
    dtype="bfloat16",
)
TINY = SimpleNamespace(num_hidden_layers=2, num_attention_heads=4, hidden_size=64, dtype="float32")


@pytest.mark.parametrize(
    ("text", "tokens", "weights", "free", "gib"),
    [
        (TWO_B, 10_256, 4_300_000_000, 64 * GIB, 5),  # 1.11 GiB for one request, as vLLM says; four of them
        (TWO_B, 10_256, 4_300_000_000, 9 * GIB, 2),  # a small machine: what is left beside the weights, at least one
        (TWO_B, 10_256, 4_300_000_000, 0, 2),  # vLLM then says itself that it does not fit
        (TWO_B, 2_000, 4_300_000_000, 64 * GIB, 1),
        (TINY, 10_256, 1_000_000, 64 * GIB, 1),
        (TINY, 10_256, 1_000_000, 0, 1),
    ],
)
def test_the_cache_holds_the_longest_request(
    text: SimpleNamespace, tokens: int, weights: int, free: int, gib: int
) -> None:
    assert cpu.cache_gib(text, tokens, weights, free) == gib


def test_a_container_may_have_less_than_its_machine(tmp_path: Path) -> None:
    meminfo, cgroup = tmp_path / "meminfo", tmp_path / "cgroup"
    meminfo.write_text(f"MemTotal: {64 * 2**20} kB\nMemAvailable: {32 * 2**20} kB\n")
    assert cpu.free_memory(meminfo, cgroup) == 32 * GIB
    (cgroup / "memory").mkdir(parents=True)
    (cgroup / "memory.max").write_text("max\n")
    (cgroup / "memory.current").write_text(f"{9 * GIB}\n")
    (cgroup / "memory.stat").write_text(f"anon 1\ninactive_file {3 * GIB}\n")
    assert cpu.free_memory(meminfo, cgroup) == 32 * GIB
    (cgroup / "memory.max").write_text(f"{16 * GIB}\n")
    assert cpu.free_memory(meminfo, cgroup) == 10 * GIB  # what is only cached files counts as free
    for name, value in (("limit_in_bytes", 8 * GIB), ("usage_in_bytes", 9 * GIB)):
        (cgroup / "memory" / f"memory.{name}").write_text(str(value))
    (cgroup / "memory" / "memory.stat").write_text("total_inactive_file 0\n")
    assert cpu.free_memory(meminfo, cgroup) == 0
    assert cpu.free_memory() > 0  # this machine's


def test_a_real_model_is_said_to_be_slow(tmp_path: Path) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(4_300_000_000)
    assert "100 s" in cpu.note(cpu.weights(str(tmp_path), None)) and cpu.note(1_000_000) == ""


def test_weights_that_are_not_here_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoConfig

    there = cpu.weights(str(tiny()), None)
    counted = cpu.weights("org/on-the-hub", AutoConfig.from_pretrained(tiny()))
    assert 0 < counted < there < 1.01 * counted  # the file has a header too
    assert cpu.weights("org/on-the-hub", SimpleNamespace()) == 0
    monkeypatch.setattr(cpu, "local_model", lambda name: tiny())  # in the hub's cache
    assert cpu.weights("org/on-the-hub", None) == there


def test_too_little_memory_on_a_cpu_names_the_variable() -> None:
    message = "Available memory on node 0 is less than requested memory for kv. Decrease VLLM_CPU_KVCACHE_SPACE"
    assert "VLLM_CPU_KVCACHE_SPACE=" in likely_cause("org/on-the-hub", message, on_cpu=True)
    assert "--tensor-parallel" in likely_cause("org/on-the-hub", "CUDA out of memory")
