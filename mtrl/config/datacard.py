"""data/<task>/card.json: what a conversion read, kept, rejected and counted. Written last: then all is there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from mtrl.core import hints
from mtrl.core.errors import UserError
from mtrl.core.files import read_object
from mtrl.core.schema import Stored, validate

FILE, INPUTS = "card.json", "inputs.json"  # the second is converters/pipeline/unchanged.py's
Counts = dict[str, Annotated[int, Field(ge=0)]]
PerSplit = dict[str, Counts]


class Images(Stored):
    stored: int = 0
    """Different images of the kept rows."""
    notes: Counts = {}
    """What loaders pass over, such as transparency, and in how many images."""


class Agreement(Stored):
    """How far several annotators agree, over every item of the release, also those that no split has."""

    annotators: Annotated[int, Field(ge=1)]
    items: Annotated[int, Field(ge=1)]
    """Those with at least one label."""
    labels: Annotated[int, Field(ge=1)]
    ties: Annotated[int, Field(ge=0)]
    """Items without a majority, which have no label and are left out."""
    alpha: float | None
    """Krippendorff's alpha; None where it is not defined: no item has two labels, or all labels are the same."""
    level: Literal["nominal", "interval"]
    """Of measurement: interval for the scores of a scale."""


class DataCard(Stored):
    """Of these, cards of earlier versions of mtrl may have only `counts` and `prompts`."""

    task: str = ""
    mtrl: str = ""
    """The version that converted."""
    protocol: str = "paper"
    """The split protocol: paper or grouped."""
    counts: PerSplit
    """Rows per split and verdict."""
    rows_in_release: int = 0
    release_counts: PerSplit = {}
    """Rows of the release per split and verdict, before any is rejected; "dropped" are those that no split may have."""
    rejects: Counts = {}
    """Rejected rows per reason."""
    rejected_rows: dict[str, str] = {}
    """{id: reason} of the first rejected rows."""
    left_out: Counts = {}
    """Rows per key of the task that leaves them out, such as label.drop."""
    conflicts: int = 0
    """Rows that ask what another row asks, and have another label."""
    duplicates: int = 0
    """Kept rows that ask what an earlier row asks."""
    agreement: Agreement | None = None
    """Of several annotators; None where each row has one label."""
    images: Images = Images()
    limit: Annotated[int, Field(ge=1)] | None = None
    """--limit: rows per split at most."""
    orient: bool = False
    """Whether images are stored upright by their EXIF rotation."""
    label: dict[str, Any] = {}
    """The task's label rule, as in its YAML."""
    split: dict[str, Any] = {}
    """The task's split rule, as in its YAML."""
    inputs: dict[str, str] = {}
    """The sha256 of each file of the release that holds labels."""
    prompts: dict[str, str]
    """The sha256 of the prompt of each style."""
    leakage: dict[str, Counts] = {}
    """For image, near-duplicate image and caption: how many of one split are in another, such as "test_in_train"."""


def path_of(data: Path, task: str) -> Path:
    return data / task / FILE


def read(data: Path, task: str) -> DataCard:
    """Raises UserError where there is no card, or something else is in it."""
    file = path_of(data, task)
    try:
        return validate(DataCard, read_object(file), f"{file} is broken")
    except UserError as error:
        raise UserError(str(error), convert_again(task, data)) from None


def convert_again(task: str, data: Path) -> str:
    """The `mtrl convert` of a task as it was run before: the same releases, protocol and limit."""
    found: dict[str, Any] = {}
    for name in (FILE, INPUTS):
        with contextlib.suppress(UserError):
            found |= read_object(data / task / name)
    recorded = found.get("raw")
    raw = os.path.relpath(data / recorded) if isinstance(recorded, str) else "raw"
    grouped = "grouped" if found.get("protocol") == "grouped" else None
    return hints.line("convert", task, raw=raw, out=data, protocol=grouped, limit=found.get("limit"))
