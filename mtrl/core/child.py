"""Child processes: mtrl started by mtrl, and the lines of a failed child's output that say why it failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from mtrl.core.errors import Interrupted

TAIL = 200_000  # bytes of a log that are searched
Output = IO[bytes] | int | None


def run_mtrl(
    arguments: Iterable[str],
    cwd: Path | None = None,
    stdout: Output = None,
    stderr: Output = None,
    locks: tuple[int, ...] = (),
) -> int:
    """Runs `mtrl ARGUMENTS` to its end and returns its exit status. The other parameters are Popen's.

    The child inherits the file descriptors `locks`, and holds them even if this process is killed. It has its own
    process group, so that Ctrl-C reaches it once, from here; it then ends its own children. Raises Interrupted, also
    where the child alone was interrupted.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "mtrl", *arguments], cwd=cwd, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
        process_group=0, pass_fds=locks,
    )  # fmt: skip
    try:
        code = process.wait()
    except Interrupted:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
        raise
    if code == Interrupted.exit_code:
        raise Interrupted("SIGINT")
    return code


def last_lines(output: str, most: int = 6) -> list[str]:
    """At most `most` lines of a failed process's output that matter: from its last error on, else the last ones."""
    lines = [line.strip() for line in output.replace("\r", "\n").splitlines() if line.strip()]
    errors = [
        i for i, line in enumerate(lines) if "Error" in line.split(":")[0] or line.startswith(("Killed", "mtrl: "))
    ]
    return lines[errors[-1] :][:most] if errors else lines[-most:]


def last_lines_of_log(log: Path, since: int = 0) -> list[str]:
    """`last_lines` of a log file, [] where there is none. `since` is its size when the process began."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(since, log.stat().st_size - TAIL))
        return last_lines(file.read().decode(errors="replace"))


def reason(output: str) -> str:
    """Why a process failed, in one line of its output; "(no output)" where it printed nothing."""
    return next(iter(last_lines(output, most=1)), "(no output)")
