"""eval.json: which judge was asked what, and how. It is what makes two evaluations the same or different."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, Strict

from mtrl.config import tasks
from mtrl.config.datacard import Agreement
from mtrl.config.kinds import Pair, Pointwise
from mtrl.config.recipe_types import METHODS, Style
from mtrl.config.samples import SplitName
from mtrl.core.errors import UserError
from mtrl.core.files import read_object, write_json
from mtrl.core.schema import Stored, validate

IDENTITY = "eval.json"
Purpose = Literal["eval", "sift", "probe"]  # the command that asked
WORDS = {"eval": "an evaluation", "sift": "a sift of training rows", "probe": "a probe"}
OTHER = "score it again by mtrl eval, with another --out; another version of mtrl may have written it"


class AskedWith(Stored):
    """How answers were sampled."""

    max_tokens: int = 0
    """Most tokens of one answer."""
    temperature: float | None = None
    """0 is greedy; None where it is not recorded."""
    votes: PositiveInt
    """Answers per item and order."""
    confidence: bool = False
    """Whether log-probabilities were asked for."""


class AskedTask(Stored):
    """One task as it was asked."""

    split: SplitName
    prompt_sha256: str
    """Of the prompt's template."""
    samples_sha256: str
    """Of the samples file."""
    limit: PositiveInt | None
    """The `--limit` of mtrl eval."""
    conversion_limit: PositiveInt | None = None
    """The `--limit` of mtrl convert."""
    agreement: Agreement | None = None
    """Of the annotators of the whole release, where there are several."""
    probe_sha256: str | None = None
    """Of all that a probe asks about the task; None where it is no probe."""
    requests: PositiveInt
    """Number of requests, over samples, orders and votes."""
    choices: Annotated[tuple[str, ...], Strict(False), Field(min_length=2)]
    """The verdicts that were asked for."""
    pair: Pair | None = None
    """What was swapped between the two orders of a pair; None for its two images."""
    pointwise: Pointwise | None = None
    """With `--pairs-from-scores`: what was asked about each image of a pair, which prompt and verdicts are then of."""


class Probed(Stored):
    """What `mtrl probe` changes in each row."""

    rows: PositiveInt
    """The most rows of a task, drawn by the seed."""
    seed: Annotated[int, Field(ge=0)]
    only: list[str]
    """The perturbations, by name."""
    made_by: str = ""
    """Versions and code: others may change rows and images in another way."""


class Identity(Stored):
    """eval.json. Fields with a default are missing in files that an older mtrl wrote; further keys are kept."""

    version: int = Field(1, alias="schema")
    checkpoint: str = ""
    """The judge's fingerprint."""
    path: str
    """The folder, hub id or served name that was asked."""
    name: str | None = None
    """The judge's run, or the model's name."""
    model: str | None = None
    """The model preset that it was made from."""
    step: int | None = None
    run: str | None = None
    """The run that it is of; "" where mtrl did not train it."""
    trained: list[str] = []
    """The tasks that it was trained on."""
    prompts: str = ""
    """Whose prompts: "export" or "local"."""
    method: Literal[*METHODS]  # type: ignore[valid-type]
    style: Style
    image: dict[str, int] | None = None
    """{min_pixels, max_pixels}"""
    sampling: AskedWith
    sift: bool = False
    """Whether `mtrl sift` asked: training rows, and of a pair only the order "given", as it is trained."""
    probe: Probed | None = None
    """What `mtrl probe` changed; None where it did not ask."""
    tasks: dict[Annotated[str, Field(pattern=f"^{tasks.NAME}$")], AskedTask]
    """By name."""
    engine: dict[str, Any] = {}
    """What the engine says of itself."""
    answered: dict[str, Annotated[float, Field(ge=0)]] = {}
    """By task: when its last answer was generated, in seconds since 1970."""

    def write(self, folder: Path) -> None:
        write_json(folder / IDENTITY, self.recorded)

    @property
    def purpose(self) -> Purpose:
        return "sift" if self.sift else "probe" if self.probe else "eval"

    def check_purpose(self, wanted: Purpose, folder: Path) -> None:
        """Raises UserError where another command asked than `wanted`."""
        if self.purpose != wanted:
            then = "name another folder (--out)" if wanted == "eval" else f"name a folder that mtrl {wanted} wrote"
            raise UserError(f"{folder} is {WORDS[self.purpose]}, not {WORDS[wanted]}", then)

    @property
    def recorded(self) -> dict[str, Any]:
        """The content of eval.json."""
        return self.model_dump(by_alias=True, exclude_unset=True)


def read_identity(folder: Path) -> Identity:
    """Raises UserError where the file is missing or damaged."""
    return validate(Identity, read_object(folder / IDENTITY, OTHER), str(folder / IDENTITY), OTHER)
