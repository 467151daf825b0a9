"""A task: one YAML in recipes/tasks/ that says where rows come from, which value is which verdict, and how to split.

The paper's six tasks and MJ-Bench's are tasks like any other. A user adds one by a YAML over the `table` converter and
two prompt files. Verdicts are "yes" | "no" (pointwise) and "1" | "2" (pairwise: the first or second image shown).
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from mtrl import resources
from mtrl.errors import UserError, nearest
from mtrl.files import read_yaml
from mtrl.schema import Model, validate

SPLITS = ("train", "val", "test")


class Split(Model):
    """How rows come to be train, val or test.

    by "column": the release says (`column`, whose values must be train, val or test).
    by "random": rows are shuffled by `seed` and cut by `parts`; rows of one `group` stay together where one is named.
    """

    by: Literal["column", "random"] = "random"
    column: str | None = None
    group: str | None = None
    parts: dict[str, float] = Field(default={"train": 0.8, "val": 0.1, "test": 0.1})
    seed: int = 0

    @model_validator(mode="after")
    def _whole(self) -> Split:
        if self.by == "column" and not self.column:
            raise ValueError("split.by is column, so split.column must name it")
        if unknown := set(self.parts) - set(SPLITS):
            raise ValueError(f"split.parts has {unknown.pop()!r}; it takes {', '.join(SPLITS)}")
        if self.by == "random" and (abs(sum(self.parts.values()) - 1) > 1e-6 or min(self.parts.values()) < 0):
            raise ValueError(f"split.parts must add up to 1, and add up to {sum(self.parts.values()):g}")
        return self


class Label(Model):
    """The column that holds the label, and which of its values mean which verdict (others: an error that names the row)."""

    column: str
    values: dict[Literal["yes", "no", "1", "2"], list[str]]


class Task(Model):
    """See the module. `expected` holds published counts per split, `table1_positive` the verdict they call positive."""

    name: str
    title: str
    capability: Literal["quality", "alignment", "safety"]
    kind: Literal["pointwise", "pairwise"] = "pointwise"
    converter: str = "table"
    source: dict[str, Any] = {}
    label: Label
    split: Split = Split()
    prompts: dict[str, str] = {}  # style -> file below prompts/
    expected: dict[Literal["train", "val", "test"], dict[Literal["rows", "positive", "negative"], int]] = {}
    table1_positive: Literal["yes", "no"] | None = None
    note: str = ""

    @property
    def choices(self) -> tuple[str, str]:
        return ("yes", "no") if self.kind == "pointwise" else ("1", "2")

    def prompt_file(self, style: str) -> str:
        """The template's name below prompts/."""
        return self.prompts.get(style, f"{style}/{self.name}.jinja")

    def verdict(self, value: Any, where: str) -> str:
        """The verdict that a label value means. Raises UserError naming the row."""
        text = str(value).strip()
        for verdict, values in self.label.values.items():
            if text in values:
                return verdict
        known = ", ".join(repr(v) for values in self.label.values.values() for v in values)
        raise UserError(
            f"{where}: label {value!r} in column {self.label.column!r} is unknown to task {self.name} (known: {known})",
            f"name its meaning under label.values in recipes/tasks/{self.name}.yaml",
        )

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise ValueError("a task name is lower-case letters, digits and _")
        if set(name.split("_")) & {"train", "val", "test", "validation", "dev", "eval"}:
            raise ValueError(
                "a task name must not hold train, val or test as a word: `datasets` would read a split from it"
            )
        return name

    @model_validator(mode="after")
    def _choices(self) -> Task:
        if set(self.label.values) != set(self.choices):
            raise ValueError(f"label.values of a {self.kind} task needs exactly the keys {' and '.join(self.choices)}")
        return self


def load(name: str) -> Task:
    """The task called `name`. Raises UserError."""
    known = resources.listing("recipes", "tasks", ".yaml")
    if name not in known:
        raise UserError(f"there is no task {name!r}." + nearest(name, known), "mtrl tasks")
    task = validate(Task, {"name": name, **read_yaml(known[name])}, str(known[name]))
    if task.name != name:
        raise UserError(f"{known[name]}: the task's name is {task.name!r}; it must be the file's, {name!r}")
    return task


def load_all() -> list[Task]:
    return [load(name) for name in resources.listing("recipes", "tasks", ".yaml")]


def select(names: list[str]) -> list[Task]:
    """The named tasks, each once; "all" is every task. Raises UserError."""
    if names == ["all"]:
        return load_all()
    return [load(name) for name in dict.fromkeys(names)]
