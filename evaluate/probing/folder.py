"""The folder of a probe: one command at a time writes to it, and what it has stays in its page and probe.json."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mtrl.core import targets
from mtrl.core.errors import UserError
from mtrl.core.locks import take
from mtrl.evaluate import predictions
from mtrl.evaluate.identity import IDENTITY, read_identity

LOCK = ".probe.lock"


@contextlib.contextmanager
def taken(folder: Path) -> Iterator[None]:
    """Holds the folder, with its answers, changed images, page and probe.json. Raises UserError where another process
    does, and where another command wrote it."""
    targets.check_folder(folder)
    if (folder / IDENTITY).exists():
        read_identity(folder).check_purpose("probe", folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as lock:
        if not take(lock.fileno()):
            raise UserError(f"another mtrl probe is writing to {folder}", "wait for it, or pass another --out")
        yield


def tasks(folder: Path, fingerprint: str) -> list[str]:
    """The tasks that the folder has answers to, complete or not; none where they are of another judge than this
    fingerprint's, whose folder a probe cannot use. Raises UserError."""
    if not (folder / IDENTITY).exists() or read_identity(folder).checkpoint != fingerprint:
        return []
    return list(dict.fromkeys(row.task for row in predictions.load(folder, purpose="probe").rows))
