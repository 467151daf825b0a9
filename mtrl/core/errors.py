"""The two kinds of errors, both shown as plain words on stderr. Any other exception is a bug and keeps its traceback.

A message says what is wrong, where, and what was expected; `then` is the next command or step.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class MtrlError(Exception):
    """Something failed that the user's input does not explain. Exit status 1."""

    exit_code = 1

    def __init__(self, message: str, then: str = "") -> None:
        super().__init__(message)
        self.then = then


class UserError(MtrlError):
    """The user's input is wrong. Exit status 2."""

    exit_code = 2


class Interrupted(BaseException):
    """The user (Ctrl-C) or the system ended the command. Exit status 130. No Exception: no handler may swallow it."""

    exit_code = 130


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
OTHER_KIND = (
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENXIO,
    errno.ELOOP,
)  # a file where a folder is needed, ...
# What a file system reports by itself, which is never a bug of mtrl
FILE_SYSTEM = (
    *(*FULL, *FORBIDDEN, *OTHER_KIND, errno.ENAMETOOLONG),
    *(errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE),
)


def remedy(error: OSError, again: str) -> str:
    """The next step after reading or writing failed; `again` says how to go on once the cause is removed."""
    if error.errno in FULL:
        return f"make room, then {again}"
    if error.errno in FORBIDDEN:
        return "choose a folder that you may write to, or change its permissions"
    if error.errno in OTHER_KIND:
        return "choose another path, or move away what is there"
    return again


def printable(text: str) -> str:
    """The text without control characters, which move a terminal's cursor: messages quote names from outside."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\N{REPLACEMENT CHARACTER}" for sign in text)


def nearest(word: str, known: Iterable[str]) -> str:
    """' Did you mean X?' if a known word is similar, else ' Known: ...'."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(known)}."
