"""The run directory, runs/<name>/: what was asked, what is run, what came of it. Never reused by accident.

recipe.yaml (resolved), upstream.yaml, command.sh, env.json, inputs.json, log.txt, status.json, metrics.jsonl, checkpoints/.
The same recipe again resumes, or says it is done; another recipe or changed data under the same name is refused.

One process at a time holds runs/<name>/lock. The trainer inherits it, so a second start is refused for as long as the
trainer lives, even if the mtrl that started it was killed.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mtrl.core import hints
from mtrl.core.errors import UserError
from mtrl.core.files import (
    dump_yaml,
    read_json,
    read_jsonl,
    read_object,
    read_yaml,
    sha256_file,
    write_json,
    write_text,
)
from mtrl.core.locks import NoLocks, take
from mtrl.core.schema import Stored, read, validate

NAME = r"\w[\w.-]{0,127}"  # a run's name: it becomes a folder, and others' files may bring it

SELECTED = "select.json"  # what mtrl select leaves in a run
State = Literal["planned", "running", "done", "failed", "interrupted"]
DAMAGED = "remove the file if it is damaged: what it says is lost, the checkpoints are not"


class Recorded(Stored):
    """recipe.yaml, as far as it is read of a run of any version."""

    method: str
    tasks: list[str]
    style: str = ""
    model: dict[str, Any] = {}


class Status(Stored):
    """status.json, as far as it is read. Times are seconds since 1970, `spent` is seconds of earlier attempts."""

    state: State = "planned"
    started: float | None = None
    updated: float = 0.0
    spent: float = 0.0
    pid: int | None = None
    reason: str | None = None
    data: str | None = None


class Selected(Stored):
    """select.json: the score of each step on the validation split, and the step of the best."""

    by: Literal["accuracy", "macro_f1"]
    scores: dict[Annotated[str, Field(pattern=r"^\d{1,18}$")], float]
    best: int

    @model_validator(mode="after")
    def _has_best(self) -> Selected:
        if str(self.best) not in self.scores:
            raise ValueError("best is none of the scored steps")
        return self


class Run:
    """One run directory. Creating the object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))  # resolve() raises RuntimeError for a circle of links

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def asked_as(self) -> str:
        """What a command is told to find it: its name where it is in runs/, else its folder."""
        return self.name if self.path == (Path("runs") / self.name).resolve() else str(self.path)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def inputs(self) -> Path:
        return self.path / "inputs"

    @property
    def data(self) -> Path | None:
        """The data folder it was started with, as one would type it here; None where that is not recorded."""
        recorded = self.status.get("data")
        if not isinstance(recorded, str):
            return None
        folder = Path(recorded)
        return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def status(self) -> dict[str, Any]:
        """status.json, or {} where nothing was started. A "running" whose lock is free was killed. Raises UserError."""
        status = self._status()
        if status.get("state") == "running" and not self.locked():
            status["state"] = "interrupted"
        return status

    def _status(self) -> dict[str, Any]:
        file = self.path / "status.json"
        found = read_object(file, DAMAGED) if file.exists() else {}
        validate(Status, found, str(file), DAMAGED)
        return found

    @property
    def selected(self) -> Selected | None:
        """What mtrl select found, None where it was not asked. Raises UserError."""
        file = self.path / SELECTED
        return read(Selected, file, hints.line("select", self.name)) if file.exists() else None

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """metrics.jsonl: a row per logged step, with `step` and what else is a number. A trainer's NaN is kept."""
        rows = read_jsonl(self.path / "metrics.jsonl")
        return [
            {key: value for key, value in row.items() if type(value) in (int, float)}
            for row in rows
            if type(row.get("step")) is int
        ]

    def seconds(self, alive: bool | None = None) -> float:
        """Seconds of training so far, all attempts. One that was killed counts until its log was last written to.

        `alive` says whether a trainer runs, where that is known; default: whether the run is locked.
        """
        status = self._status()
        if status.get("started") is None:
            return 0.0
        end = status.get("updated", 0.0)
        if status.get("state") == "running":
            alive = self.locked() if alive is None else alive
            end = time.time() if alive else max(end, self.log.stat().st_mtime if self.log.exists() else 0)
        return float(status.get("spent", 0) + end - status["started"])

    @property
    def recipe(self) -> dict[str, Any]:
        """The resolved recipe. Raises UserError where this is no run."""
        file = self.path / "recipe.yaml"
        if not file.exists():
            raise UserError(f"{self.path} is not a run directory (no recipe.yaml)", "mtrl status")
        found = read_yaml(file)
        validate(Recorded, found, str(file), "a run's recipe.yaml is what mtrl wrote there: take it from a copy")
        return found

    def set(self, state: State, **more: Any) -> None:
        status = {**self._status(), **more, "state": state}
        write_json(self.path / "status.json", {**status, "updated": round(time.time(), 1)})

    def same_recipe(self, recipe: dict[str, Any]) -> None:
        """Raises UserError naming the keys in which `recipe` is not the one this run was started with."""
        self._refuse("recipe", self.recipe, recipe)

    def _refuse(self, what: str, before: Any, now: Any) -> None:
        if keys := differing(before, now):
            raise UserError(
                f"run {self.name} was started with another {what}; different now: {', '.join(keys)}",
                f"pass --name for a run of its own, or remove {self.path}",
            )

    def claim(self, recipe: dict[str, Any], inputs: dict[str, str]) -> None:
        """Makes the directory this recipe's, or raises UserError naming what differs. Leaves it as it was then."""
        if (self.path / "recipe.yaml").exists() and self.status.get("state", "planned") != "planned":
            self.same_recipe(recipe)
            self._refuse("data", read_json(self.path / "inputs.json"), inputs)
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / "recipe.yaml", dump_yaml(recipe))
        write_json(self.path / "inputs.json", inputs)

    @contextlib.contextmanager
    def held(self, lock: str = "lock") -> Iterator[int]:
        """Holds the lock, and gives its file descriptor for a trainer to inherit. Raises UserError where it is taken."""
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not take(descriptor):
                status = self._status()
                trainer = f" (trainer {status['pid']})" if "pid" in status else ""
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
    """The name itself. Raises UserError for one that is no name, such as a path: it would become a folder somewhere else."""
    if not re.fullmatch(NAME, name):
        raise UserError(
            f"{option} {name!r} is not a name: at most 128 letters, digits, . _ and -, the first a letter, digit or _",
            "choose the folder of all runs by --runs",
        )
    return name


def evaluation(model: str) -> str:
    """The name of the folder that the evaluation of a model of this name goes to, where mtrl did not train it."""
    return "eval-" + re.sub(r"[^A-Za-z0-9._-]+", "-", model)[:100]


def find(name: str, runs: Path = Path("runs")) -> Run:
    """The run called `name`, or at the path `name`. Raises UserError."""
    for path in (Path(name), runs / name):
        if (path / "recipe.yaml").exists():
            return Run(path)
    known = [run.name for run in listing(runs)]
    raise UserError(f"there is no run {name!r} in {runs}/ (there: {', '.join(known) or 'none'})", "mtrl status")


def listing(runs: Path = Path("runs")) -> list[Run]:
    return [Run(file.parent) for file in sorted(runs.glob("*/recipe.yaml"))]


def hashes(data: Path, files: list[Path]) -> dict[str, str]:
    """{path relative to the data folder: sha256}."""
    return {str(file.relative_to(data)): sha256_file(file) for file in files}


def differing(before: Any, now: Any, prefix: str = "") -> list[str]:
    """The keys, a.b.c, in which two nested mappings are not equal."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = []
        for key in [*before, *(k for k in now if k not in before)]:
            found += differing(before.get(key), now.get(key), f"{prefix}.{key}" if prefix else str(key))
        return found
    return [] if before == now else [prefix]
