"""Who may ask: the key in MTRL_API_KEY, which a client sends as `Authorization: Bearer KEY`.

A server that other machines can reach needs one. Without a key, the server answers requests to this machine's own
names only, and none that a page of another server makes (Origin): a web page could else ask from the user's browser.
The key is compared in constant time, and is in no log, page or message.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from fastapi import Request

from mtrl.core.errors import UserError
from mtrl.evaluate.serving.problem import Problem

VARIABLE = "MTRL_API_KEY"
LEAST, DIFFERENT = 16, 8  # characters, and different ones; ours: a shorter key can be guessed
MAKE = f"export {VARIABLE}=$(openssl rand -hex 24)"


def key_for(host: str) -> str | None:
    """The key that clients must send to a server bound to `host`; None where none is set and none is needed.

    Raises UserError where one is needed and missing, and for one that is weak. Called before a model is loaded.
    """
    key = os.environ.get(VARIABLE, "").strip()
    if not key:
        if is_loopback(host):
            return None
        raise UserError(
            f"--host {host} can be reached from other machines, and {VARIABLE} is not set: anybody could ask the judge",
            f"{MAKE}; or leave out --host",
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UserError(f"{VARIABLE} has characters other than letters, digits and signs of ASCII", MAKE)
    if len(key) < LEAST or len(set(key)) < DIFFERENT:
        raise UserError(f"{VARIABLE} can be guessed: it needs {LEAST} characters, {DIFFERENT} of them different", MAKE)
    return key


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server bound to `host`."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def guard(key: str | None) -> Callable[[Request], Awaitable[None]]:
    """FastAPI's dependency for every path that asks the judge. It raises Problem: 401, or 403 for another Host."""
    expected = None if key is None else _digest(f"Bearer {key}")

    async def allowed(request: Request) -> None:
        if expected is None:
            named = [_host(request.headers.get("host", "")), *map(_host, request.headers.getlist("origin"))]
            if not all(map(is_loopback, named)):
                raise Problem(
                    403,
                    "forbidden_host",
                    "this server has no key, so it answers requests to 127.0.0.1 or localhost only, and none of other"
                    f" servers' pages ({VARIABLE})",
                )
            return
        given = request.headers.getlist("authorization")
        scheme, _, sent = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        right = hmac.compare_digest(_digest(f"Bearer {sent}"), expected)
        if not right or scheme.casefold() != "bearer":
            raise Problem(
                401,
                "invalid_api_key",
                "the key is missing or wrong: send Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )

    return allowed


def _host(header: str) -> str:
    """Of a Host, or an Origin."""
    try:
        return urlsplit(header if "://" in header else f"//{header}").hostname or ""
    except ValueError:
        return ""


def _digest(text: str) -> bytes:
    """Of equal length for every key, so that comparing tells nothing of it."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
