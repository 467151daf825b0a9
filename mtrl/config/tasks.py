"""A task: one YAML in recipes/tasks/ that says where rows come from, which value is which verdict, and how to split.

The paper's six tasks and MJ-Bench's are tasks like any other. A user adds one with a YAML and two prompt files.
kinds.py says which verdicts a task of each kind has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt, PrivateAttr, field_validator, model_validator

from mtrl.config import kinds
from mtrl.config.kinds import Kind, Pair, Pointwise
from mtrl.config.labels import Label
from mtrl.core import search_path
from mtrl.core.errors import UserError
from mtrl.core.files import read_yaml
from mtrl.core.schema import Model, validate

SPLITS = ("train", "val", "test")
NAME = r"[a-z][a-z0-9_]*"


class Split(Model):
    """Which rows are train, val or test. A key that would have no effect is an error."""

    by: Literal["column", "random"] = "random"
    """column: by `column` of the table. random: rows are shuffled by `seed` and cut by `parts`."""
    protocol: Literal["paper", "grouped"] = "paper"
    """paper: each row by itself, as the paper's counts say. grouped: no two splits share a text, a source
    (Row.group), an image or a near-duplicate; official test rows are kept, then val rows, and rows that share with
    them are dropped and counted."""
    column: str | None = None
    """A column of the words train, val and test. `column` alone means by: column."""
    group: str | None = None
    """A column: rows with one value in it stay in one split."""
    official: list[Literal["train", "val", "test"]] = []
    """The release's own splits that are kept whole (a table has them in `column`); only the other rows are cut by
    `parts`."""
    parts: dict[str, float] = Field(default={"train": 0.8, "val": 0.1, "test": 0.1})
    """The share of each split; they add up to 1."""
    texts: list[str] = ["caption"]
    """The fields that protocol grouped compares."""
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _named_column(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("column") and "by" not in given and not given.get("official"):
            return {**given, "by": "column"}
        return given

    @model_validator(mode="after")
    def _whole(self) -> Split:
        if self.by == "column" and not self.column:
            raise ValueError("split.by is column, so split.column must name it")
        if self.by == "random" and self.column and not self.official:
            raise ValueError(
                f"split.by is random, so split.column {self.column} would be ignored: write by: column to use it, "
                "name the splits to keep under split.official, or leave it out"
            )
        if unknown := set(self.parts) - set(SPLITS):
            raise ValueError(f"split.parts has {unknown.pop()!r}; it takes {', '.join(SPLITS)}")
        if self.by == "random" and (abs(sum(self.parts.values()) - 1) > 1e-6 or min(self.parts.values()) < 0):
            raise ValueError(f"split.parts must add up to 1, and add up to {sum(self.parts.values()):g}")
        if twice := [split for split in self.official if self.parts.get(split) and "parts" in self.model_fields_set]:
            raise ValueError(f"split {twice[0]} is official, so split.parts must leave it out")
        if ignored := self._ignored():
            raise ValueError(
                f"every row's split comes from the release, so split.{' and split.'.join(ignored)} would be "
                "ignored: leave it out"
            )
        return self

    def _ignored(self) -> list[str]:
        """The keys that were given and have no effect, since no row is left to cut."""
        keys = ("seed", "parts", "official") if self.by == "column" else ("seed", "parts")
        return [key for key in keys if key in self.model_fields_set] if set(self.kept) == set(SPLITS) else []

    @property
    def kept(self) -> tuple[str, ...]:
        """The splits that come from the release."""
        return SPLITS if self.by == "column" else tuple(self.official)


class Task(Model):
    name: str
    """The file's name."""
    title: str
    """One line for lists and reports."""
    capability: Literal["quality", "alignment", "safety"]
    kind: Kind = "pointwise"
    """What is asked; kinds.py has the list."""
    choices: tuple[str, ...] = ()
    """The verdicts. Written for a choice task; the other kinds have their own."""
    tie: bool = False
    """Whether a pair may be a tie: the verdicts are 1, 2 and tie."""
    range: tuple[int, int] | None = None
    """Of a score task: its lowest and highest score."""
    images: PositiveInt = Field(default=1, le=kinds.MOST_IMAGES)
    """Images per row. Default: one, or two where a pair is of images."""
    pair: Pair | None = None
    """Of a pairwise task: what its two sides are. Default: the two images."""
    pointwise: Pointwise | None = None
    """Of a pair of images without ties: how to compare them by single answers."""
    converter: str = "table"
    """The name of a module of mtrl.converters, or the path of a Python file below the working directory."""
    source: dict[str, Any] = {}
    """The converter's settings, which it checks itself."""
    label: Label
    split: Split = Split()
    orient: bool = False
    """Store and judge photographs upright whose EXIF asks for a rotation. False: as their pixels are stored."""
    prompts: dict[str, str] = {}
    """{style: file below prompts/}."""
    expected: dict[Literal["train", "val", "test"], dict[Literal["rows", "positive", "negative"], int]] = {}
    """Published counts per split."""
    table1_positive: Literal["yes", "no"] | None = None
    """The verdict that these counts call positive."""
    training: bool = True
    """False: the release does not allow training, as `note` says; `mtrl plan`, `mtrl sft` and `mtrl rl` refuse it."""
    note: str = ""
    _home: Path | None = PrivateAttr(None)  # not a field: neither YAML nor model_dump has it

    @property
    def home(self) -> Path | None:
        """The task_files folder that the task was loaded from, whose prompts it uses; None: the working directory's
        or mtrl's."""
        return self._home

    @property
    def of_images(self) -> bool:
        """Whether it is a pair of images without ties, which answers about single images can decide."""
        return self.pair is not None and len(self.pair.images) == 2 and not self.pair.fields and not self.tie

    @property
    def own_converter(self) -> bool:
        """Whether `converter` is the path of a file of the user's own, not the name of one of mtrl's."""
        return self.converter.endswith(".py")

    def prompt_file(self, style: str) -> str:
        """The template's name below prompts/."""
        return self.prompts.get(style, f"{style}/{self.name}.jinja")

    def numbers(self, labels: Iterable[Any]) -> list[float | None]:
        """The release's own number of each label; None where the label column holds no numbers."""
        return self.label.numbers(labels, self.choices)

    def verdicts(self, labels: Iterable[tuple[Any, str]]) -> list[str]:
        """For each (label, where it is) a verdict or the key that leaves the row out. Raises MtrlError, UserError."""
        return self.label.verdicts(labels, self.choices, self.name)

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not re.fullmatch(NAME, name):
            raise ValueError("a task name is lower-case letters, digits and _")
        if set(name.split("_")) & {"train", "val", "test", "validation", "dev", "eval"}:
            raise ValueError(
                "train, val and test are not allowed as words of a task name: `datasets` would read a split from it"
            )
        return name

    @field_validator("converter")
    @classmethod
    def _name_or_file(cls, converter: str) -> str:
        path = Path(converter)
        if not re.fullmatch(NAME, converter) and (
            path.suffix != ".py" or path.is_absolute() or ".." in path.parts or "\0" in converter
        ):
            raise ValueError(
                "converter is the name of one of mtrl's converters, such as table, or the path of your own Python file "
                "below the working directory, such as ./mybench.py"
            )
        return converter

    @field_validator("prompts")
    @classmethod
    def _below_prompts(cls, prompts: dict[str, str]) -> dict[str, str]:
        for style, name in prompts.items():
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise ValueError(
                    f"prompts.{style} names a file below prompts/, such as {style}/mine.jinja, and no path elsewhere"
                )
        return prompts

    @model_validator(mode="before")
    @classmethod
    def _by_kind(cls, given: Any) -> Any:
        return kinds.completed(given) if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _whole(self) -> Task:
        if self.pointwise and not self.of_images:
            raise ValueError("pointwise is for pairs of images without ties: leave it out")
        self.label.check(self.kind, self.choices)
        if self.label.several and self.converter != "table":
            raise ValueError("label.columns and label.annotator are for converter: table; another gives Row.annotators")
        if not self.training and not self.note:
            raise ValueError("training is false, so note must say what the release allows")
        if self.pair and self.pair.images and max(self.pair.images) > self.images:
            raise ValueError(f"pair.images names image {max(self.pair.images)}, and a row has images: {self.images}")
        return self


def load(name: str, home: Path | None = None) -> Task:
    """The task called `name`, of the working directory or of mtrl, or with `home` of that folder alone. Raises
    UserError."""
    known = {name: file_in(home, name)} if home else search_path.listing("recipes", "tasks", ".yaml")
    if name not in known:
        raise search_path.missing("recipes", f"tasks/{name}.yaml", "task", "mtrl tasks")
    task = validate(Task, {"name": name, **read_yaml(known[name])}, str(known[name]))
    if task.name != name:
        raise UserError(f"{known[name]}: the task's name is {task.name!r}; it must be the file's, {name!r}")
    task._home = home
    return task


def file_in(home: Path, name: str) -> Path:
    """Where a task_files folder has a task's YAML. Raises UserError for a name that a task cannot have."""
    return home / "recipes" / "tasks" / f"{checked(name)}.yaml"


def checked(name: str) -> str:
    """The name itself. Raises UserError for a name that a task cannot have, such as a path."""
    if not re.fullmatch(NAME, name):
        raise UserError(f"{name!r} is not a task name: lower-case letters, digits and _", "mtrl tasks")
    return name


def load_all() -> list[Task]:
    """Every task that can be loaded; those with a broken YAML are in `broken`."""
    return [task for task in _every().values() if isinstance(task, Task)]


def broken() -> dict[str, UserError]:
    """For each task that `load_all` leaves out, by name, what is wrong with its YAML."""
    return {name: error for name, error in _every().items() if isinstance(error, UserError)}


def _every() -> dict[str, Task | UserError]:
    found: dict[str, Task | UserError] = {}
    for name in search_path.listing("recipes", "tasks", ".yaml"):
        try:
            found[name] = load(name)
        except UserError as error:
            found[name] = error
    return found


def select(names: list[str]) -> list[Task]:
    """The named tasks, each once; "all" is every task of `load_all`. Raises UserError."""
    if names == ["all"]:
        return load_all()
    return [load(name) for name in dict.fromkeys(names)]
