"""What goes through to vLLM as it is: `/v1/models` and `/v1/chat/completions`, for clients that write their own prompt.

So the openai client and `mtrl eval --endpoint` work with the same address and key. Images come as data: URLs; vLLM
fetches none.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from mtrl.evaluate.serving import uploads
from mtrl.evaluate.serving.asking import Asking, whole
from mtrl.evaluate.serving.uploads import Limits


def router(asking: Asking, limits: Limits) -> APIRouter:
    found = APIRouter(tags=["vLLM"])

    async def passed(method: str, path: str, body: bytes = b"") -> Response:
        async with AsyncExitStack() as until_read:
            response = await until_read.enter_async_context(asking.request(method, path, body))
            kind = response.headers.get("content-type", "application/json")
            if kind.startswith("text/event-stream"):
                return _Stream(response, kind, until_read.pop_all())
            return Response(await whole(response), response.status, media_type=kind)

    @found.get("/v1/models", summary="The model's name, as vLLM lists it")
    async def models() -> Response:
        return await passed("GET", "/models")

    @found.post("/v1/chat/completions", summary="vLLM's own chat completions")
    async def completions(request: Request) -> Response:
        return await passed("POST", "/chat/completions", await uploads.whole(request, limits))

    return found


class _Stream(StreamingResponse):
    """vLLM's events as they come. `until_sent` is closed at the end, also where the client is gone before the first."""

    def __init__(self, response: aiohttp.ClientResponse, kind: str, until_sent: AsyncExitStack) -> None:
        super().__init__(_events(response), response.status, media_type=kind)
        self._until_sent = until_sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._until_sent:
            await super().__call__(scope, receive, send)


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Where the server dies, the last one, [DONE], is missing, which clients notice."""
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async for piece in response.content.iter_any():
            yield piece
