"""Images inside a zip, read in place: nothing is unpacked, so no member's name becomes a path on this machine."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from functools import partial
from pathlib import Path, PurePosixPath

from mtrl.converters.readers.picture import MAX_BYTES, Picture, Rejected
from mtrl.core.errors import UserError
from mtrl.core.files import open_regular

# What reading a damaged, encrypted or foreign member raises, by its compression: none of these is the user's disk.
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, NotImplementedError,
           ValueError, IndexError, MemoryError)  # fmt: skip


class Archive:
    """A zip file whose members are found by their full name or, below any folder, by its end: `b/c.png`, `c.png`."""

    def __init__(self, path: Path) -> None:
        """Raises UserError for a file that is not a zip."""
        self.path = path
        try:
            self._zip = zipfile.ZipFile(open_regular(path))
        except (*DAMAGED, OSError) as error:
            raise UserError(f"{path} is not a complete zip file: {error}", "download it again") from None
        self._named: dict[str, list[zipfile.ZipInfo]] = {}
        for member in self._zip.infolist():
            if not member.is_dir():
                parts = PurePosixPath(member.filename).parts
                for name in {member.filename, *("/".join(parts[start:]) for start in range(len(parts)))}:
                    self._named.setdefault(name, []).append(member)

    def picture(self, name: str) -> Picture:
        return Picture(name, load=partial(self._read, name), container=self.path)

    def _read(self, name: str) -> bytes:
        """Raises Rejected. A member that is missing, damaged or locked costs its rows, never the conversion."""
        found = self._named.get(name, [])
        if not found:
            raise Rejected(f"not in {self.path.name}")
        member = next((m for m in found if m.filename == name), found[0])
        if member.filename.startswith("/") or ".." in PurePosixPath(member.filename).parts:
            raise Rejected(f"its name leads out of {self.path.name}")
        if member.filename != name and len({(m.CRC, m.file_size) for m in found}) > 1:
            raise Rejected(f"several different members of {self.path.name} have its name")
        if member.file_size > MAX_BYTES:
            raise Rejected(f"over {MAX_BYTES // 2**20} MB")
        try:
            return self._zip.read(member)
        except DAMAGED:
            raise Rejected(f"damaged in {self.path.name}") from None
        except OSError as error:
            if error.errno is None:  # bz2 raises it for damaged data; an error of the disk has a number
                raise Rejected(f"damaged in {self.path.name}") from None
            raise
