"""A folder that is written whole or not at all: under a temporary name next to its place, which it gets at the end.

The temporary folder holds a file that its writer keeps locked for as long as it lives, in another container or on another machine
too. So what a killed writer left is told from what is being written, and is removed by whoever writes next to it.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from mtrl.core import targets
from mtrl.core.errors import UserError
from mtrl.core.locks import NoLocks, take

LOCK = ".lock"
SUFFIX = ".writing"


@contextlib.contextmanager
def folder(target: Path, option: str = "--out") -> Iterator[Path]:
    """Yields the folder to write to; it becomes `target` when the block ends well, and is removed when it does not.

    Raises UserError where `target` exists, cannot be made, or is being written by another command.
    """
    if target.exists() or target.is_symlink():
        raise UserError(f"{target} exists already", f"pass another {option}, or remove it")
    targets.check_new(target, option)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.name in sweep(target.parent):
        raise UserError(f"another command is writing {target}", f"wait for it, or pass another {option}")
    with contextlib.ExitStack() as stack:
        here = _made(target, stack)
        try:
            yield here
            (here / LOCK).unlink()
            try:
                here.rename(target)
            except OSError as error:
                if target.exists():
                    raise UserError(
                        f"{target} was written by another command meanwhile", f"pass another {option}"
                    ) from error
                raise
        finally:
            shutil.rmtree(here, ignore_errors=True)


def sweep(parent: Path) -> set[str]:
    """Removes what killed writers left in `parent`. Returns the names that are being written."""
    alive = set()
    for here in parent.glob(f".*{SUFFIX}"):
        name = here.name.removesuffix(SUFFIX).rpartition(".")[0].removeprefix(".")
        try:
            with (here / LOCK).open("r+") as lock:  # never made here: its writer takes it away just before the end
                if take(lock.fileno()):
                    shutil.rmtree(here, ignore_errors=True)
                else:
                    alive.add(name)
        except NoLocks:  # nobody can tell whether it is dead
            continue
        except OSError:
            with contextlib.suppress(OSError):
                here.rmdir()  # made a moment ago, or its writer is about to rename it: only what is empty goes
    return alive


def _made(target: Path, stack: contextlib.ExitStack) -> Path:
    """A new temporary folder, whose lock `stack` holds. Another command's sweep may come between: then once more."""
    while True:
        here = target.with_name(f".{target.name}.{secrets.token_hex(4)}{SUFFIX}")
        here.mkdir()
        with contextlib.suppress(FileNotFoundError):
            lock = stack.enter_context((here / LOCK).open("a"))
            with contextlib.suppress(NoLocks):
                if not take(lock.fileno()):
                    continue
            return here
