"""The image store: release bytes verbatim, once each, under images/ab/<sha256>.<ext> below the data folder.

Every image is decoded once here, so none can fail a training at row 30,000. One thread reads, as many as there are
cores decode and write, and a limited number of images is in memory. Stored files are copies: an edit of the release
does not change them. Which images are not stored verbatim: see images.py.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mtrl.converters.base import Row
from mtrl.converters.pipeline import images
from mtrl.converters.readers.picture import Picture, Rejected
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import sha256_bytes, written

WINDOW, WINDOW_BYTES = 64, 64 * 2**20  # rows and bytes of images between reading and storing
WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Stored(NamedTuple):
    """A stored image."""

    name: str
    """Its path relative to the data folder."""
    decoded: images.Decoded


Outcome = tuple[Stored, ...] | Rejected  # the images of a row, or why it has none


@dataclass(frozen=True)
class Store:
    """The images of one data folder, as one conversion writes them."""

    data: Path
    """The data folder."""
    known: dict[str, images.Decoded] = field(default_factory=dict)
    """What earlier conversions found, by name: these images are not decoded again."""
    orient: bool = False
    """Whether an image whose EXIF asks for a rotation is stored upright."""
    links: bool = False
    """Whether a stored file is a hard link to the release's, where it would be a copy."""
    staging: Path | None = None
    """Where files are written before they are renamed; only this conversion writes there. None: next to their names."""

    def rows(self, rows: Iterable[tuple[int, Row]]) -> Iterator[tuple[int, Outcome]]:
        """Reads each row's images here, stores them on all cores, and yields what came of it, in order."""
        waiting: deque[tuple[int, Future[Outcome]]] = deque()
        sizes: deque[int] = deque()
        with ThreadPoolExecutor(WORKERS) as pool:
            try:
                for index, row in rows:
                    contents = _read(row)
                    waiting.append((index, pool.submit(self._row, row, contents)))
                    sizes.append(0 if isinstance(contents, Rejected) else sum(map(len, contents)))
                    while len(waiting) > WINDOW or sum(sizes) > WINDOW_BYTES:
                        first, done = waiting.popleft()
                        sizes.popleft()
                        yield first, done.result()
                for first, done in waiting:
                    yield first, done.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _row(self, row: Row, contents: list[bytes] | Rejected) -> Outcome:
        if isinstance(contents, Rejected):
            return contents
        try:
            return tuple(map(self.put, row.images, contents))
        except Rejected as reason:
            return reason

    def put(self, picture: Picture, data: bytes) -> Stored:
        """Checks and stores one picture. Raises Rejected, OSError, and UserError where a link is not possible."""
        digest = sha256_bytes(data)
        for extension in set(images.EXTENSIONS.values()):
            name = f"images/{digest[:2]}/{digest}.{extension}"
            if (
                name in self.known
                and not (self.orient and images.ROTATED in self.known[name].notes)
                and _whole(self.data / name, data, self.links)
            ):
                return Stored(name, self.known[name])
        extension, found = images.check(data)
        links = self.links
        if extension in images.REENCODED.values() or (self.orient and images.ROTATED in found.notes):
            notes = [note for note in found.notes if note != images.ROTATED]
            if images.ROTATED in found.notes:
                notes.append("turned upright by its EXIF rotation, stored as JPEG or PNG")
            data, extension = images.encode(data)
            found = images.check(data)[1]._replace(notes=tuple(notes))
            digest, links = sha256_bytes(data), False
        name = f"images/{digest[:2]}/{digest}.{extension}"
        target = self.data / name
        if not _whole(target, data, links):
            with written(target, self.staging) as temporary:
                if links and picture.path is not None:
                    _link(picture.path, temporary)
                else:
                    temporary.write_bytes(data)
        return Stored(name, found)


def _read(row: Row) -> list[bytes] | Rejected:
    """The bytes of the row's images, or why there are none. Raises MtrlError where the release cannot be read."""
    if row.reject:
        return Rejected(row.reject)
    try:
        return [picture.read() for picture in row.images]
    except Rejected as reason:
        return reason
    except OSError as error:
        raise MtrlError(f"row {row.id}: reading its image failed: {error}", "look at the release's files") from error


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)  # resolved: a hub cache has symbolic links
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        raise UserError(
            f"{target.parent.parent} cannot have hard links to {source}: {error.strerror}",
            "leave out --hard-links: images are then copied",
        ) from None


def _whole(path: Path, data: bytes, links: bool) -> bool:
    """Whether `path` has these bytes, and, unless links are wanted, is not a hard link to the release's file."""
    try:
        about = path.lstat()
        if about.st_size != len(data) or not stat.S_ISREG(about.st_mode) or (about.st_nlink > 1 and not links):
            return False
        return path.read_bytes() == data
    except OSError:
        return False


def wrong_extension(picture: Picture, stored: Stored) -> bool:
    """Whether the name has another format's extension. Loaders look at the bytes, so it is only noted."""
    if any("stored as" in note for note in stored.decoded.notes):
        return False
    claimed = Path(picture.name).suffix.lower().removeprefix(".")
    known = set(images.EXTENSIONS.values()) | set(images.SAME)
    return claimed in known and images.SAME.get(claimed, claimed) != stored.name.rpartition(".")[2]
