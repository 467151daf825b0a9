"""Ports that are taken and clusters that are not there, with real sockets and a real Ray."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mtrl.config import recipe
from mtrl.core import ray_address
from mtrl.preflight import network


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_PORT", "MASTER_ADDR", "NODE_RANK", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def found(name: str, hardware: str) -> list[network.Check]:
    return list(network.check(recipe.load(name, "qwen3-vl-8b", hardware)))


def test_a_taken_master_port(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found("sft_unified", "8x80gb") == []
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("MASTER_PORT", str(port))
        (error,) = found("sft_unified", "8x80gb")
        assert error.level == "error" and error.text == f"port {port} (MASTER_PORT) is in use on this machine"
        instead = int(error.then.split("MASTER_PORT=")[1].split(",")[0])
        assert instead != port and not network.taken(instead)
        assert found("sft_unified", "cpu") == []  # one process: no port
        monkeypatch.setenv("MASTER_ADDR", "elsewhere")
        monkeypatch.setenv("NODE_RANK", "1")
        assert found("sft_unified", "16x80gb") == []  # the port is node 0's
    assert found("sft_unified", "8x80gb") == []  # given back


def test_two_nodes_need_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    (error,) = found("sft_unified", "16x80gb")
    assert "needs MASTER_ADDR and MASTER_PORT" in error.text and "NODE_RANK=1" in error.then
    monkeypatch.setenv("MASTER_ADDR", "elsewhere")
    monkeypatch.setenv("MASTER_PORT", "port")
    (error,) = found("sft_unified", "16x80gb")
    assert error.text == "MASTER_PORT 'port' is not a port"


def test_no_ray_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for address, words in (("head", "is not HOST:PORT"), (f"127.0.0.1:{network.free()}", "Connection refused")):
        monkeypatch.setenv("RAY_ADDRESS", address)
        (error,) = found("rl_multitask", "8x80gb")
        assert error.level == "error" and words in error.text and "RAY_ADDRESS" in error.then
    assert found("rl_multitask", "cpu") == []  # TRL asks no Ray


def test_another_server_is_no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            one, _ = server.accept()
            with one:
                one.recv(100)
                one.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        (error,) = found("rl_multitask", "8x80gb")
        thread.join()
    assert "something else" in error.text


def test_a_real_ray_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head of its own, on its own port and in its own folder; it ends with its process."""
    port = network.free()
    folder = Path(f"/tmp/r{port}")  # a socket's path may be 107 characters, and tmp_path is most of that
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += [f"--port={port}", "--include-dashboard=false", "--num-cpus=1", "--object-store-memory=80000000"]
    with (tmp_path / "ray.log").open("w") as log:
        head = subprocess.Popen(
            [*command, f"--temp-dir={folder}", "--disable-usage-stats"],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        deadline = time.monotonic() + 60
        while found("rl_multitask", "8x80gb")[0].level == "error" and time.monotonic() < deadline:
            assert head.poll() is None, (tmp_path / "ray.log").read_text()
            time.sleep(0.5)
        (there,) = found("rl_multitask", "8x80gb")
        assert (there.level, there.text[:27]) == ("ok", "a Ray cluster answers at 12"), (
            tmp_path / "ray.log"
        ).read_text()
    finally:
        head.send_signal(signal.SIGTERM)  # with --block it ends its own processes, and nobody else's
        with contextlib.suppress(subprocess.TimeoutExpired):
            head.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)  # on a busy machine; all it started are of its group
        head.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
    assert ray_address.problem("127.0.0.1", port) == "Connection refused"
