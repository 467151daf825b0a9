"""Several sequences of commands at once, each in processes of their own: a failed or interrupted one ends the others.

A sequence is an iterator of `Step`, so that a later step may depend on what an earlier one wrote.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mtrl.core import child
from mtrl.core.errors import MtrlError
from mtrl.core.files import written

POLL = 0.1  # seconds
# two processes, each with one thread, do more of this size than one with two, and share no core
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}


class Step(NamedTuple):
    """One command."""

    words: list[str]
    """After the interpreter."""
    output: Path | None = None
    """The file that its output becomes, if it succeeds; None: the sequence's log."""
    python: str = sys.executable


def mtrl(*words: str) -> Step:
    """`mtrl WORDS`."""
    return Step(["-m", "mtrl", *words])


@dataclass
class _Sequence:
    name: str
    steps: Iterator[Step]
    log: Path
    step: Step | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self, home: Path) -> bool:
        """Starts the next command; False where there is none."""
        self.step = next(self.steps, None)
        if self.step is None:
            return False
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(self.step.words)}\n".encode())
            log.flush()
            output = self.partial.open("wb") if self.step.output else log
            self.process = subprocess.Popen(
                [self.step.python, *self.step.words], cwd=home, stdin=subprocess.DEVNULL, stdout=output, stderr=log,
                process_group=0, env={**os.environ, **ENVIRONMENT},
            )  # fmt: skip
        return True

    @property
    def partial(self) -> Path:
        return self.log.with_suffix(".output")

    def end(self, again: str) -> None:
        """After its command ended. Raises MtrlError where that failed."""
        assert self.process and self.step
        if self.process.returncode:
            why = child.last_lines_of_log(self.log)
            raise MtrlError(f"{self.name}: a command failed: {why[0] if why else 'no output'} ({self.log})", again)
        if self.step.output:
            with written(self.step.output) as temporary:
                temporary.write_bytes(self.partial.read_bytes())
            self.partial.unlink()

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            if self.process and self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGINT)
                self.process.wait()


def run(
    sequences: dict[str, Iterator[Step]], jobs: int, home: Path, again: str, tick: Callable[[int, str], None]
) -> None:
    """Runs all, `jobs` at a time, in `home`. Raises MtrlError with `again`, the command that continues.

    `tick` gets the number of those that are done and the names of those that run.
    """
    (home / "logs").mkdir(exist_ok=True)
    waiting, going, done = iter(sequences.items()), list[_Sequence](), 0
    try:
        while True:
            for name, steps in waiting if len(going) < jobs else ():
                sequence = _Sequence(name, steps, home / "logs" / f"{name}.txt")
                if sequence.start(home):
                    going.append(sequence)
                else:
                    done += 1
                if len(going) == jobs:
                    break
            if not going:
                tick(done, "")
                return
            tick(done, ", ".join(sequence.name for sequence in going))
            time.sleep(POLL)
            for sequence in [each for each in going if each.process and each.process.poll() is not None]:
                sequence.end(again)
                if not sequence.start(home):
                    going.remove(sequence)
                    done += 1
    finally:
        for sequence in going:
            sequence.stop()
