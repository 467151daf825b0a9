"""An image of a release: a file, or bytes inside an archive or a parquet file. Read late, once, and bounded."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mtrl.core.files import open_regular

MAX_BYTES = 256 * 2**20  # no release has such an image: a damaged file, or a bomb


class Rejected(Exception):
    """A row or image that no trainer could use; str() is the reason, short enough to count by."""


def contents(path: Path) -> bytes:
    """The bytes of an image file. Raises Rejected for one that is too large or not a regular file, and OSError."""
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise Rejected(f"over {MAX_BYTES // 2**20} MB")
            return file.read()
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENXIO, errno.EISDIR):  # ENXIO: a socket
            raise Rejected("not a regular file") from None
        raise


@dataclass(frozen=True)
class Picture:
    """An image of the release: a file of its own (`path`), or bytes that `load` gets from inside `container`.

    `read` is called at most once, from one thread, in the order of the rows: so `load` may read its file forwards.
    """

    name: str
    """What the release calls it."""
    path: Path | None = None
    load: Callable[[], bytes] | None = None
    """Returns the bytes. Raises Rejected for an image that cannot be used, OSError for a disk that cannot be read."""
    container: Path | None = None
    """The file that `load` reads: when it changes, the task is converted again."""

    def read(self) -> bytes:
        """Raises Rejected, and OSError. A named pipe or a device is never read: that may not end."""
        if self.load is not None:
            return self.load()
        assert self.path is not None, f"picture {self.name} has neither path nor load"
        return contents(self.path)
