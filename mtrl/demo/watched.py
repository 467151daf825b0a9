"""A command that is watched while it runs: its time limit, the memory it takes, and the steps of the trainer below it.

`run` starts it; `kill` ends it and every process below it at once (SIGKILL), as a machine that fails does, whatever
process groups and sessions they are in. Needs Linux: processes are listed in /proc.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from mtrl.backends import registry
from mtrl.config.recipe_types import Recipe
from mtrl.core.rundir import Run
from mtrl.preflight import machine

PAUSE = 0.1  # seconds between two looks
SAMPLE = 1.0  # seconds between two samples of memory


class OutOfTime(Exception):
    """The command was killed at its time limit."""


def run(command: Sequence[str], log: Path, until: float, look: Callable[[int], bool] = lambda pid: False) -> int | None:
    """Runs a command to its end and returns its exit status. Its output is appended to `log`.

    `until` is on time.monotonic's clock; then OutOfTime is raised. `look` gets the pid, ten times per second; once it
    says True, the command is killed and the result is None. If this ends before the command, the command is killed too.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, process_group=0
        )
    try:
        while process.poll() is None:
            if time.monotonic() > until:
                raise OutOfTime
            if look(process.pid):
                return None
            time.sleep(PAUSE)
        return process.returncode
    finally:
        if process.poll() is None:
            kill(process.pid)
            process.wait()


def kill(pid: int) -> None:
    """Kills a process of ours that was not waited for, and all below it."""
    for number in _below(pid):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(number, signal.SIGKILL)


def _below(pid: int) -> list[int]:
    """The process and all its descendants."""
    children = defaultdict(list)
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(file.read_text(errors="replace").rpartition(")")[2].split()[1])
            children[parent].append(int(file.parent.name))
    found = [pid]
    for number in found:
        found += children[number]
    return found


class Memory:
    """`peak` GB of one GPU, above what was in use before; without GPUs of the largest process in host memory."""

    def __init__(self, gpus: Callable[[], list[machine.Gpu]]) -> None:
        self._gpus, self._before, self._next, self.peak = gpus, [gpu.used for gpu in gpus()], 0.0, 0.0

    def look(self, pid: int) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + SAMPLE
        if self._before:
            now = [gpu.used - before for gpu, before in zip(self._gpus(), self._before, strict=False)]
        else:
            now = [_highest(number) for number in _below(pid)]
        self.peak = max([self.peak, *now])


def _highest(pid: int) -> float:
    """GB of host memory that a process took at most so far; 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    return 0.0


class Steps:
    """The trainer's steps as its log shows them: `seconds` between two that were seen in the same attempt."""

    def __init__(self, recipe: Recipe, run: Run) -> None:
        self._recipe, self._run, self.seconds = recipe, run, list[float]()
        self.begin()

    def begin(self) -> None:
        """A new attempt: the time since the last step of the one before does not count."""
        self._last, self._when = self._step(), 0.0

    def look(self) -> None:
        step, now = self._step(), time.monotonic()
        if step > self._last:
            if self._when:
                self.seconds.append((now - self._when) / (step - self._last))
            self._last, self._when = step, now

    def _step(self) -> int:
        return max((int(row["step"]) for row in registry.of(self._recipe).metrics(self._run)), default=0)
