"""Whether a Ray cluster answers at an address, asked with a plain socket: Ray's own client would retry for minutes."""

from __future__ import annotations

import contextlib
import os
import socket

WAIT = 5  # seconds that a cluster has to answer
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # HTTP/2: an empty SETTINGS frame


def problem(host: str, port: int) -> str:
    """Why no Ray cluster can be reached here; "" where the address speaks gRPC, as Ray's control service does."""
    try:
        with contextlib.closing(socket.create_connection((host, port), WAIT)) as connection:
            if os.environ.get("RAY_USE_TLS") == "1":
                return ""  # it asks for a certificate first, so this is as far as a plain socket gets
            connection.settimeout(WAIT)
            connection.sendall(HELLO)
            frame = connection.recv(9)
    except TimeoutError:
        return f"no answer in {WAIT} s"
    except OSError as error:
        return error.strerror or str(error)
    return "" if len(frame) > 3 and frame[3] == 4 else "something else listens there"
