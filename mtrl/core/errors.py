"""What goes wrong, in two kinds. Both are shown as plain words on stderr; anything else is a bug and keeps its traceback.

A message says what is wrong, where, and what was expected; `then` is the command or step that comes next.
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


class Interrupted(BaseException):
    """The user (Ctrl-C) or the system asked mtrl to stop. No Exception: nothing on the way may swallow it. Status 130."""

    exit_code = 130


class UserError(MtrlError):
    """The user's input is wrong. Exit status 2."""

    exit_code = 2


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_FOLDER = (errno.ENOTDIR, errno.EEXIST)  # a file is in the way
PLAIN = (*FULL, *FORBIDDEN, *NO_FOLDER, errno.ENAMETOOLONG)  # what a file system says of its own, never a bug of ours


def remedy(error: OSError, again: str) -> str:
    """The next step where writing failed; `again` says how to go on once there is room."""
    if error.errno in FULL:
        return f"make room, then {again}"
    if error.errno in FORBIDDEN:
        return "choose a folder that you may write to, or change its permissions"
    if error.errno in NO_FOLDER:
        return "choose a path that does not lead through a file"
    return again


def printable(text: str) -> str:
    """The text without what would move a terminal's cursor or colour it: messages quote names of files and models."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\N{REPLACEMENT CHARACTER}" for sign in text)


def nearest(word: str, known: Iterable[str]) -> str:
    """' Did you mean X?' where a known word is near, else ' Known: ...'."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(known)}."
