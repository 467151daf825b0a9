"""ASGI middleware: a client that hangs up ends its request, and with it what the model server is asked for it; a
request that the server's end cuts off gets 503, to be sent again.

The request is watched from the time that its body has come. Its status is 499, nginx's number, which nobody receives:
it is for the metrics. Where a reply has begun, its status stays as it was sent.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mtrl.evaluate.serving.problem import Problem

STATUS = 499
ENDING = Problem(
    503, "ending", "the server is ending before this request has an answer: send it again",
    {"Retry-After": "1", "Connection": "close"},
)  # fmt: skip


class EndedByHangUp:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, gone, begun = asyncio.current_task(), asyncio.Event(), False
        assert request
        watching: asyncio.Task[None] | None = None

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()
            request.cancel()

        async def received() -> Message:
            nonlocal watching
            if watching:  # which receives from now on
                await gone.wait()
                return {"type": "http.disconnect"}
            message: Message = await receive()
            if message["type"] == "http.disconnect":
                gone.set()
            elif not message.get("more_body", False):
                watching = asyncio.create_task(watch())
            return message

        async def sent(message: Message) -> None:
            nonlocal begun
            if not gone.is_set():
                begun = True
                await send(message)

        try:
            await self._app(scope, received, sent)
        except asyncio.CancelledError:
            if not gone.is_set() and not begun:  # the server's end: uvicorn has waited for as long as it was told
                await ENDING.response(scope, received, send)
        finally:
            if watching:
                watching.cancel()
        if gone.is_set() and not begun:
            await send({"type": "http.response.start", "status": STATUS, "headers": []})
