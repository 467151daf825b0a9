"""The plan of `mtrl study`, recipes/study.yaml, as types. Its hash is in every result."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, PrivateAttr, model_validator

from mtrl.config.recipe_types import Style
from mtrl.core import hints, search_path
from mtrl.core.files import read_yaml
from mtrl.core.schema import Model, validate

NAME, FOLDER = "study", Path("runs/study")  # the defaults of mtrl study
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$")]


class Arm(Model):
    """One way to train."""

    title: str
    recipe: str
    """The name of a recipe that mtrl ships."""
    style: Style
    """What it is trained to answer: sft the bare verdict, rl reasoning and the verdict."""
    wordings: Literal[1, 8] = 1
    """Of its training prompts."""


class Plan(Model):
    """recipes/study.yaml, which has a comment for every key."""

    bases: dict[Name, int] = Field(min_length=1)
    base_steps: tuple[PositiveInt, PositiveInt]
    world_seed: int
    rows: dict[Literal["train", "val", "test"], PositiveInt] = Field(min_length=3)
    pairs: PositiveInt
    arms: dict[Name, Arm] = Field(min_length=2)
    votes: int = Field(ge=2)
    sft: dict[str, Any]
    rl: dict[str, Any]
    pilot: list[int]
    seeds: list[int] = Field(min_length=2)
    least_seeds: PositiveInt
    power: float = Field(gt=0, lt=1)
    margin: float = Field(gt=0)
    guard: float = Field(gt=0)
    alpha: float = Field(gt=0, lt=1)
    primary: tuple[Name, Name]
    secondary: list[tuple[Name, Name]]
    resamples: PositiveInt
    trajectory: list[int]
    kl_prompts: PositiveInt
    _file: str = PrivateAttr(NAME)

    @model_validator(mode="after")
    def _whole(self) -> Plan:
        for name in {*self.primary, *(name for pair in self.secondary for name in pair)}:
            if name not in self.arms:
                raise ValueError(f"a comparison names arm {name}, which is not one of {', '.join(self.arms)}")
        if again := set(self.pilot) & set(self.seeds):
            raise ValueError(f"seed {min(again)} is of the pilot, so it cannot be used again in the study")
        if self.least_seeds > len(self.seeds):
            raise ValueError(f"least_seeds is {self.least_seeds}, and seeds has {len(self.seeds)}")
        return self

    @property
    def sha256(self) -> str:
        """Of what it says, not of its comments."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    def command(self, out: Path = FOLDER, jobs: int | None = None) -> str:
        """The `mtrl study` of this plan, with these options."""
        file, default = None if self._file == NAME else self._file, Path(os.path.relpath(out)) == FOLDER
        return hints.line("study", plan=file, out=None if default else out, jobs=jobs)


def load(file: str = NAME) -> Plan:
    """A plan by its name in recipes/, or the path of a YAML. Raises UserError."""
    path = Path(file) if file.endswith((".yaml", ".yml")) else search_path.find("recipes", f"{file}.yaml", "plan")
    then = "correct the plan; recipes/study.yaml has a comment for every key"
    plan = validate(Plan, read_yaml(path), str(path), then)
    plan._file = file
    return plan
