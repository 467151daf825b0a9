"""What a request may send to `mtrl serve`, and who may: through a small app, as the real one reads it."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.testclient import TestClient
from PIL import Image

from mtrl.core.errors import UserError
from mtrl.core.files import sha256_bytes
from mtrl.evaluate.serving import auth, problem, uploads
from mtrl.evaluate.serving.uploads import Limits

KEY = "a-key-of-24-characters-0"
SMALL = Limits(
    body_bytes=100_000, text_bytes=2_000, images=3, image_bytes=20_000, side_px=500, pixels=300_000, seconds=0.3
)


def image(kind: str = "PNG", size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


def saved_flat(side: int) -> bytes:
    """Many pixels in few bytes."""
    buffer = io.BytesIO()
    Image.new("L", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def app(limits: Limits = SMALL, key: str | None = None) -> FastAPI:
    made = FastAPI()
    problem.install(made)

    @made.post("/read", dependencies=[Depends(auth.guard(key))])
    async def read(request: Request) -> dict[str, Any]:
        body = await uploads.read(request, limits, lambda body: body)
        return {"fields": body.fields, "images": [[one.name, len(one.content), one.sha256] for one in body.images]}

    @made.post("/bug")
    async def bug() -> None:
        raise KeyError("secret")

    return made


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(app(), base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as made:
        yield made


def refused(reply: Any, status: int, code: str) -> str:
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert error["code"] == code and set(error) == {"message", "type", "code"}
    return str(error["message"])


def test_json_and_a_form_say_the_same(client: TestClient) -> None:
    given = [image("PNG"), image("JPEG"), image("WEBP")]
    fields = {"caption": "a red square, é"}
    encoded = [base64_of(given[0]), f"data:image/jpeg;base64,{base64_of(given[1])}", base64_of(given[2])]
    of_json = client.post("/read", json={"task": "x", "images": encoded, "fields": fields}).json()
    files = [("images", (name, content)) for name, content in zip(("a.png", "../../b.jpg", ""), given, strict=True)]
    files[2] = ("images", ("C:\\x\\c\0.webp", given[2]))
    of_form = client.post("/read", data={"task": "x", "fields": json.dumps(fields)}, files=files).json()
    assert of_json["fields"] == of_form["fields"] == {"task": "x", "fields": fields}
    assert [one[1:] for one in of_json["images"]] == [one[1:] for one in of_form["images"]]
    assert [one[2] for one in of_json["images"]] == [sha256_bytes(content) for content in given]
    assert [one[0] for one in of_json["images"]] == ["image 1", "image 2", "image 3"]
    names = [one[0] for one in of_form["images"]]
    assert names[:2] == ["image 1 'a.png'", "image 2 'b.jpg'"] and "\0" not in names[2] and "x" not in names[2][:10]


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    body = json.dumps({"images": [base64_of(image())]}).encode()
    one = Limits(body_bytes=len(body), images=1)
    with TestClient(app(one), base_url="http://localhost") as client:
        assert client.post("/read", content=body, headers={"content-type": "application/json"}).status_code == 200
        more = client.post("/read", content=body + b" ", headers={"content-type": "application/json"})
    refused(more, 413, "body_too_large")


def test_the_stream_is_stopped_at_the_limit_whatever_the_client_says_of_it(client: TestClient) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while taken < 10_000_000:
            taken += 10_000
            yield b" " * 10_000

    sent = client.post("/read", content=endless(), headers={"content-type": "application/json"})
    refused(sent, 413, "body_too_large")
    asgi = asyncio.run(raw([{"type": "http.request", "body": b" " * 60_000, "more_body": True}] * 3, length=b"7"))
    assert asgi == 413


async def raw(messages: list[dict[str, Any]], length: bytes = b"", wait: float = 0.0) -> int:
    """The status of a request whose body comes in these messages; then nothing comes for `wait` seconds."""
    found: list[int] = []
    left = iter(messages)

    async def receive() -> dict[str, Any]:
        for message in left:
            return message
        await asyncio.sleep(wait)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    headers += [(b"content-length", length)] if length else []
    scope = {
        "type": "http", "method": "POST", "path": "/read", "raw_path": b"/read", "query_string": b"", "scheme": "http",
        "headers": headers, "client": ("127.0.0.1", 1), "server": ("localhost", 80), "http_version": "1.1",
    }  # fmt: skip
    await app()(scope, receive, send)
    return found[0]


def test_a_slow_client_and_one_that_hangs_up() -> None:
    piece = {"type": "http.request", "body": b'{"task"', "more_body": True}
    assert asyncio.run(raw([piece], wait=5)) == 408
    assert asyncio.run(raw([piece])) == 400


def test_what_images_may_not_be(client: TestClient) -> None:
    def sent(content: bytes) -> Any:
        return client.post("/read", json={"images": [base64_of(image()), base64_of(content)]})

    assert refused(sent(b""), 422, "bad_image") == "image 2: empty file"
    assert "not an image" in refused(sent(b"GIF89a" + b"\0" * 40), 422, "bad_image")
    assert "not an image" in refused(sent(image("GIF")), 422, "bad_image")
    assert "truncated" in refused(sent(image("PNG", (200, 200))[:-400]), 422, "bad_image")
    assert "501 x 30 px" in refused(sent(image("PNG", (501, 30))), 422, "bad_image")
    large = base64_of(saved_flat(400))
    assert client.post("/read", json={"images": [large]}).status_code == 200
    refused(client.post("/read", json={"images": [large, large]}), 413, "too_many_pixels")
    refused(sent(b"\xff\xd8\xff" + b"x" * 21_000), 413, "image_too_large")
    for text in ("http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "HTTPS://x/y.png", "gopher:x"):
        assert "none is fetched" in refused(client.post("/read", json={"images": [text]}), 400, "url_refused")
    for text in ("data:image/png,abc", "data:text/html;base64,aaaa"):
        refused(client.post("/read", json={"images": [text]}), 400, "url_refused")
    for text in ("a", "a-b_", "aGk=\n", "é", "####"):
        refused(client.post("/read", json={"images": [text]}), 400, "invalid_base64")


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        ("text/plain", b"{}", 415, "unsupported_media_type"),
        ("application/octet-stream", b"\x80\x04}.", 415, "unsupported_media_type"),
        ("", b"{}", 415, "unsupported_media_type"),
        ("application/json", b"[]", 400, "invalid_json"),
        ("application/json", b"", 400, "invalid_json"),
        ("application/json", b'{"images": "abc"}', 400, "invalid_images"),
        ("application/json", b'{"images": [1]}', 400, "invalid_images"),
        ("application/json", b'{"images": null}', 400, "invalid_images"),
        ("application/json", b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}", 400, "invalid_json"),
        ("application/json", b'{"a": "' + b"x" * 3000 + b'"}', 413, "text_too_large"),
        ("application/json", b'{"images": ["", "", "", ""]}', 413, "too_many_images"),
        ("multipart/form-data", b"", 400, "broken_multipart"),
        ("multipart/form-data; boundary=b", b"", 400, "broken_multipart"),
        ("multipart/form-data; boundary=b", b"--b\r\n", 400, "broken_multipart"),
        ("multipart/form-data; boundary=b", b"--c\r\n\r\n--c--\r\n", 400, "broken_multipart"),
        ("multipart/form-data; boundary=" + "b" * 1000, b"--c\r\n\r\n--c--\r\n", 400, "broken_multipart"),
    ],
)  # fmt: skip
def test_other_bodies(client: TestClient, kind: str, body: bytes, status: int, code: str) -> None:
    refused(client.post("/read", content=body, headers={"content-type": kind}), status, code)


def form(*parts: tuple[str, bytes]) -> bytes:
    return b"".join(b"--b\r\n%s\r\n\r\n%s\r\n" % (head.encode(), body) for head, body in parts) + b"--b--\r\n"


def test_a_form_that_is_not_whole(client: TestClient) -> None:
    head = 'Content-Disposition: form-data; name="images"; filename="a.png"'
    text = 'Content-Disposition: form-data; name="task"'

    def sent(body: bytes) -> Any:
        return client.post("/read", content=body, headers={"content-type": "multipart/form-data; boundary=b"})

    whole = form((head, image()), (text, b"x"))
    assert sent(whole).json()["fields"] == {"task": "x"}
    for cut in (len(whole) - 3, len(whole) - 30, 60, 90):
        refused(sent(whole[:cut]), 400, "broken_multipart")
    refused(sent(form((text, b"x"), (text, b"y"))), 400, "invalid_part")
    refused(sent(form((text, b"\xff"))), 400, "invalid_part")
    refused(sent(form(('Content-Disposition: form-data; name="images"', b"x"))), 400, "invalid_part")
    refused(sent(form((head.replace("images", "other"), image()))), 400, "unknown_part")
    refused(sent(form(("Content-Disposition: form-data", b"x"))), 400, "broken_multipart")
    refused(sent(form(("Content-Type: text/plain", b"x"))), 400, "broken_multipart")
    refused(sent(form((text + "\r\nContent-Transfer-Encoding: base64", b"eA=="))), 400, "broken_multipart")
    refused(sent(form((text.replace("task", "fields"), b'{"a": 1, "a": 2}'))), 400, "invalid_json")
    refused(sent(form(*[(text.replace("task", f"f{n}"), b"") for n in range(600)])), 413, "too_many_parts")


def test_a_compressed_body_and_too_many_values(client: TestClient) -> None:
    gzip = {"content-type": "application/json", "content-encoding": "gzip"}
    refused(client.post("/read", content=b"{}", headers=gzip), 415, "unsupported_encoding")
    with TestClient(app(Limits()), base_url="http://localhost") as wide:
        many = wide.post(
            "/read", content=b"[" + b"{}," * 200_000 + b"{}]", headers={"content-type": "application/json"}
        )
    refused(many, 413, "too_many_values")


def test_other_paths_methods_and_bugs(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    refused(client.get("/read"), 405, "method_not_allowed")
    refused(client.post("/other%0d%0aX-Header:1"), 404, "not_found")
    said = client.post("/bug")
    refused(said, 500, "internal_error")
    assert "secret" not in said.text


def test_the_key(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with TestClient(app(key=KEY)) as client:
        for value in ("", "Bearer", f"Basic {KEY}", f"Bearer {KEY[:-1]}", f"Bearer {KEY}x", f"Bearer  {KEY}", KEY, "é"):
            sent = client.post("/read", json={}, headers={"authorization": value.encode("latin-1")})
            assert KEY not in refused(sent, 401, "invalid_api_key")
            assert sent.headers["www-authenticate"] == "Bearer"
        twice = [("authorization", f"Bearer {KEY}"), ("authorization", "Bearer x")]
        refused(client.post("/read", json={}, headers=twice), 401, "invalid_api_key")
        assert client.post("/read", json={}, headers={"authorization": f"bearer {KEY}"}).status_code == 200
    assert KEY not in caplog.text


def test_without_a_key_only_this_machines_names_are_answered() -> None:
    for host, status in {
        "127.0.0.1:80": 200,
        "localhost": 200,
        "[::1]:8000": 200,
        "evil.example": 403,
        "[": 403,
    }.items():
        with TestClient(app(), base_url="http://localhost") as client:
            assert client.post("/read", json={}, headers={"host": host}).status_code == status, host
    for origin, status in {"http://localhost:3000": 200, "https://evil.example": 403, "null": 403}.items():
        with TestClient(app(), base_url="http://localhost") as client:
            assert client.post("/read", json={}, headers={"origin": origin}).status_code == status, origin


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", "", "127.0.0.1.example.com"])
def test_an_open_server_needs_a_key(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.delenv(auth.VARIABLE, raising=False)
    with pytest.raises(UserError, match="MTRL_API_KEY is not set") as found:
        auth.key_for(host)
    assert "openssl rand" in found.value.then
    monkeypatch.setenv(auth.VARIABLE, KEY)
    assert auth.key_for(host) == KEY


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost", "LOCALHOST"])
def test_on_loopback_a_key_is_used_where_it_is_set(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv(auth.VARIABLE, "")
    assert auth.key_for(host) is None
    monkeypatch.setenv(auth.VARIABLE, KEY)
    assert auth.key_for(host) == KEY
    for weak in (
        "short",
        "a" * 40,
        "k\u00e9y-of-24-characters-00",
        "two words of twenty-four",
        "line\nof-24-characters-0",
    ):
        monkeypatch.setenv(auth.VARIABLE, weak)
        with pytest.raises(UserError, match="MTRL_API_KEY") as found:
            auth.key_for(host)
        assert weak not in str(found.value)
