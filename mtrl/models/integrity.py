"""Checks that a judge's files have the sha256 that its mtrl.json lists: before it is loaded, while it is asked, and
at the end.

A file whose size, times and inode are those of the last check is not hashed again, also not by a later command. What
was found is kept in the user's cache folder, so a downloaded checkpoint cannot bring its own results.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from mtrl.core.errors import UserError
from mtrl.core.files import read_json, sha256_bytes, user_cache, write_json

EVERY = 10.0  # seconds between two checks while a judge is asked; loading a model takes longer
FRESH = 2.0  # seconds; a file that was changed less long ago could change again and keep its time
CHUNK = 1 << 22
LOADED = (".safetensors", ".bin", ".pt", ".pth", ".gguf")  # endings by which a loader takes a file for weights

Stat = list[int]  # size, time of modification and of change in ns, inode
T = TypeVar("T")


class Files:
    """The files of `folder` that `listed` names, {path: sha256}. `others` are names of files that may only be there if
    they are listed.
    """

    def __init__(self, folder: Path, listed: dict[str, str], others: Iterable[str] = ()) -> None:
        self.folder, self.listed, self.others = folder, listed, set(others)
        self._seen: dict[str, Stat] = {}

    def check(self, tick: Callable[[int, int], None] = lambda done, total: None, only: str = "") -> None:
        """Hashes the files below `only` whose stat is new. `tick` gets (megabytes read, in all). Raises UserError."""
        names = [name for name in self.listed if name.startswith(only)]
        stats = {name: self._stat(name) for name in names}
        if not only and (extra := self._extra()):
            raise self._wrong(f"{self.folder / extra} is not listed in mtrl.json")
        cached = _cached(self.folder) if not self._seen else {}
        known = {name: at for name, (at, found) in cached.items() if found == self.listed.get(name)} | self._seen
        new = [name for name in names if known.get(name) != stats[name]]
        total, lock, done = sum(stats[name][0] for name in new) >> 20, threading.Lock(), 0

        def read(size: int) -> None:
            nonlocal done
            with lock:
                done += size
                tick(done >> 20, max(1, total))

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for name, found in zip(new, pool.map(lambda n: _sha256(self.folder / n, read), new), strict=True):
                if found != self.listed[name]:
                    raise self._wrong(
                        f"{self.folder / name} has been changed since it was exported: mtrl.json lists another sha256"
                    )
        now = time.time()
        settled = {n: at for n, at in stats.items() if all(abs(now - at[k] / 1e9) > FRESH for k in (1, 2))}
        self._seen = {n: at for n, at in self._seen.items() if n not in stats} | settled
        if new:
            _remember(self.folder, {**cached, **{n: (at, self.listed[n]) for n, at in settled.items()}})

    def _stat(self, name: str) -> Stat:
        try:
            at = (self.folder / name).stat()
        except OSError as error:
            raise self._wrong(
                f"{self.folder / name}, which mtrl.json lists, cannot be read: {error.strerror}"
            ) from None
        return [at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino]

    def _extra(self) -> str:
        """A file that mtrl.json does not list, and that a loader would read."""
        here = sorted(file.name for file in self.folder.iterdir() if file.suffix in LOADED or file.name in self.others)
        return next((name for name in here if name not in self.listed), "")

    def _wrong(self, what: str) -> UserError:
        return UserError(what, f"restore {self.folder}, or export the run again to another folder")


def watched(answers: Iterable[T], check: Callable[[], None]) -> Iterator[T]:
    """The answers as they come; `check` is called before the first, then every EVERY seconds, and after the last."""
    last = -EVERY
    for answer in answers:
        if time.monotonic() - last > EVERY:
            check()
            last = time.monotonic()
        yield answer
    check()


def _sha256(file: Path, read: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                read(len(chunk))
    except OSError as error:
        return str(error)  # not a sha256, so it differs from the listed one
    return digest.hexdigest()


def _memory(folder: Path) -> Path:
    return user_cache() / "verified" / f"{sha256_bytes(str(folder.resolve()).encode())}.json"


def _cached(folder: Path) -> dict[str, tuple[Stat, str]]:
    """{file: (stat, sha256)} as an earlier command found them."""
    with contextlib.suppress(UserError, TypeError, ValueError, AttributeError, RuntimeError):
        return {name: (list(stat), str(found)) for name, (stat, found) in read_json(_memory(folder)).items()}
    return {}


def _remember(folder: Path, found: dict[str, tuple[Stat, str]]) -> None:
    with contextlib.suppress(OSError, RuntimeError):  # without the cache the next command only takes longer
        write_json(_memory(folder), found)
