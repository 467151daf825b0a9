"""Whether a Ray cluster answers at an address, found with a socket: Ray itself would retry for minutes."""

from __future__ import annotations

import contextlib
import os
import socket

WAIT = 5  # seconds for a cluster to answer
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # HTTP/2: an empty SETTINGS frame


def answer(host: str, port: int) -> str:
    """Why what is at this address is no Ray cluster, "" where it speaks gRPC as Ray's control service does."""
    try:
        with contextlib.closing(socket.create_connection((host, port), WAIT)) as there:
            if os.environ.get("RAY_USE_TLS") == "1":
                return ""  # it would want a certificate first
            there.settimeout(WAIT)
            there.sendall(HELLO)
            frame = there.recv(9)
    except TimeoutError:
        return f"nothing in {WAIT} s"
    except OSError as error:
        return error.strerror or str(error)
    return "" if len(frame) > 3 and frame[3] == 4 else "what listens there is something else"
