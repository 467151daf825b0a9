"""A client that hangs up: the model server is asked no longer, nothing is left open, and the metrics say 499."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.serving_fixture import Server, body, png, says, serving
from tests.unit.standin import SILENT, Held, Reply

JUDGE = ("/v1/judge", body("seetrue", png(), caption="a dog"))
REWARD = ("/v1/reward", {**JUDGE[1], "images": JUDGE[1]["images"] * 3, "fields": {"caption": ["a", "b", "c"]}})
CHAT = ("/v1/chat/completions", {"model": "mine", "messages": [{"role": "user", "content": "?"}]})
STREAM = (CHAT[0], {**CHAT[1], "stream": True})
EVENTS = {"content-type": "text/event-stream"}


def sent(server: Server, path: str, given: dict[str, Any], part: float = 1) -> socket.socket:
    """Sends a request with the first `part` of its body, a share from 0 to 1."""
    content = json.dumps(given).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    client = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=30)
    client.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content[: int(part * len(content))])
    return client


def counted(server: Server, path: str, status: int) -> int:
    line = f'mtrl_requests_total{{path="{path}",status="{status}"}} '
    found = [one for one in server.client.get("/metrics").text.splitlines() if one.startswith(line)]
    return round(float(found[0].removeprefix(line))) if found else 0


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("abrupt", [False, True])
@pytest.mark.parametrize(
    ("asked", "reply", "requests"),
    [
        (JUDGE, SILENT, 1),
        (JUDGE, (200, {"content-type": "application/json"}, Held()), 1),
        (REWARD, SILENT, 3),
        (CHAT, SILENT, 1),
        (STREAM, SILENT, 1),
    ],
    ids=["judge", "judge, headers came", "reward", "chat", "stream"],
)
def test_its_request_ends_in_the_model_server_too(
    asked: tuple[str, dict[str, Any]], reply: Reply, requests: int, abrupt: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(lambda n, given: reply) as server:
        client = sent(server, *asked)
        until(lambda: len(server.asked) == requests)
        if abrupt:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
        client.close()
        for _ in range(requests):
            assert server.behind.left.acquire(timeout=20)
        until(lambda: counted(server, asked[0], 499) == 1)
        assert not counted(server, asked[0], 500)
        assert "mtrl_requests_under_way 1.0" in server.client.get("/metrics").text  # this request itself
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("pieces", [0, 1])
def test_a_stream_is_closed_before_and_after_its_first_event(pieces: int) -> None:
    """The headers have come, so its status is vLLM's."""
    with serving(lambda n, given: (200, EVENTS, Held([b"data: {}\n\n"] * pieces))) as server:
        client = sent(server, *STREAM)
        until(lambda: len(server.asked) == 1)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        client.close()
        assert server.behind.left.acquire(timeout=20)
        until(lambda: counted(server, STREAM[0], 200) == 1)


@pytest.mark.parametrize("part", [0, 0.5])
def test_one_that_is_gone_before_its_body_has_come(part: float, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(lambda n, given: says("yes")) as server:
        for path, given in (JUDGE, CHAT):
            sent(server, path, given, part).close()
            until(lambda path=path: counted(server, path, 499) == 1)
        assert not server.asked
    assert "Traceback" not in capfd.readouterr().err


def test_one_that_stays_is_answered_and_counted_once() -> None:
    """Also several requests on one connection, whose end is noticed after the last."""
    with serving(lambda n, given: says("yes")) as server:
        for caption in "abc":
            assert server.judge("seetrue", png(), caption=caption).status_code == 200
        assert (counted(server, JUDGE[0], 200), counted(server, JUDGE[0], 499)) == (3, 0)
