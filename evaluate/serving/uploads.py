"""A request's body as fields and images: read as a stream within limits, decoded, and checked as a conversion checks.

    application/json       {"task": "x", "images": ["<base64>" or "data:image/png;base64,...", ...], "fields": {...}}
    multipart/form-data    files called `images`, in order; `fields` is the JSON of an object; other parts are texts

Nothing else is read: no pickle, no compressed body, no address (a URL is an error and never fetched). An image is a
whole JPEG, PNG or WebP, which Pillow decodes and every trainer reads; it stays in memory, as it came.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from mtrl.converters.pipeline import images
from mtrl.converters.readers.picture import Rejected
from mtrl.core.errors import UserError
from mtrl.core.files import sha256_bytes
from mtrl.core.parsing import NODES, parse_json
from mtrl.evaluate.serving import jpeg, multipart
from mtrl.evaluate.serving.problem import Problem as Problem
from mtrl.evaluate.serving.problem import quoted

JSON = "application/json"
T = TypeVar("T")
FORMATS = ("JPEG", "PNG", "WEBP")
_DATA = re.compile(r"data:image/[\w.+-]{1,40};base64,")  # of RFC 2397
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,30}:")  # base64 has no colon


@dataclass(frozen=True)
class Limits:
    """What a request may have at most; all ours. A body of 64 images of 1 MB each fits."""

    body_bytes: int = 64 << 20
    """Bytes of the whole body."""
    text_bytes: int = 1 << 20
    """Bytes of all that is not an image."""
    images: int = 64
    """Images per request."""
    image_bytes: int = 16 << 20
    """Bytes of one image, as JPEG, PNG or WebP."""
    side_px: int = 8192
    """Pixels of an image's longer side."""
    pixels: int = 1 << 28
    """Pixels of all images together: a few seconds of decoding, a minute for JPEGs of the most scans."""
    seconds: float = 60.0
    """Seconds until the whole body has come."""


@dataclass(frozen=True)
class Upload:
    """An image that decodes."""

    name: str
    """What the client calls it, for messages: the last part of a file name, or "image 2". Never a path."""
    content: bytes
    """As it came."""
    sha256: str
    """Of `content`."""
    checked: tuple[str, images.Decoded] | None = None
    """What `images.check` found in it."""


@dataclass(frozen=True)
class Body:
    """What a request says."""

    fields: dict[str, Any]
    """The JSON object's keys but `images`, or the form's parts."""
    images: list[Upload]
    """In the client's order."""


async def read(request: Request, limits: Limits, use: Callable[[Body], T]) -> T:
    """What `use` makes of the body, in the thread that decodes it. Raises Problem: 400 not well-formed, 408 too slow,
    413 too large, 415 of another type, 422 a bad image; and what `use` raises."""
    given = request.headers.get("content-type", "")
    kind = given.partition(";")[0].strip().lower()
    if kind not in (JSON, multipart.TYPE):
        raise Problem(
            415,
            "unsupported_media_type",
            f"content type {quoted(given)} is not read: send {JSON} or {multipart.TYPE} (never pickle)",
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "unsupported_encoding", "the body is compressed: send it as it is")
    body, of = await whole(request, limits), _of_json if kind == JSON else _of_form
    return await asyncio.to_thread(lambda: use(of(body, given, limits)))


async def whole(request: Request, limits: Limits) -> bytes:
    """The body. A Content-Length is believed only where it is too large. Raises Problem (408, 413)."""
    length, body = request.headers.get("content-length", ""), bytearray()
    too_large = Problem(
        413, "body_too_large", f"the body has more than {limits.body_bytes:,} bytes", {"Connection": "close"}
    )
    if length.isdecimal() and (len(length) > 18 or int(length) > limits.body_bytes):
        raise too_large
    try:
        async with asyncio.timeout(limits.seconds):
            async for piece in request.stream():
                body += piece
                if len(body) > limits.body_bytes:
                    raise too_large
    except TimeoutError:
        raise Problem(
            408, "too_slow", f"the body had not come after {limits.seconds:g} s", {"Connection": "close"}
        ) from None
    except ClientDisconnect:  # nobody reads this
        raise Problem(400, "disconnected", "the client hung up before the body's end") from None
    return bytes(body)


def _of_json(body: bytes, _: str, limits: Limits) -> Body:
    fields = parsed(body)
    given = fields.pop("images", [])
    if not isinstance(given, list) or not all(isinstance(image, str) for image in given):
        raise Problem(400, "invalid_images", '"images" is not a list of texts, each an image in base64')
    return Body(fields, of_base64(given, len(body), limits))


def parsed(body: bytes) -> dict[str, Any]:
    """A body that is a JSON object. Raises Problem (400, 413)."""
    if sum(map(body.count, (b",", b"[", b"{"))) > NODES:  # before it is parsed: `{},` of 3 bytes becomes 72
        raise Problem(413, "too_many_values", f"the JSON has more than {NODES:,} values")
    try:
        fields = parse_json(body, "the body")
    except UserError as error:
        raise Problem(400, "invalid_json", str(error)) from None
    if not isinstance(fields, dict):
        raise Problem(400, "invalid_json", 'the body is not a JSON object, such as {"task": ..., "images": [...]}')
    return fields


def of_base64(given: list[str], size: int, limits: Limits) -> list[Upload]:
    """The images of a JSON body of `size` bytes, each in base64 or a data: URL. Raises Problem (400, 413, 422)."""
    _check_text(size - sum(map(len, given)), limits)
    _check_count(len(given), limits)
    found = [_from_base64(text, f"image {number}", limits) for number, text in enumerate(given, start=1)]
    return _checked(found, limits)


def _from_base64(text: str, name: str, limits: Limits) -> tuple[str, bytes]:
    if prefix := _DATA.match(text):
        text = text[prefix.end() :]
    elif _SCHEME.match(text):
        raise Problem(
            400, "url_refused", f"{name}: {quoted(text)} is an address, and none is fetched: send the image in base64"
        )
    if len(text) // 4 * 3 > limits.image_bytes + 3:
        raise _too_large(name, limits)
    try:
        return name, base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        raise Problem(400, "invalid_base64", f"{name} is not base64 (no line ends, + and / not - and _)") from None


def _of_form(body: bytes, content_type: str, limits: Limits) -> Body:
    fields: dict[str, Any] = {}
    parts = multipart.parse(body, content_type)
    files = [part for part in parts if part.file is not None]
    texts = [part for part in parts if part.file is None]
    if strange := next((part for part in files if part.name != "images"), None):
        raise Problem(400, "unknown_part", f"the file part {quoted(strange.name)} is not read: images go into `images`")
    _check_text(sum(len(part.name) + len(part.content) for part in texts), limits)
    _check_count(len(files), limits)
    for part in texts:
        if part.name in fields or part.name == "images":
            why = "is a text: send it as a file, with a filename" if part.name == "images" else "is given twice"
            raise Problem(400, "invalid_part", f"the part {quoted(part.name)} {why}")
        try:
            text = part.content.decode("utf-8")
            fields[part.name] = parse_json(text, "the part `fields`") if part.name == "fields" else text
        except UnicodeDecodeError:
            raise Problem(400, "invalid_part", f"the part {quoted(part.name)} is not UTF-8") from None
        except UserError as error:
            raise Problem(400, "invalid_json", str(error)) from None
    return Body(
        fields, _checked([(_name(part.file, n), part.content) for n, part in enumerate(files, start=1)], limits)
    )


def _name(given: str | None, number: int) -> str:
    last = re.split(r"[/\\]", given or "")[-1]
    return f"image {number} {quoted(last)}" if last.strip() else f"image {number}"


def _check_text(size: int, limits: Limits) -> None:
    if size > limits.text_bytes:
        raise Problem(413, "text_too_large", f"more than {limits.text_bytes:,} bytes are no image")


def _check_count(number: int, limits: Limits) -> None:
    if number > limits.images:
        raise Problem(413, "too_many_images", f"{number} images; at most {limits.images} are taken per request")


def _too_large(name: str, limits: Limits) -> Problem:
    return Problem(413, "image_too_large", f"{name} has more than {limits.image_bytes:,} bytes")


def _checked(given: list[tuple[str, bytes]], limits: Limits) -> list[Upload]:
    """The images by name, once their headers are read, so that nothing too large is decoded, and then all of them."""
    if sum(_pixels(name, content, limits) for name, content in given) > limits.pixels:
        raise Problem(413, "too_many_pixels", f"the images have more than {limits.pixels:,} pixels together")
    found = []
    for name, content in given:
        try:
            found.append(Upload(name, content, sha256_bytes(content), images.check(content)))
        except Rejected as why:
            raise _bad(name, why) from None
    return found


def _pixels(name: str, content: bytes, limits: Limits) -> int:
    """As the image's header says."""
    from PIL import Image

    if len(content) > limits.image_bytes:
        raise _too_large(name, limits)
    if not content:
        raise _bad(name, "empty file")
    if why := jpeg.problem(content):
        raise _bad(name, why)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise _bad(name, f"more than {images.MAX_PIXELS} pixels") from None
    except Exception:  # decoders raise what they like, see `images.check`
        raise _bad(name, f"not an image, or not one of {', '.join(FORMATS)}") from None
    if max(width, height) > limits.side_px:
        raise _bad(name, f"{width} x {height} px; a side has at most {limits.side_px} px")
    return width * height


def _bad(name: str, why: object) -> Problem:
    return Problem(422, "bad_image", f"{name}: {why}")
