"""vLLM's server as a child: the real process and pipes, with a stand-in for the package vllm."""

from __future__ import annotations

import itertools
import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mtrl.core.errors import MtrlError, UserError
from mtrl.evaluate.engines.offline import VllmModel
from mtrl.evaluate.serving import model_process
from mtrl.evaluate.serving.model_server import ModelServer
from tests.unit.test_health import alive

VLLM = """
import json, os, socketserver, subprocess, sys
from http.server import BaseHTTPRequestHandler
if os.environ.get("FAILS"):
    print("(EngineCore pid=1) ValueError: no room for the weights", file=sys.stderr)
    sys.exit("RuntimeError: Engine core initialization failed. See root cause above.")
child = subprocess.Popen(["sleep", "600"])  # the engine is a process of its own
about = {"pid": os.getpid(), "child": child.pid, "argv": sys.argv, "key": os.environ["VLLM_API_KEY"],
         "environ": sorted(os.environ)}
with open(os.environ["ABOUT"], "a") as file:
    file.write(json.dumps(about) + "\\n")
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_):
        pass
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
Server(sys.argv[sys.argv.index("--uds") + 1], Handler).serve_forever()
"""
STUBS = {
    "vllm/__init__.py": "",
    "vllm/platforms.py": "class current_platform:\n    is_cpu = staticmethod(lambda: True)\n",
    "vllm/entrypoints/__init__.py": "",
    "vllm/entrypoints/openai/__init__.py": "",
    "vllm/entrypoints/openai/api_server.py": VLLM,
    "transformers.py": textwrap.dedent(
        """
        from types import SimpleNamespace as N
        text = N(num_key_value_heads=2, num_attention_heads=2, head_dim=8, hidden_size=16, num_hidden_layers=2,
                 max_position_embeddings=32768)
        class AutoConfig:
            @staticmethod
            def from_pretrained(path, trust_remote_code):
                return N(text_config=text, vision_config=N(patch_size=16, spatial_merge_size=2))
        """
    ),
}


@pytest.fixture
def stubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in STUBS.items():
        (tmp_path / "stubs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "stubs" / name).write_text(text)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"x")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stubs"))
    monkeypatch.setenv("ABOUT", str(tmp_path / "about.jsonl"))
    monkeypatch.setenv("MTRL_API_KEY", "the-key-of-the-clients")
    return tmp_path


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def server(stubs: Path, said: list[str]) -> Iterator[ModelServer]:
    model = VllmModel(str(stubs / "model"), 4096, 65536, 2, 16)
    made = ModelServer(model, "mine", stubs / "vllm.log", lambda: None, said.append)
    yield made
    made.stop()


def about(stubs: Path) -> list[dict]:
    import json

    return [json.loads(line) for line in (stubs / "about.jsonl").read_text().splitlines()]


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def gone(*pids: int) -> bool:
    def is_gone(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    return all(map(is_gone, pids))


def test_its_limits_and_its_key(stubs: Path, server: ModelServer) -> None:
    server.start()
    assert alive(server) and server.problem() == ""
    (found,) = about(stubs)
    words = found["argv"]
    assert found["key"] == server.key and server.key not in " ".join(words)
    assert "MTRL_API_KEY" not in found["environ"]
    of = dict(itertools.pairwise(words))
    assert (of["--served-model-name"], of["--load-format"]) == ("mine", "safetensors")
    assert of["--uds"] == server.socket and not {"--host", "--port"} & set(words)
    folder = Path(server.socket or "").parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (
        of["--max-model-len"] == str(2 * 64 + 2048 + 16) and of["--limit-mm-per-prompt"] == '{"image": 2, "video": 0}'
    )
    assert of["--mm-processor-kwargs"] == '{"size": {"shortest_edge": 4096, "longest_edge": 65536}}'
    assert {"--no-trust-remote-code", "--no-enable-chunked-prefill", "--enforce-eager"} < set(words)
    assert of["--generation-config"] == "vllm" and of["--allowed-media-domains"] == "none.invalid"
    assert (stubs / "vllm.log").read_text().startswith(f"vllm serve {stubs / 'model'} --")
    server.stop()
    assert gone(found["pid"], found["child"]) and not alive(server) and not folder.exists()


def test_a_folder_for_temporary_files_that_is_too_long(stubs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (stubs / ("x" * 100)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(stubs / ("x" * 100)))
    with pytest.raises(UserError, match="too long for a socket") as raised:
        ModelServer(VllmModel(str(stubs / "model"), 1, 65536, 1, 16), "m", stubs / "log", lambda: None, print)
    assert "TMPDIR" in raised.value.then


def test_one_that_dies_is_started_again(stubs: Path, server: ModelServer, said: list[str]) -> None:
    server.start()
    (first,) = about(stubs)
    os.kill(first["pid"], signal.SIGKILL)
    until(lambda: bool(server.problem()))
    assert "being started again" in server.problem() and server.wait() >= 1 and not alive(server)
    until(lambda: not server.problem())
    second = about(stubs)[1]
    assert alive(server) and server.restarts == 1 and second["argv"] == first["argv"]
    assert gone(first["pid"], first["child"])  # also the engine that it left behind
    assert "killed by SIGKILL" in said[0] and "answers again" in said[1]


def test_one_whose_files_have_changed_is_not_started_again(stubs: Path, said: list[str]) -> None:
    sound = True

    def check() -> None:
        if not sound:
            raise UserError("model.safetensors has been changed")

    server = ModelServer(VllmModel(str(stubs / "model"), 1, 65536, 1, 16), "m", stubs / "log", check, said.append)
    try:
        server.start()
        sound = False
        os.kill(about(stubs)[0]["pid"], signal.SIGKILL)
        until(lambda: "stays down" in server.problem())
        assert len(about(stubs)) == 1 and not alive(server) and server.wait() == 60
        assert "has been changed" in said[-1] and "safetensors" not in server.problem()
    finally:
        server.stop()


def test_one_that_cannot_load_says_why(stubs: Path, server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILS", "1")
    with pytest.raises(MtrlError, match="ValueError: no room for the weights") as raised:
        server.start()
    assert str(stubs / "vllm.log") in raised.value.then


def test_it_never_outlives_mtrl(stubs: Path) -> None:
    script = """
        import sys, time
        from pathlib import Path
        from mtrl.evaluate.engines.offline import VllmModel
        from mtrl.evaluate.serving.model_server import ModelServer
        server = ModelServer(VllmModel(sys.argv[1], 1, 65536, 1, 16), "m", Path(sys.argv[2]), lambda: None, print)
        server.start()
        print(server.socket, flush=True)
        time.sleep(600)
    """
    words = [sys.executable, "-c", textwrap.dedent(script), str(stubs / "model"), str(stubs / "log")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as mtrl:
        assert mtrl.stdout
        socket = Path(mtrl.stdout.readline().strip())
        (found,) = about(stubs)
        assert not gone(found["pid"], found["child"]) and socket.is_socket()
        mtrl.kill()
    until(lambda: gone(found["pid"], found["child"]))
    assert not socket.parent.exists()


def test_flags() -> None:
    settings = {"a_b": True, "c": False, "d": {"e": 1}, "f": ["g", "h"], "i": 2}
    assert model_process.flags(settings) == ["--a-b", "--no-c", "--d", '{"e": 1}', "--f", "g", "h", "--i", "2"]
