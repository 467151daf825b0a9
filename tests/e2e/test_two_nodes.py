"""SFT over two nodes: the same command twice, as on two machines that share a folder, with LLaMA-Factory's real
torchrun.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.e2e


def test_the_same_command_on_each_node(project: Path) -> None:
    preset = (ROOT / "recipes" / "hardware" / "cpu.yaml").read_text().replace("nodes: 1", "nodes: 2")
    Path("recipes/hardware").mkdir(parents=True)
    Path("recipes/hardware/two-cpus.yaml").write_text(preset)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mtrl", "sft", "sft_unified", "--model", "tiny", "--hardware", "two-cpus"]
    command += ["--set", "tasks=demo_quality", "--set", "sft.epochs=1", "--set", "sft.validate_every=16", "--name", "n"]
    nodes = []
    for rank in (1, 0):  # in whatever order they start
        env = {**os.environ, "NODE_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        nodes.append(
            subprocess.Popen(command, cwd=project, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    said = [node.communicate(timeout=400)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    status = json.loads(Path("runs/n/status.json").read_text())
    assert (status["state"], status["attempts"]) == ("done", 1)
    state = json.loads(Path("runs/n/checkpoints/trainer_state.json").read_text())
    assert state["global_step"] == 16  # 500 rows in batches of 32 over both nodes, not over each
    assert Path("runs/n/log-1.txt").stat().st_size > 0
