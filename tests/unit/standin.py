"""A real HTTP server that speaks just enough of the OpenAI protocol, and misbehaves on demand."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[
    int, dict[str, str], str | bytes | Iterable[bytes]
]  # status, headers, body; in pieces, its length is not told


class Held(list[bytes]):
    """A body whose end never comes: the connection stays open until the client hangs up."""


SILENT: Reply = (0, {}, Held())  # not even its headers come


def completion(content: str | None = "yes", finish_reason: str = "stop", **message: Any) -> Reply:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content, **message},
        "finish_reason": finish_reason,
    }
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    return 200, {"content-type": "application/json"}, json.dumps({**body, "usage": {"completion_tokens": 1}})


def error(status: int, message: str, **headers: str) -> Reply:
    body = json.dumps({"error": {"message": message, "type": "x", "code": None}})
    return status, {"content-type": "application/json", **headers}, body


def html(status: int = 200) -> Reply:
    return status, {"content-type": "text/html"}, "<html><body><script>alert(1)</script>Sign in</body></html>"


class StandIn:
    """`asked` and `paths` hold the body and path of every request that came, `keys` its Authorization headers.
    `left` is released for each client that hung up on a Held body."""

    def __init__(self, answer: Callable[[int, dict[str, Any]], Reply | None], models: Reply) -> None:
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: set[str] = set()
        self.left = threading.Semaphore(0)
        lock, outer = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._send(models)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    outer.asked.append(body)
                    outer.paths.append(self.path)
                    outer.keys.add(self.headers.get("authorization", ""))
                    number = len(outer.asked)
                reply = answer(number, body)
                if reply is None:  # gone, in the middle of a request
                    self.close_connection = True
                    return
                self._send(reply)

            def _send(self, reply: Reply) -> None:
                status, headers, body = reply
                if not status:
                    self._hold()
                    return
                self.send_response(status)
                if isinstance(body, str | bytes):
                    data = body.encode() if isinstance(body, str) else body
                    headers, body = {**headers, "content-length": str(len(data))}, [data]
                else:
                    self.close_connection = True
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in body:
                    self.wfile.write(piece)
                if isinstance(body, Held):
                    self._hold()

            def _hold(self) -> None:
                with suppress(ConnectionError):
                    self.rfile.read(1)
                outer.left.release()
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 256  # of 5, the default, many clients at once lose some

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Some tests are about a client that hung up; its traceback would be among mtrl's own output."""
                if not isinstance(sys.exception(), ConnectionError):
                    super().handle_error(request, client_address)

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


MODELS = (
    200,
    {"content-type": "application/json"},
    json.dumps({"object": "list", "data": [{"id": "m", "owned_by": "me"}]}),
)


@contextmanager
def standin(answer: Callable[[int, dict[str, Any]], Reply | None], models: Reply = MODELS) -> Iterator[StandIn]:
    """Serves `answer(number of the request, its body)`; None drops the connection."""
    made = StandIn(answer, models)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()


def asked_text(body: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in body["messages"][0]["content"])
