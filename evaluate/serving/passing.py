"""What goes through to vLLM as it is: `/v1/models` and `/v1/chat/completions`, for clients that write their own prompt.

So the openai client and `mtrl eval --endpoint` work with the same address and key. Images come as data: URLs; vLLM
fetches none.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import httpx2
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from mtrl.evaluate.serving import uploads
from mtrl.evaluate.serving.asking import SECONDS, Asking, bounded
from mtrl.evaluate.serving.problem import Problem
from mtrl.evaluate.serving.uploads import Limits


def router(asking: Asking, limits: Limits) -> APIRouter:
    found = APIRouter(tags=["vLLM"])

    async def passed(request: httpx2.Request) -> Response:
        if problem := asking.server.problem():
            raise asking.unavailable(problem)
        try:
            response = await asking.http.send(request, stream=True)
            kind = response.headers.get("content-type", "application/json")
            if kind.startswith("text/event-stream"):
                return _Stream(response, kind)
            try:
                whole = b"".join([piece async for piece in bounded(response)])
            finally:
                await response.aclose()
        except httpx2.TimeoutException:
            raise Problem(504, "timeout", f"the model gave no answer in {SECONDS:g} s") from None
        except httpx2.HTTPError as error:
            raise asking.unavailable(f"the model server does not answer ({type(error).__name__})") from None
        return Response(whole, response.status_code, media_type=kind)

    @found.get("/v1/models", summary="The model's name, as vLLM lists it")
    async def models() -> Response:
        return await passed(asking.request("GET", "/models"))

    @found.post("/v1/chat/completions", summary="vLLM's own chat completions")
    async def completions(request: Request) -> Response:
        return await passed(asking.request("POST", "/chat/completions", await uploads.whole(request, limits)))

    return found


class _Stream(StreamingResponse):
    """vLLM's events as they come. Its response is closed at the end, also where the client is gone before the first."""

    def __init__(self, response: httpx2.Response, kind: str) -> None:
        super().__init__(_events(response), response.status_code, media_type=kind)
        self._response = response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._response.aclose()


async def _events(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Where the server dies, the last one, [DONE], is missing, which clients notice."""
    with contextlib.suppress(httpx2.HTTPError):
        async for piece in response.aiter_raw():
            yield piece
