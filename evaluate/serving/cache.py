"""Verdicts by the hash of what they depend on, in one SQLite file of bounded size that outlives the server.

One is written when the next is looked up, or at the end. The least recently used ones are removed first. A disk that is
full, or a file that is damaged, never fails a request: the cache is off from then on, which `off` says and `say` is
told once. Values are JSON, checked when they are read.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from mtrl.core.errors import UserError
from mtrl.core.parsing import parse_json
from mtrl.core.schema import validate
from mtrl.evaluate.verdict import Verdict

TABLE = """
CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, used REAL NOT NULL, size INTEGER NOT NULL,
                                     verdict TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_use ON verdicts (used, key, size);
"""
EACH = 400  # bytes of a row next to its verdict: key, index and SQLite's own
SHARE = 0.99  # of the size: what is kept when the rest is removed, in 0.2 s of 256 MB
BUSY = 0.1  # seconds that another process, which has the same file, is waited for


class Cache:
    """May be used in several threads at once, and its file by several servers."""

    def __init__(self, file: Path | None, size: int, say: Callable[[str], None]) -> None:
        """At most about `size` bytes; 0: nothing is kept. `file` None: in memory, until the server ends."""
        self.off = "no cache is wanted" if not size else ""
        """Why nothing is kept, "" where it is."""
        self.hits = self.misses = self.bytes = 0
        self._file, self._size, self._say, self._lock = file, size, say, threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._unwritten = deque[tuple[str, Verdict]]()
        if size:
            self._do(self._open)

    def get(self, key: str) -> Verdict | None:
        """For a thread: another process may have the file locked."""
        with self._lock:
            self._write()
            found = self._do(lambda: self._get(key))
            self.hits += found is not None
            self.misses += found is None and not self.off
            return found

    def put(self, key: str, verdict: Verdict) -> None:
        """Waits for nothing."""
        if not self.off:
            self._unwritten.append((key, verdict))

    def close(self) -> None:
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._write()
            if self._database:
                self._database.close()
            self._database = None

    def _write(self) -> None:
        while self._unwritten:
            self._do(partial(self._put, *self._unwritten.popleft()))

    def _open(self) -> None:
        if self._file:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # answers are the user's own
        name = self._file or ":memory:"
        self._database = sqlite3.connect(name, timeout=BUSY, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")  # after a power cut the last verdicts may be gone
        self._database.executescript(TABLE)
        self._shrink()

    def _get(self, key: str) -> Verdict | None:
        assert self._database
        row = self._database.execute("SELECT verdict FROM verdicts WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        self._database.execute("UPDATE verdicts SET used = ? WHERE key = ?", (time.time(), key))
        try:
            return validate(Verdict, parse_json(row[0], "a verdict"), "a verdict")
        except UserError as error:
            raise sqlite3.DatabaseError(str(error)) from None

    def _put(self, key: str, verdict: Verdict) -> None:
        assert self._database
        said = json.dumps(asdict(verdict))
        size = len(said) + EACH
        self._database.execute("REPLACE INTO verdicts VALUES (?, ?, ?, ?)", (key, time.time(), size, said))
        self.bytes += size
        if self.bytes > self._size:
            self._shrink()

    def _shrink(self) -> None:
        """Counts again, as another server may have the file, and removes the least recently used."""
        assert self._database
        (self.bytes,) = self._database.execute("SELECT ifnull(sum(size), 0) FROM verdicts").fetchone()
        if self.bytes <= self._size:
            return
        left, old = self.bytes, []
        for key, size in self._database.execute("SELECT key, size FROM verdicts ORDER BY used, key"):
            if left <= SHARE * self._size:
                break
            old.append((key,))
            left -= size
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany("DELETE FROM verdicts WHERE key = ?", old)
        self._database.execute("COMMIT")
        self.bytes = left

    def _do(self, what: Callable[[], Verdict | None]) -> Verdict | None:
        """What `what` returns; None where the cache is off, and where another server has the file for too long."""
        if self.off:
            return None
        try:
            return what()
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                with contextlib.suppress(sqlite3.Error):
                    if self._database and self._database.in_transaction:
                        self._database.execute("ROLLBACK")
                return None
            self.off = f"{self._file}: {error}"
            self._say(f"the cache is off: {self.off}; requests are answered without it")
            with contextlib.suppress(sqlite3.Error):
                if self._database:
                    self._database.close()
            return None
