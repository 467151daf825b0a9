"""Reading and writing files the way the whole project does: written beside and renamed, never half there.

Every file from outside (a user's, another program's, somebody else's run) is read here: a regular file of limited size, UTF-8,
its values within the bounds of parsing.py; what is not so raises UserError with one line. Types are schema.py's.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import itertools
import json
import os
import secrets
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from mtrl.core.errors import UserError
from mtrl.core.parsing import parse_json
from mtrl.core.parsing import parse_yaml as parse_yaml  # for those who read files, too

LARGE = 1 << 34  # bytes of our own files that hold a line for each sample or image
LARGEST = 1 << 26  # bytes of a file that is read whole, or of one line, unless its reader knows better


@contextlib.contextmanager
def _opened(path: Path, then: str) -> Iterator[BinaryIO]:
    """A regular file, to be read. Raises UserError, which ends in `then`, where there is none or reading it fails."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # reading a named pipe or a device may never end
            raise UserError(
                f"cannot read {path}: it is {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}", then
            )
        with path.open("rb") as file:
            yield file
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}", then) from None


def read_bytes(path: Path, then: str = "", limit: int = LARGEST) -> bytes:
    """All of a regular file. Raises UserError."""
    with _opened(path, then) as file:
        if (size := os.fstat(file.fileno()).st_size) > limit:
            raise UserError(f"cannot read {path}: it has {size:,} bytes, and at most {limit:,} are read", then)
        return file.read()


def read_text(path: Path, then: str = "", limit: int = LARGEST) -> str:
    """The text of a UTF-8 file, without a byte order mark. Raises UserError."""
    try:
        return read_bytes(path, then, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {path}: byte {error.start} is not UTF-8", then) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping. Raises UserError."""
    data = parse_yaml(read_text(path), str(path))
    if not isinstance(data, dict):
        raise UserError(f"{path} should hold keys and values, but holds {type(data).__name__}")
    return data


def dump_yaml(data: Any) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)


@contextlib.contextmanager
def written(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Yields a name next to `path`, or in `folder`, to write to; renames it when the block ends well, else removes it.

    The name is random: processes of other containers and machines may write to the same folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = (folder or path.parent) / f".{path.name}.{secrets.token_hex(8)}.tmp"
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # the folder may be read-only, and then there is nothing to remove
            temporary.unlink(missing_ok=True)


def check_target(path: Path, option: str = "--out") -> None:
    """Raises UserError where no file can be written to `path`; asked before any work is done for it."""
    check_place(path, option)
    if path.is_dir():
        raise UserError(
            f"{option} {path} is a folder, not a file", f"name a file in it: {option} {shlex.quote(str(path / 'NAME'))}"
        )
    if path.exists() and not path.is_file():
        raise UserError(f"{option} {path} is not a regular file", f"pass another {option}")


def check_place(path: Path, option: str) -> None:
    """Raises UserError where neither a file nor a folder can be made at `path`."""
    if "\0" in str(path):
        raise UserError(f"{option} {str(path)!r} has a NUL in its name")
    try:
        nearest = next(parent for parent in path.parents if parent.exists())
    except OSError as error:  # below a file, or a name that is too long
        raise UserError(f"{option} {path}: {error.strerror}") from None
    if not nearest.is_dir():
        raise UserError(
            f"{option} {path} lies below {nearest}, which is a file and no folder", f"pass another {option}"
        )
    if not os.access(nearest, os.W_OK):
        raise UserError(f"{option} {path}: folder {nearest} may not be written to", f"pass another {option}")


def check_folder(path: Path, option: str = "--out") -> None:
    """Raises UserError where no folder `path` can be made and written to; asked before any work is done for it."""
    try:
        nearest = next(place for place in (path, *path.parents) if place.exists())
    except (OSError, ValueError) as error:  # below a file, a name that is too long, a NUL
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{option} {str(path)!r}: {reason}", f"pass another {option}") from None
    if not nearest.is_dir():
        raise UserError(f"{option} {path}: {nearest} is a file, and a folder is needed", f"pass another {option}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"{option} {path}: folder {nearest} may not be written to", f"pass another {option}")


def symlink(source: Path, target: Path) -> None:
    """A symbolic link `target` to `source`. Raises UserError where the file system has none."""
    try:
        target.symlink_to(source)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        raise UserError(
            f"the file system of {target.parent} has no symbolic links ({error.strerror})",
            "use a folder on another file system",
        ) from None


def sweep(folder: Path) -> None:
    """Removes what `written` left directly in `folder` when it was killed. Only for who holds the lock of all its writers."""
    for stale in folder.glob(".*.tmp"):
        stale.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with written(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, then: str = "", limit: int = LARGEST, strict: bool = True) -> Any:
    """Raises UserError, which ends in `then`, where the file is missing or not JSON. `strict`: see parse_json."""
    return parse_json(read_bytes(path, then, limit), str(path), then, strict)


def read_object(path: Path, then: str = "") -> dict[str, Any]:
    """A JSON file that holds an object. Raises UserError."""
    data = read_json(path, then)
    if not isinstance(data, dict):
        raise UserError(f"{path} should hold a JSON object, but holds {type(data).__name__}", then)
    return data


def json_lines(path: Path, then: str = "", torn: bool = False, strict: bool = True) -> Iterator[tuple[int, Any]]:
    """(line number, value) of a JSONL file; blank lines are passed over. Raises UserError that names the line.

    `torn`: a last line without its end, which a kill may have left, is passed over too if it is not JSON. `strict`: see parse_json.
    """
    for number, line in _lines(path, then):
        if line.strip():
            try:
                value = parse_json(line.removesuffix(b"\n"), f"{path}, line {number}", then, strict)
            except UserError:
                if torn and not line.endswith(b"\n"):
                    return
                raise
            yield number, value


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a log that may still be written: other lines are passed over, a missing file is empty.

    What other programs write is taken, see parse_json(strict=False). Raises UserError where the file cannot be read.
    """
    rows = []
    for number, line in _lines(path) if path.exists() else ():
        with contextlib.suppress(UserError):
            row = parse_json(line.decode(errors="replace"), f"{path}, line {number}", strict=False)
            if isinstance(row, dict):
                rows.append(row)
    return rows


def _lines(path: Path, then: str = "") -> Iterator[tuple[int, bytes]]:
    """The numbered lines of a regular file, of at most LARGEST bytes each; ended by \\n alone: U+2028 is text."""
    with _opened(path, then) as file:
        for number in itertools.count(1):
            line = file.readline(LARGEST + 1)
            if not line:
                return
            if len(line) > LARGEST:
                raise UserError(f"{path}, line {number} has more than {LARGEST:,} bytes", then)
            yield number, line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"")


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def open_regular(path: Path) -> io.BufferedReader:
    """The file to be read in bytes. Raises OSError, also for a named pipe or a device: reading those may never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe would wait for its writer
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return open(descriptor, "rb")


def sha256_file(path: Path) -> str:
    """Raises OSError, also where `path` is no regular file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
