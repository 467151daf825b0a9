"""The image store: release bytes verbatim, once each, under images/ab/<sha256>.<ext> below the data folder.

Every image is decoded once here, so that none can stop a training at row 30,000. One thread reads, as many as there are
cores decode and write, and no more than a window of images is in memory. Stored files are copies: an edit of the release
does not reach them. Which images are not stored verbatim: see images.py.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from mtrl.converters.base import Row
from mtrl.converters.pipeline import images
from mtrl.converters.readers.picture import Picture, Rejected
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import sha256_bytes, written


class Stored(NamedTuple):
    name: str  # relative to the data folder
    known: images.Known


WINDOW, WINDOW_BYTES = 64, 64 * 2**20  # rows and bytes of images between reading and storing
WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
Outcome = tuple[Stored, ...] | Rejected


def all_of(rows: Iterable[tuple[int, Row]], store: Callable[[Picture, bytes], Stored]) -> Iterator[tuple[int, Outcome]]:
    """Reads each row's images here, stores them on all cores, and yields what came of it, in order."""

    def place(row: Row, contents: list[bytes]) -> Outcome:
        try:
            return tuple(map(store, row.images, contents))
        except Rejected as reason:
            return reason

    waiting: deque[tuple[int, int, Future[Outcome]]] = deque()
    pending = 0  # bytes
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            for index, row in rows:
                contents, reason = _read(row)
                size = sum(map(len, contents))
                if reason:
                    done: Future[Outcome] = Future()
                    done.set_result(reason)
                else:
                    done = pool.submit(place, row, contents)
                waiting.append((index, size, done))
                pending += size
                while len(waiting) > WINDOW or pending > WINDOW_BYTES:
                    first, size, done = waiting.popleft()
                    pending -= size
                    yield first, done.result()
            for first, _, done in waiting:
                yield first, done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _read(row: Row) -> tuple[list[bytes], Rejected | None]:
    """The bytes of the row's images, or why there are none. Raises MtrlError where the release cannot be read."""
    if row.reject:
        return [], Rejected(row.reject)
    try:
        return [picture.read() for picture in row.images], None
    except Rejected as reason:
        return [], reason
    except OSError as error:
        raise MtrlError(f"row {row.id}: reading its image failed: {error}", "look at the release's files") from error


def store(
    picture: Picture,
    data: bytes,
    data_folder: Path,
    known: dict[str, images.Known],
    orient: bool = False,
    links: bool = False,
    staging: Path | None = None,
) -> Stored:
    """Checks and stores one picture's bytes. `known` spares decoding what is stored already. Raises Rejected, OSError.

    `orient` stores an image upright whose EXIF asks for a rotation. `links` makes the stored file a hard link to the
    release's, where it would be a copy. Files come to be in `staging`, which only this conversion writes to.
    """
    digest = sha256_bytes(data)
    for extension in set(images.EXTENSIONS.values()):
        name = f"images/{digest[:2]}/{digest}.{extension}"
        if (
            name in known
            and not (orient and images.ROTATED in known[name].notes)
            and _whole(data_folder / name, data, links)
        ):
            return Stored(name, known[name])
    extension, found = images.check(data)
    if extension in images.REENCODED.values() or (orient and images.ROTATED in found.notes):
        notes = [note for note in found.notes if note != images.ROTATED]
        if images.ROTATED in found.notes:
            notes.append("turned upright by its EXIF rotation, stored as JPEG or PNG")
        data, extension = images.encode(data)
        found = images.Known(images.check(data)[1].print, tuple(notes))
        digest, links = sha256_bytes(data), False
    name = f"images/{digest[:2]}/{digest}.{extension}"
    target = data_folder / name
    if not _whole(target, data, links):
        with written(target, staging) as temporary:
            if links and picture.path is not None:
                _link(picture.path, temporary)
            else:
                temporary.write_bytes(data)
    return Stored(name, found)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)  # resolved: a hub cache holds symbolic links
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        raise UserError(
            f"{target.parent.parent} cannot hold hard links to {source}: {error.strerror}",
            "leave out --hard-links: images are then copied",
        ) from None


def _whole(path: Path, data: bytes, links: bool) -> bool:
    """Whether `path` holds `data` and is no link that an edit of the release's file would reach it by, unless wanted."""
    try:
        about = path.lstat()
        if about.st_size != len(data) or not stat.S_ISREG(about.st_mode) or (about.st_nlink > 1 and not links):
            return False
        return path.read_bytes() == data
    except OSError:
        return False


def wrong_extension(picture: Picture, stored: Stored) -> bool:
    """Whether the release calls the file something else than it is (loaders look at the bytes, so it is only noted)."""
    if any("stored as" in note for note in stored.known.notes):
        return False
    claimed = Path(picture.name).suffix.lower().removeprefix(".")
    known = set(images.EXTENSIONS.values()) | set(images.SAME)
    return claimed in known and images.SAME.get(claimed, claimed) != stored.name.rpartition(".")[2]
