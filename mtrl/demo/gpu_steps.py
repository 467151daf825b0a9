"""The steps of a GPU check: each runs mtrl's public commands and says what it found, or raises MtrlError."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mtrl.backends import checkpoint_folders
from mtrl.config import recipe as recipes
from mtrl.core.errors import MtrlError
from mtrl.core.files import read_json
from mtrl.core.rundir import Run
from mtrl.demo import gpu_plan, walkthrough, watched
from mtrl.demo.gpu_plan import MODEL, TASK, Training
from mtrl.demo.gpu_report import Figures, Form
from mtrl.demo.watched import Memory, OutOfTime, Steps
from mtrl.preflight import memory, times
from mtrl.preflight.rendered import Rendered

MTRL = (sys.executable, "-m", "mtrl")
SHORT, LONG = 300, 600  # seconds that one step may take: of a command, of a training


class Outcome(NamedTuple):
    """What a step that is done has found."""

    note: str = ""
    measured: Figures = Figures()
    planned: Figures = Figures()


@dataclass(frozen=True)
class Step:
    """`do` gets the log file, and when it has to end on time.monotonic's clock. It raises MtrlError if it fails."""

    name: str
    do: Callable[[Path, float], Outcome]
    needs: tuple[str, ...] = ()
    absent: str = ""
    limit: int = SHORT


class NotHere(Exception):
    """The step cannot be checked on this machine."""


def steps(form: Form, gpus: int) -> Iterator[Step]:
    """All steps of a check in their order, also those that cannot be checked here."""
    yield Step("doctor", partial(mtrl_command, ("doctor",)))
    yield Step("data", partial(_data, gpu_plan.rows(form)))
    yield Step("model", partial(_model, form == "cpu"))
    scoring, base = gpu_plan.scoring(form), ("data", "model")
    for one in gpu_plan.trainings(form):
        yield Step(one.name, partial(_train, one), base, one.absent, LONG)
        if not one.absent:
            yield Step(f"{one.name} export", partial(_export, one.name), (one.name,))
            yield Step(f"{one.name} score", partial(score, one), (f"{one.name} export",), scoring)
    judge = "sft-lora"
    yield Step("served", partial(_served, judge), (f"{judge} export",), scoring)
    two = "" if gpus > 1 else "needs two GPUs"
    words = ("eval", "--ckpt", f"exports/{judge}", *_few(), "--replicas", "2", "--out", "eval/replicas")
    yield Step("two replicas", partial(mtrl_command, words), (f"{judge} export",), scoring or two)


def mtrl_command(words: Sequence[str], log: Path, until: float) -> Outcome:
    run_command((*MTRL, *words), log, until)
    return Outcome()


def run_command(command: Sequence[str], log: Path, until: float) -> None:
    if code := watched.run(command, log, until):
        raise MtrlError(f"exit status {code}:")


def _data(rows: int, log: Path, until: float) -> Outcome:
    walkthrough.begin(Path())
    mtrl_command(("convert", TASK, "--raw", "raw"), log, until)
    return mtrl_command(("convert", TASK, "--raw", "raw", "--out", "few", "--limit", str(rows)), log, until)


def _model(small: bool, log: Path, until: float) -> Outcome:
    out = f"recipes/models/{MODEL}"
    run_command((sys.executable, "-m", "mtrl.demo.random_model", "--out", out, *["--small"] * small), log, until)
    return Outcome()


def _train(one: Training, log: Path, until: float) -> Outcome:
    """Trains, with a kill and a resume in between, and measures."""
    data, run = Path(one.data), Run(Path("runs") / one.name)
    recipe = recipes.load(one.recipe, one.model, one.hardware, None, one.sets, data)
    need = memory.need(recipe, Rendered(recipe, run, data), recipe.hardware.gpu_memory or 0)
    took, size = times.of(recipe, data), recipe.hardware.gpu_memory
    planned = Figures(
        step=took.step.seconds if took else None,
        memory=max(need.states + need.estimated, need.vllm) if need and size else None,
    )
    if need and size and max(need.states, need.vllm) > size:
        raise NotHere(f"it needs more than {max(need.states, need.vllm):.0f} GB on each GPU of {size:.0f} GB")
    words = [*MTRL, one.stage, one.recipe, "--model", one.model, "--hardware", one.hardware]
    words += [word for value in one.sets for word in ("--set", value)] + ["--data", one.data, "--name", one.name]
    used, seen = Memory(gpu_plan.gpus if size else list), Steps(recipe, run)
    notes: list[str] = []

    def look(pid: int) -> bool:
        used.look(pid)
        seen.look()
        return False

    if one.kill and not checkpoint_folders.newest(run):
        code = watched.run(words, log, until, lambda pid: look(pid) or checkpoint_folders.newest(run) > 0)
        if code is not None:
            raise MtrlError(f"exit status {code} before the first checkpoint:" if code else "it ended before the kill:")
        notes.append(_killed(run))
        seen.begin()
    written = run.log.stat().st_size if run.log.exists() else 0
    newest = checkpoint_folders.steps(run)
    if code := watched.run(words, log, until, look):
        raise MtrlError(f"exit status {code}:")
    if notes and not resumed(run.log, written, newest[max(newest)].name):
        raise MtrlError(f"it did not resume from {newest[max(newest)].name}: see {run.log}")
    measured = Figures(
        step=round(statistics.median(seen.seconds), 3) if seen.seconds else None, memory=round(used.peak, 2) or None
    )
    last = next((f"{key} {row[key]:.3g}" for row in run.metrics[::-1] for key in ("reward", "loss") if key in row), "")
    return Outcome("; ".join([*notes, *[last] * bool(last)]), measured, planned)


def _killed(run: Run) -> str:
    """Waits until the killed trainer is gone. Raises MtrlError if it lives on."""
    deadline = time.monotonic() + 60
    while run.locked():
        if time.monotonic() > deadline:
            raise MtrlError(f"the trainer of {run.name} lives on after kill -9")
        time.sleep(watched.PAUSE)
    return f"killed at step {checkpoint_folders.newest(run)} and resumed"


def resumed(log: Path, since: int, checkpoint: str) -> bool:
    """Whether the trainer says, in the part of its log after `since`, that it goes on from `checkpoint`."""
    with log.open("rb") as file:
        file.seek(since)
        said = file.read().decode(errors="replace")
    return bool(re.search(rf"(resum|load)[^\n]*{re.escape(checkpoint)}\b", said, re.IGNORECASE))


def _export(name: str, log: Path, until: float) -> Outcome:
    """Exports, and removes the checkpoints: those of all trainers together have over 100 GB."""
    if not Path("exports", name).exists():
        mtrl_command(("export", name, "--out", f"exports/{name}"), log, until)
    shutil.rmtree(Run(Path("runs") / name).checkpoints, ignore_errors=True)
    return Outcome()


def _few() -> tuple[str, ...]:
    return ("--tasks", TASK, "--data", "few", "--limit", "20")


def score(one: Training, log: Path, until: float) -> Outcome:
    which = ("--tasks", TASK) if one.least else _few()
    out = Path("eval") / one.name
    mtrl_command(("eval", "--ckpt", f"exports/{one.name}", *which, "--out", str(out)), log, until)
    if not one.least:
        return Outcome()
    accuracy = read_json(out / "metrics.json")[TASK]["accuracy"]
    if accuracy < one.least:
        raise MtrlError(f"accuracy {accuracy:.3f} on the test split, below {one.least}: it has not learnt its task")
    return Outcome(f"accuracy {accuracy:.3f}")


def _served(name: str, log: Path, until: float) -> Outcome:
    """Serves the export by `mtrl serve`, and scores over its address."""
    words = [*MTRL, "serve", "--ckpt", f"exports/{name}", "--tasks", TASK, "--port", "0", "--cache-mb", "0"]
    with log.open("ab") as output:
        since = output.tell()
        server = subprocess.Popen(words, stdout=output, stderr=output, stdin=subprocess.DEVNULL, process_group=0)
    try:
        while not (found := served_at(log, since)):
            if server.poll() is not None:
                raise MtrlError(f"the server ended with exit status {server.returncode}:")
            if time.monotonic() > until:
                raise OutOfTime
            time.sleep(watched.PAUSE)
        asked = ("eval", "--endpoint", f"{found}/v1", "--served-model", name, *_few(), "--out", "eval/served")
        return mtrl_command(asked, log, until)
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(30)
        if server.poll() is None:
            watched.kill(server.pid)
            server.wait()


def served_at(log: Path, since: int) -> str:
    """Where `mtrl serve` says in its output that it serves, "" before it does."""
    said = log.read_bytes()[since:].decode(errors="replace")
    found = re.search(r"^serving \S+ at (\S+) ", said, re.MULTILINE)
    return found[1] if found else ""
