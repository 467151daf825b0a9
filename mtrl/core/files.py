"""Reading and writing files the way the whole project does: read within bounds, written to another name and renamed.

Every file from outside (a user's, another program's, somebody else's run) is read here: a regular file of limited size
in UTF-8, with values within the bounds of parsing.py. Anything else raises UserError with one line. schema.py reads
files as types.
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
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from mtrl.core.errors import UserError
from mtrl.core.parsing import parse_json
from mtrl.core.parsing import parse_yaml as parse_yaml  # for callers that read files too

LARGE = 1 << 34  # bytes of a file of mtrl's own that has one line per sample or image
LARGEST = 1 << 26  # bytes of any other file that is read whole, and of one line


def open_regular(path: Path) -> io.BufferedReader:
    """The file, opened to read bytes. Raises OSError, also for a named pipe or a device: reading may never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe would wait for its writer
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = "it is a folder" if stat.S_ISDIR(mode) else "it is not a regular file"
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.ENXIO, what, str(path))
    return open(descriptor, "rb")


@contextlib.contextmanager
def _opened(path: Path, then: str) -> Iterator[BinaryIO]:
    """As open_regular. Raises UserError, with `then` as the next step, where the file cannot be opened or read."""
    try:
        with open_regular(path) as file:
            yield file
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}", then) from None


def read_bytes(path: Path, then: str = "", limit: int = LARGEST) -> bytes:
    """All of a regular file of at most `limit` bytes. Raises UserError."""
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
    """A YAML file that holds keys and values. Raises UserError."""
    return _mapping(parse_yaml(read_text(path), str(path)), path, "keys and values", "")


def read_json(path: Path, then: str = "", limit: int = LARGEST, strict: bool = True) -> Any:
    """The value in a JSON file. Raises UserError; `then` is its next step. `strict`: see parse_json."""
    return parse_json(read_bytes(path, then, limit), str(path), then, strict)


def read_object(path: Path, then: str = "") -> dict[str, Any]:
    """A JSON file that holds an object. Raises UserError."""
    return _mapping(read_json(path, then), path, "a JSON object", then)


def _mapping(data: Any, path: Path, expected: str, then: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise UserError(f"{path} should hold {expected}, but holds {type(data).__name__}", then)
    return data


def json_lines(path: Path, then: str = "", torn: bool = False, strict: bool = True) -> Iterator[tuple[int, Any]]:
    """(line number, value) of a JSONL file, without blank lines. Raises UserError that names the line.

    `torn`: a last line without line end that is not JSON is skipped: a killed writer left it. `strict`: see parse_json.
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
    """The objects in another program's log; it may be missing or be written just now. Other lines are skipped.

    NaN and the like are read, see parse_json(strict=False). Raises UserError where the file cannot be read.
    """
    rows = []
    for number, line in _lines(path) if path.exists() else ():
        with contextlib.suppress(UserError):
            row = parse_json(line.decode(errors="replace"), f"{path}, line {number}", strict=False)
            if isinstance(row, dict):
                rows.append(row)
    return rows


def _lines(path: Path, then: str = "") -> Iterator[tuple[int, bytes]]:
    """The numbered lines of a regular file, of at most LARGEST bytes each. Only \\n ends a line: U+2028 is text."""
    with _opened(path, then) as file:
        for number in itertools.count(1):
            line = file.readline(LARGEST + 1)
            if not line:
                return
            if len(line) > LARGEST:
                raise UserError(f"{path}, line {number} has more than {LARGEST:,} bytes", then)
            yield number, line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"")


def user_cache() -> Path:
    """The user's own folder for what mtrl may lose: nobody else's files bring anything into it. It may be missing.
    Raises RuntimeError where the user has no home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mtrl"


@contextlib.contextmanager
def written(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Yields a temporary name next to `path`, or in `folder`; it becomes `path` if the block succeeds, else is removed.

    The name is random: processes in other containers and on other machines may write to the same folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = (folder or path.parent) / f".{path.name}.{secrets.token_hex(8)}.tmp"
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # in a read-only folder there is nothing to remove
            temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Removes what killed writers of `written` left in `folder`. The caller must hold the lock of all its writers."""
    for stale in folder.glob(".*.tmp"):
        stale.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def dump_yaml(data: Any) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)


def symlink(source: Path, target: Path) -> None:
    """Makes `target` a symbolic link to `source`. Raises UserError where the file system has no such links."""
    try:
        target.symlink_to(source)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        raise UserError(
            f"the file system of {target.parent} has no symbolic links ({error.strerror})",
            "use a folder on another file system",
        ) from None


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Raises OSError, also where `path` is not a regular file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
