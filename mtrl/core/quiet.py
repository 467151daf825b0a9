"""What upstream code prints while it loads a model goes to a log, not among mtrl's own lines on the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def to_log(log: Path | None) -> Iterator[None]:
    """Sends standard error, of this process and of those it starts, to the end of `log` (None: nowhere)."""
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    kept, target = os.dup(2), os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.dup2(target, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(target)
