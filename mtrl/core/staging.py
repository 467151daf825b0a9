"""A folder that is written whole or not at all: under a temporary name next to it, and renamed at the end.

The writer keeps a file in the temporary folder locked while it lives. So any other process, in another container or on
another machine too, can tell what a killed writer left from what is being written, and the next writer removes it.
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
def folder(target: Path) -> Iterator[Path]:
    """Yields the folder to write to; it becomes `target`, which --out gave, if the block succeeds, else is removed.

    Raises UserError where `target` exists, cannot be made, or is being written by another command.
    """
    if target.exists() or target.is_symlink():
        raise UserError(f"{target} exists already", "pass another --out, or remove it")
    targets.check_new(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.name in sweep(target.parent):
        raise UserError(f"another command is writing {target}", "wait for it, or pass another --out")
    with contextlib.ExitStack() as stack:
        here = _made(target, stack)
        try:
            yield here
            (here / LOCK).unlink()
            try:
                here.rename(target)
            except OSError as error:
                if target.exists():
                    raise UserError(f"{target} was just written by another command", "pass another --out") from error
                raise
        finally:
            shutil.rmtree(here, ignore_errors=True)


def sweep(parent: Path) -> set[str]:
    """Removes what killed writers left in `parent`. Returns the names that are being written."""
    alive = set()
    for here in parent.glob(f".*{SUFFIX}"):
        name = here.name.removesuffix(SUFFIX).rpartition(".")[0].removeprefix(".")
        try:
            with (here / LOCK).open("r+") as lock:  # not created here: its writer removes it just before the end
                if take(lock.fileno()):
                    shutil.rmtree(here, ignore_errors=True)
                else:
                    alive.add(name)
        except NoLocks:  # whether its writer lives cannot be known
            continue
        except OSError:
            with contextlib.suppress(OSError):
                here.rmdir()  # only an empty one: it may be new, or about to be renamed
    return alive


def _made(target: Path, stack: contextlib.ExitStack) -> Path:
    """A new temporary folder, whose lock `stack` holds. If another command's sweep removes it at once, another one."""
    while True:
        here = target.with_name(f".{target.name}.{secrets.token_hex(4)}{SUFFIX}")
        here.mkdir()
        with contextlib.suppress(FileNotFoundError):
            lock = stack.enter_context((here / LOCK).open("a"))
            with contextlib.suppress(NoLocks):
                if not take(lock.fileno()):
                    continue
            return here
