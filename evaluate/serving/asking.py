"""One request to the model server, without waiting in a thread: any number are under way, and vLLM batches them.

What is sent, and how the reply is read, is as with an endpoint (engines/chat.py, engines/replies.py). Nothing is tried
again here: the client is told when to come back.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import aiohttp

from mtrl.core.errors import UserError, printable
from mtrl.evaluate.engines import chat, replies
from mtrl.evaluate.engines.base import Answer, Sampling
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.serving.model_server import Served
from mtrl.evaluate.serving.problem import Problem

SECONDS = 300.0  # for one answer; ours, as of an endpoint
REJECTED = (400, 413, 422)


class Asking:
    """Asks the model that `server` has under the name `model`. `own`: it is mtrl's own, of this machine."""

    def __init__(self, server: Served, model: str, style: str, own: bool) -> None:
        self.server, self.own, self._model, self._style = server, own, model, style
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, request: Request, urls: Iterable[str], sampling: Sampling) -> Answer:
        """The answer to one request, whose images are `urls`; one that the server rejects is "rejected: why". Raises
        Problem: 502 for a reply that is none, 503 where the server cannot be asked, 504 where it takes too long."""
        body = {"model": self._model, "messages": chat.messages(request.prompt, urls)}
        body |= chat.options(request, sampling, vllm=True)
        begun = time.monotonic()
        sent = json.dumps(body, ensure_ascii=False).encode()
        async with self.request("POST", "/chat/completions", sent) as response:
            status, reply = response.status, await whole(response)
        if status in REJECTED:
            return Answer(request, "", 0, f"rejected: {_message(reply)}", 0.0)
        if status in (401, 403, 404):
            raise Problem(502, "model_server_denies", f"the model server denies access: {_message(reply)}")
        if status != 200:
            raise self.unavailable(f"the model server fails with status {status}")
        try:
            found = replies.completion(reply)
        except UserError as error:
            raise Problem(502, "model_server_reply", f"the model server's reply is not an answer: {error}") from None
        try:
            steps = found.steps()
        except UserError:
            steps = None  # no confidence
        text = found.text(self._style).encode("utf-8", "replace").decode()
        ended = found.choices[0].finish_reason or ""
        return Answer(request, text, found.tokens(), ended, time.monotonic() - begun, steps)

    @asynccontextmanager
    async def request(self, method: str, path: str, body: bytes = b"") -> AsyncIterator[aiohttp.ClientResponse]:
        """`send` to a path of the API; the reply is to be read within. Raises Problem: 503 where the server cannot be
        asked, 504 where it takes too long."""
        if problem := self.server.problem():
            raise self.unavailable(problem)
        try:
            async with self.send(method, self.server.address + path, body) as response:
                yield response
        except TimeoutError:
            raise Problem(504, "timeout", f"the model gave no answer in {SECONDS:g} s") from None
        except aiohttp.ClientError as error:
            why = self.server.problem() or f"the model server does not answer ({type(error).__name__})"
            raise self.unavailable(why) from None

    def send(self, method: str, url: str, body: bytes = b"") -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """A request to the model server, with its key. No redirect is followed, and no cookie kept. Entering it raises
        TimeoutError and aiohttp.ClientError."""
        if not self._session:  # here, as it belongs to the event loop that runs
            path = self.server.socket
            connector = partial(aiohttp.UnixConnector, path) if path else aiohttp.TCPConnector
            self._session = aiohttp.ClientSession(
                # one that rests is closed before the server closes it (vLLM's: after 5 s), or a request is lost
                connector=connector(limit=0, keepalive_timeout=2.0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=SECONDS),
                trust_env=not self.own,  # whether a proxy of the environment is asked
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        headers = {"Authorization": f"Bearer {self.server.key}", "Accept-Encoding": "identity"}
        headers |= {"Content-Type": "application/json"} if body else {}
        data = io.BytesIO(body) if body else None  # aiohttp warns of long bytes
        return self._session.request(method, url, data=data, headers=headers, allow_redirects=False)

    def unavailable(self, why: str) -> Problem:
        """503, with the time after which to try again."""
        return Problem(503, "model_server_unavailable", why, {"Retry-After": str(self.server.wait())})

    async def close(self) -> None:
        if self._session:
            await self._session.close()


async def whole(response: aiohttp.ClientResponse) -> bytes:
    """A reply's body. Raises Problem (502) for one of more than replies.BODY bytes."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > replies.BODY:
            raise Problem(502, "model_server_reply", f"the model server sends more than {replies.BODY:,} bytes")
    return bytes(body)


def _message(reply: bytes) -> str:
    """The message of a server's JSON error, or the beginning of its text; printable and cut."""
    text = reply[:2000].decode(errors="replace")
    try:
        error = json.loads(reply)["error"]
        text = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    return " ".join(printable(text).split())[:300]
