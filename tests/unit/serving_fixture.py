"""A judge that is served for a test: the real app and uvicorn, in front of a stand-in model server."""

from __future__ import annotations

import base64
import io
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from PIL import Image

from mtrl.config.recipe_types import Image as Range
from mtrl.evaluate.decision import Decision
from mtrl.evaluate.serving import answering, app
from mtrl.evaluate.serving.asking import Asking
from mtrl.evaluate.serving.cache import Cache
from mtrl.evaluate.serving.uploads import Limits
from mtrl.evaluate.subject import Subject
from tests.unit.standin import MODELS, Reply, StandIn, completion, standin

JUDGE = Subject("mine", "sft_unified", "sft", Range(min_pixels=4096, max_pixels=65536), 16, "f" * 64, "", 32, "mine")


class Standing:
    """A Served whose state a test sets."""

    def __init__(self, address: str) -> None:
        self.address, self.key, self.restarts, self.why = address, "secret-of-vllm", 0, ""
        self.health, self.socket = f"{address}/models", None

    def problem(self) -> str:
        return self.why

    def wait(self) -> int:
        return 7


def says(word: str, shares: Mapping[str, float] | None = None) -> Reply:
    """A completion of one token, with the probability of each listed token."""
    status, headers, body = completion(word)
    listed = [{"token": token, "logprob": math.log(share)} for token, share in (shares or {}).items()]
    whole = json.loads(str(body))
    if listed:
        own = next(one for one in listed if one["token"] == word)
        whole["choices"][0]["logprobs"] = {"content": [{**own, "top_logprobs": listed}]}
    return status, headers, json.dumps(whole)


def png(colour: str = "red", size: int = 64) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, "PNG")
    return buffer.getvalue()


def body(task: str, *images: bytes, **fields: str) -> dict[str, Any]:
    return {"task": task, "images": [base64.b64encode(image).decode() for image in images], "fields": fields}


class Server:
    def __init__(self, url: str, model: Standing, cache: Cache, behind: StandIn) -> None:
        self.url, self.model, self.cache, self.asked, self.behind = url, model, cache, behind.asked, behind
        self.client = httpx2.Client(base_url=url, timeout=60, trust_env=False)

    def judge(self, task: str, *images: bytes, **fields: str) -> httpx2.Response:
        return self.client.post("/v1/judge", json=body(task, *images, **fields))


@contextmanager
def serving(
    answer: Callable[[int, dict[str, Any]], Reply | None],
    tasks: tuple[str, ...] = ("seetrue",),
    key: str | None = None,
    cache: Path | None = None,
    decisions: Mapping[str, Decision] | None = None,
    said: list[str] | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    models: Reply = MODELS,
    grace: int | None = None,
) -> Iterator[Server]:
    """`answer` and `models` are the stand-in's. `grace`: seconds that requests under way have at the end."""
    with standin(answer, models) as model:
        standing = Standing(model.url)
        kept = Cache(cache, 1 << 20, (said if said is not None else []).append)
        asking = Asking(standing, "mine", "sft", own=True)
        made = answering.Answering(JUDGE, answering.loaded(JUDGE, tasks), asking, kept, "vllm 0", decisions or {})
        config = uvicorn.Config(
            app.application(made, key, limits), port=0, log_level="warning", access_log=False, ws="none",
            timeout_graceful_shutdown=grace,
        )  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        found = Server(f"http://127.0.0.1:{port}", standing, kept, model)
        try:
            yield found
        finally:
            found.client.close()
            server.should_exit = True
            thread.join(20)
            kept.close()
