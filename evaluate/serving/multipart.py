"""A multipart/form-data body as its parts, in memory: no temporary file, and no part that is not whole.

Starlette's own parser takes a body that ends early for a shorter one, and writes files of over 1 MB to the disk. RFC
7578 says what a part is. Bounds: PARTS parts, and the header bounds of python-multipart (16 headers of 4 KiB).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from mtrl.evaluate.serving.problem import Problem, quoted

PARTS = 512  # ours: more than the images and fields of any request
TYPE = "multipart/form-data"
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # a line per broken body would fill the log


@dataclass(frozen=True)
class Part:
    """One part of the body."""

    name: str
    """The form's field."""
    file: str | None
    """What the client calls the file; None for a text."""
    content: bytes


def parse(body: bytes, content_type: str) -> list[Part]:
    """The parts in order. Raises Problem (400) where the body is not whole, or not as RFC 7578 says."""
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise _broken("its content type names no boundary")
    parts: list[Part] = []
    headers: dict[str, bytes] = {}
    name, value, content = bytearray(), bytearray(), bytearray()
    whole = False

    def begin() -> None:
        if len(parts) == PARTS:
            raise Problem(413, "too_many_parts", f"the body has more than {PARTS} parts")
        headers.clear()
        content.clear()

    def header() -> None:
        headers[name.decode("latin-1").lower()] = bytes(value)
        name.clear()
        value.clear()

    def end() -> None:
        kind, options = parse_options_header(headers.get("content-disposition"))
        if kind != b"form-data" or b"name" not in options:
            raise _broken(f"part {len(parts) + 1} has no name")
        if headers.get("content-transfer-encoding", b"binary").lower() not in (b"binary", b"8bit", b"7bit"):
            raise _broken(f"part {len(parts) + 1} has a transfer encoding")
        file = options.get(b"filename")
        parts.append(Part(_text(options[b"name"]), None if file is None else _text(file), bytes(content)))

    def last() -> None:
        nonlocal whole
        whole = True

    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": begin,
                "on_header_field": lambda data, start, end: name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: value.extend(data[start:end]),
                "on_header_end": header,
                "on_part_data": lambda data, start, end: content.extend(data[start:end]),
                "on_part_end": end,
                "on_end": last,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise _broken(quoted(error)[1:-1]) from None
    if not whole:
        raise _broken("it ends before its last boundary")
    return parts


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _broken(why: str) -> Problem:
    return Problem(400, "broken_multipart", f"the body is not whole {TYPE}: {why}")
