"""mtrl.json, which describes an export. A checkpoint may come from anybody, so every value that is read is checked.

It only sets how the judge is asked: names are not paths, sizes are within limits, and the files that it lists are
inside the export's own folder.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mtrl.config.recipe_types import Image, Method, Style
from mtrl.config.tasks import NAME as TASK_NAME
from mtrl.core import hints
from mtrl.core.errors import UserError
from mtrl.core.files import read_object
from mtrl.core.run_files import RECIPE
from mtrl.core.rundir import NAME as RUN_NAME
from mtrl.core.schema import validate

FILE = "mtrl.json"
MOST_PIXELS = 100_000_000


def _inside(name: str) -> str:
    if (path := PurePosixPath(name)).is_absolute() or ".." in path.parts or str(path) in (".", FILE):
        raise ValueError("it should name a file inside the export")
    return name


def _run_name(name: str) -> str:
    if not re.fullmatch(RUN_NAME, name):
        raise ValueError("it should be a name: letters, digits, . _ and -")
    return name


class _Outside(BaseModel):
    """Keys that only other versions of mtrl have are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Model(_Outside):
    name: str
    patch_size: int = Field(ge=1, le=128)
    merge_size: int = Field(ge=1, le=16)


class _Hardware(_Outside):
    name: str


class _Recipe(_Outside):
    model: _Model
    hardware: _Hardware | None = None


class Card(_Outside):
    """The keys that evaluation reads; mtrl.runs.export writes more. `files` is {path: sha256}."""

    method: Method
    style: Style
    tasks: tuple[Annotated[str, Field(pattern=f"^{TASK_NAME}$")], ...] = Field(min_length=1)
    image: Image
    max_new_tokens: int = Field(ge=1, le=1 << 17)
    run: Annotated[str, AfterValidator(_run_name)]
    step: int | None = None
    recipe: _Recipe
    files: dict[Annotated[str, AfterValidator(_inside)], Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]

    @model_validator(mode="after")
    def _sane(self) -> Card:
        if self.image.max_pixels > MOST_PIXELS:
            raise ValueError(f"image.max_pixels should be at most {MOST_PIXELS:,}")
        return self


def read(folder: Path) -> Card | None:
    """mtrl.json of an export, None for a model that mtrl did not export.

    Raises UserError for a folder that is not a model, and for a card with a wrong value.
    """
    if not (folder / "config.json").exists():
        what = "does not exist" if not folder.exists() else "is a file" if folder.is_file() else "has no config.json"
        hint = (
            hints.line("export", folder, out=hints.free("exports", folder.name))
            if (folder / RECIPE).exists()
            else "pass a model folder, such as one that mtrl export RUN --out FOLDER wrote"
        )
        raise UserError(f"--ckpt {folder} is not a checkpoint: it {what}", hint)
    if not (file := folder / FILE).exists():
        return None
    known: dict[str, Any] = read_object(file, "export the run again to another folder: mtrl export writes one")
    return validate(Card, known, str(file))
