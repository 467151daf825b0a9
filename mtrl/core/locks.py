"""One writer at a time, among processes, containers and machines that share a folder.

`take` locks an open file by flock: the lock ends with its holder, even if that is killed, and works between hosts over
NFS. `held` does so for a block, and works where a mount has no flock too (some of Lustre, FUSE and SMB). There the lock
is a lease: a file that one process alone can create. Its holder touches it; a process that sees it untouched for
`STALE` seconds takes it over. Times of two machines are never compared.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mtrl.core.errors import UserError

POLL = 0.2  # seconds between two tries
BEAT = 10.0  # seconds between two touches of a lease
STALE = 180.0  # network file systems may show a time that is a minute old
SETTLE = 2.0  # seconds after which all that take over a stale lease have written to it: the last one has it


class NoLocks(UserError):
    """The file system has no flock."""


def take(descriptor: int) -> bool:
    """Locks the open file until it is closed; False where another process holds it. Raises NoLocks, and OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
            raise
        name = os.path.realpath(f"/proc/self/fd/{descriptor}")
        raise NoLocks(
            f"the file system of {name} has no file locks ({error.strerror}), so two commands could write at once",
            "use a folder on another file system, or mount this one with locks (Lustre: -o flock)",
        ) from None
    return True


@contextlib.contextmanager
def held(file: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[bool]:
    """Holds the lock `file`, which stays. If another process holds it, calls `waiting` once; yields whether it did."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as lock, contextlib.ExitStack() as stack:
        waited = False
        try:
            while not take(lock.fileno()):
                if not waited:
                    waiting()
                waited = True
                time.sleep(POLL)
        except NoLocks:
            waited = stack.enter_context(_leased(file.with_name(f"{file.name}.lease.lock"), waiting))
        yield waited


@contextlib.contextmanager
def _leased(lease: Path, waiting: Callable[[], None]) -> Iterator[bool]:
    token, waited = secrets.token_hex(16), False
    seen, since = "", time.monotonic()
    while True:
        with contextlib.suppress(FileExistsError):
            with lease.open("x") as new:
                new.write(token)
            break
        now = _state(lease)
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > STALE:
            lease.write_text(token)
            time.sleep(SETTLE)
            if _holder(lease) == token:
                break
        if not waited:
            waiting()
        waited = True
        time.sleep(POLL)
    done = threading.Event()
    beat = threading.Thread(target=_touch, args=(lease, token, done), daemon=True)
    beat.start()
    try:
        yield waited
    finally:
        done.set()
        beat.join()
        if _holder(lease) == token:
            lease.unlink(missing_ok=True)


def _touch(lease: Path, token: str, done: threading.Event) -> None:
    while not done.wait(BEAT):
        if _holder(lease) == token:
            with contextlib.suppress(OSError):  # the network may fail for a moment; the next touch is soon enough
                os.utime(lease)


def _holder(lease: Path) -> str:
    try:
        return lease.read_text()
    except OSError:
        return ""


def _state(lease: Path) -> str:
    try:
        return f"{lease.stat().st_mtime_ns} {lease.read_text()}"
    except OSError:  # it was removed just now
        return ""
