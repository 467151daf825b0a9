"""Sends what upstream code prints while it loads a model to a log, so that the terminal shows mtrl's own lines only."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def stderr_to(log: Path | None) -> Iterator[None]:
    """Appends the standard error of this process and of those it starts to `log`; None discards it."""
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
