"""The run directory, runs/<name>/: what was asked, what is run, what came of it.

It has recipe.yaml (resolved), upstream.yaml, command.sh, env.json, inputs.json, log.txt, status.json, metrics.jsonl and
checkpoints/. The same recipe again resumes, or says that it is done. Another recipe or changed data under the same name
is an error.

One process at a time holds runs/<name>/lock. The trainer inherits it, so nobody can start a second one while it lives,
even if the mtrl that started it was killed.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mtrl.core import hints, run_files
from mtrl.core.errors import UserError
from mtrl.core.files import dump_yaml, read_jsonl, read_yaml, sha256_file, write_json, write_text
from mtrl.core.locks import NoLocks, take
from mtrl.core.nested import differing
from mtrl.core.run_files import Environment, Inputs, Recorded, RowCounts, Selected, State, Status, Traces
from mtrl.core.schema import read, validate

NAME = r"\w[\w.-]{0,127}"  # a run's name: it becomes a folder, and files of other people may bring it

RESTORE = "restore the file: only mtrl writes it"
DAMAGED = "remove the file if it is damaged: what it says is lost, the checkpoints are not"


class Run:
    """One run directory. Creating the object touches nothing. Every property that reads a file raises UserError."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))  # resolve() raises RuntimeError for a circle of links

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def asked_as(self) -> str:
        """What a command is told to find it: its name where it is in runs/, else its folder."""
        return self.name if self.path == Run(Path("runs") / self.name).path else str(self.path)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def inputs(self) -> Path:
        return self.path / "inputs"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def data(self) -> Path | None:
        """The data folder it was started with, as one would type it here; None where that is not recorded."""
        if (recorded := self.status.data) is None:
            return None
        folder = Path(recorded)
        return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder

    @property
    def recipe(self) -> dict[str, Any]:
        """The resolved recipe."""
        file = self.path / run_files.RECIPE
        if not file.exists():
            raise UserError(f"{self.path} is not a run directory (no recipe.yaml)", "mtrl status")
        found = read_yaml(file)
        validate(Recorded, found, str(file), RESTORE)
        return found

    @property
    def status(self) -> Status:
        """What status.json says. A "running" run whose lock is free was killed: it is "interrupted"."""
        status = self._status()
        killed = status.state == "running" and not self.locked()
        return status.model_copy(update={"state": "interrupted"}) if killed else status

    def _status(self) -> Status:
        file = self.path / run_files.STATUS
        return read(Status, file, DAMAGED) if file.exists() else Status()

    @property
    def environment(self) -> Environment:
        return read(Environment, self.path / run_files.ENVIRONMENT, RESTORE)

    @property
    def started_with(self) -> Inputs:
        return read(Inputs, self.path / run_files.INPUTS, RESTORE)

    @property
    def hashes(self) -> dict[str, str]:
        """{file that it was started with: sha256}, see Inputs."""
        return self.started_with.hashes

    @property
    def selected(self) -> Selected | None:
        """What mtrl select found; None where it was not run."""
        file = self.path / run_files.SELECTED
        return read(Selected, file, hints.line("select", self.name)) if file.exists() else None

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """metrics.jsonl: one row per logged step, with `step` and every other number of it. A trainer's NaN is kept."""
        rows = read_jsonl(self.path / run_files.METRICS)
        return [
            {key: value for key, value in row.items() if type(value) in (int, float)}
            for row in rows
            if type(row.get("step")) is int
        ]

    def seconds(self, alive: bool | None = None) -> float:
        """Seconds of training so far, all attempts. A killed attempt counts until its log was last written to.

        `alive` says whether a trainer runs, where that is known; default: whether the run is locked.
        """
        status = self._status()
        if status.started is None:
            return 0.0
        end = status.updated
        if status.state == "running":
            alive = self.locked() if alive is None else alive
            end = time.time() if alive else max(end, self.log.stat().st_mtime if self.log.exists() else 0)
        return status.spent + end - status.started

    def set(self, state: State, **more: Any) -> None:
        """Writes status.json: the new state, fields of Status in `more`, and what it said before of the others."""
        status = self._status().model_copy(update={**more, "state": state, "updated": round(time.time(), 1)})
        write_json(self.path / run_files.STATUS, status.model_dump(exclude_unset=True))

    def same_recipe(self, recipe: dict[str, Any]) -> None:
        """Raises UserError that names the keys in which `recipe` is not the one that the run was started with."""
        self._same("recipe", self.recipe, recipe)

    def _same(self, what: str, before: Any, now: Any) -> None:
        if keys := differing(before, now):
            raise UserError(
                f"run {self.name} was started with another {what}; different now: {', '.join(keys)}",
                f"pass another --name, or remove {self.path}",
            )

    def claim(
        self,
        recipe: dict[str, Any],
        inputs: dict[str, str],
        rows: Mapping[str, RowCounts] | None = None,
        traces: Traces | None = None,
    ) -> None:
        """Makes the directory this recipe's. Raises UserError where it was started with another recipe, data, rows or
        traces. `inputs` are the hashes of Inputs, `rows` and `traces` its own.
        """
        counts = {task: found.model_dump() for task, found in (rows or {}).items()}
        taken = traces.model_dump() if traces else {}
        if (self.path / run_files.RECIPE).exists() and self.status.state != "planned":
            self.same_recipe(recipe)
            before = self.started_with
            self._same("data", before.hashes, inputs)
            if before.rows:
                self._same("choice of rows", before.model_dump()["rows"], counts)
            if before.traces:
                self._same("choice of traces", before.traces.model_dump(), taken)
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / run_files.RECIPE, dump_yaml(recipe))
        more = {"rows": counts, "traces": taken}
        write_json(self.path / run_files.INPUTS, {**inputs, **{k: v for k, v in more.items() if v}})

    @contextlib.contextmanager
    def held(self, lock: str = "lock") -> Iterator[int]:
        """Holds the lock; yields its file descriptor for a trainer to inherit. Raises UserError if another holds it."""
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not take(descriptor):
                pid = self._status().pid
                trainer = "" if pid is None else f" (trainer {pid})"
                raise UserError(f"run {self.name} is running{trainer}", hints.line("status", self.name))
            yield descriptor
        finally:
            os.close(descriptor)

    def locked(self, lock: str = "lock") -> bool:
        file = self.path / lock
        if not file.exists():
            return False
        descriptor = os.open(file, os.O_RDWR)
        try:
            return not take(descriptor)
        except NoLocks:  # without locks no run was ever started here
            return False
        finally:
            os.close(descriptor)


def checked(name: str, option: str = "--name") -> str:
    """`name`, which becomes a folder. Raises UserError for one that is not a name, such as a path."""
    if not re.fullmatch(NAME, name):
        raise UserError(
            f"{option} {name!r} is not a name: at most 128 letters, digits, . _ and -, the first a letter, digit or _",
            "pass the folder of all runs as --runs",
        )
    return name


def evaluation(model: str, kind: str = "eval") -> str:
    """The name of the folder in runs/ for the evaluation (or `kind`) of a model that mtrl did not train."""
    return f"{kind}-" + re.sub(r"[^A-Za-z0-9._-]+", "-", model)[:100]


def find(name: str, runs: Path = Path("runs")) -> Run:
    """The run called `name`, or at the path `name`. Raises UserError."""
    for path in (Path(name), runs / name):
        if (path / run_files.RECIPE).exists():
            return Run(path)
    known = [run.name for run in listing(runs)]
    raise UserError(f"there is no run {name!r} in {runs}/ (there: {', '.join(known) or 'none'})", "mtrl status")


def listing(runs: Path = Path("runs")) -> list[Run]:
    return [Run(file.parent) for file in sorted(runs.glob(f"*/{run_files.RECIPE}"))]


def hashes(data: Path, files: list[Path]) -> dict[str, str]:
    """{path relative to the data folder: sha256}."""
    return {str(file.relative_to(data)): sha256_file(file) for file in files}
