"""Running one upstream job: output to a file, signals to its whole process group, no orphan after Ctrl-C.

The job writes into log.txt itself, so it survives if mtrl is killed; its run stays locked while it lives.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from mtrl.backends.base import Job

GRACE = 20  # seconds between asking a job to stop and killing it


def run(job: Job, cwd: Path, log: Path, lock: int, started: Callable[[int], None], tick: Callable[[], None]) -> int:
    """Runs the job in `cwd` to its end and returns its exit status. Its output is appended to `log`.

    `started` gets its pid, `tick` is called twice per second. However it ends, Interrupted included, no process of the
    job's group is left.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            job.command, cwd=cwd, env={**os.environ, **job.env}, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True, pass_fds=(lock,),
        )  # fmt: skip
    try:
        started(process.pid)
        while process.poll() is None:
            tick()
            time.sleep(0.5)
        return process.returncode
    finally:
        # so that a second Ctrl-C does not leave parts of the job running
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        _end(process)
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends what is left of the job's process group: asks first, then kills."""
    for number, wait in ((signal.SIGTERM, GRACE), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            process.poll()
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)
