"""A judge served: the model server started, the app in front of it, both ended together."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from mtrl.core.errors import UserError
from mtrl.core.files import user_cache
from mtrl.evaluate.decision import Decision
from mtrl.evaluate.engines.offline import VllmModel
from mtrl.evaluate.image_items import Asked
from mtrl.evaluate.serving import app, auth, model_server, trying
from mtrl.evaluate.serving.answering import Answering
from mtrl.evaluate.serving.asking import Asking
from mtrl.evaluate.serving.cache import Cache
from mtrl.evaluate.subject import Subject

GRACE = 10  # seconds that requests under way have at the end
BACKLOG = 2048  # connections that wait to be taken


@dataclass(frozen=True)
class Settings:
    """What is served, and how."""

    judge: Subject
    tasks: Mapping[str, Asked]
    thresholds: Mapping[str, Decision]
    """As in Answering."""
    endpoint: str | None
    """A vLLM server that runs already; None: one is started."""
    tensor_parallel: int
    host: str
    port: int
    cache: Path | None
    """Its file; None: the user's own."""
    cache_mb: int


def run(wanted: Settings, say: Callable[[str], None], ready: Callable[[str], None]) -> None:
    """Serves until it is interrupted. `ready` gets the address. Raises UserError, also before a model is loaded where
    the port is taken or a key is missing, and MtrlError."""
    key = auth.key_for(wanted.host)
    listening = _bound(wanted.host, wanted.port)
    judge = wanted.judge
    if wanted.endpoint:
        server: model_server.Served = _external(wanted.endpoint, judge, say)
        file, version = None, ""
    else:
        server, version = _own(wanted, listening.getsockname()[1], say), model_server.version()
        if wanted.tensor_parallel > 1:  # sums over several GPUs round differently, so a kept verdict is not theirs
            version += f", tensor parallel {wanted.tensor_parallel}"
        file = None if judge.is_named_only else wanted.cache or _folder() / "verdicts.sqlite3"
    cache = Cache(file, wanted.cache_mb << 20, say)
    try:
        if isinstance(server, model_server.ModelServer):
            server.start()
        asking = Asking(server, judge.checkpoint if wanted.endpoint else judge.name, judge.style, not wanted.endpoint)
        answering = Answering(judge, wanted.tasks, asking, cache, version, wanted.thresholds)
        shown = f"[{wanted.host}]" if ":" in wanted.host else wanted.host
        address = f"http://{shown}:{listening.getsockname()[1]}"
        serve(app.application(answering, key), listening, lambda: ready(address))
    finally:
        if isinstance(server, model_server.ModelServer):
            server.stop()
        cache.close()
        listening.close()


def serve(of: FastAPI, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serves until it is interrupted."""
    config = uvicorn.Config(
        of, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=60, backlog=BACKLOG, ws="none",
    )  # fmt: skip
    listening.listen(BACKLOG)  # before the address is printed, so that a client that reads it can connect
    ready()
    gc.collect()
    gc.freeze()  # what is loaded by now stays, and looking through it again and again takes a sixth of the time
    uvicorn.Server(config).run(sockets=[listening])


def _own(wanted: Settings, port: int, say: Callable[[str], None]) -> model_server.ModelServer:
    judge, ranged = wanted.judge, wanted.judge.image
    images = max(asked.task.images for asked in wanted.tasks.values())
    model = VllmModel(
        judge.checkpoint, ranged.min_pixels, ranged.max_pixels, images, judge.max_new_tokens, wanted.tensor_parallel
    )
    log = _folder() / f"vllm-{port}.log"
    say(f"starting vLLM; its output is in {log}")
    return model_server.ModelServer(model, judge.name, log, judge.check, say)


def _folder() -> Path:
    try:
        return user_cache() / "serve"
    except RuntimeError:
        raise UserError("this user has no home folder for the log and the cache", "set XDG_CACHE_HOME") from None


def _external(endpoint: str, judge: Subject, say: Callable[[str], None]) -> model_server.External:
    """Raises UserError and MtrlError where nothing answers there, or not to this key, or not what mtrl serve asks."""
    from mtrl.evaluate.engines.endpoint import NO_KEY, EndpointEngine

    EndpointEngine(endpoint, judge.checkpoint, judge.style, judge.image.model_dump(), judge.side, say)
    found = model_server.External(endpoint, os.environ.get("OPENAI_API_KEY", "").strip() or NO_KEY)
    asyncio.run(trying.tried(Asking(found, judge.checkpoint, judge.style, own=False), judge, say))
    return found


def _bound(host: str, port: int) -> socket.socket:
    """A socket at the address, which does not listen yet. Raises UserError where it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except (OSError, OverflowError) as error:
        made.close()
        taken = getattr(error, "errno", 0) == errno.EADDRINUSE
        then = "pass another --port, or end the program that has it" if taken else "pass another --host or --port"
        raise UserError(f"cannot listen at {host}, port {port}: {error}", then) from None
    return made
