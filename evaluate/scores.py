"""metrics.json as types: what tables and `mtrl reproduce` read of it. A file that does not fit gives one line that says why.

Keys that an older mtrl did not write are None here; whatever is there has the right type and range, with no NaN and no
infinity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from mtrl.config.recipe_types import METHODS
from mtrl.core import hints
from mtrl.core.errors import UserError
from mtrl.core.files import read_json
from mtrl.evaluate.metrics import task as metrics

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]  # since 1970


class _Part(BaseModel):
    """Other keys are passed over: metrics.json holds more than these."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Pairs(_Part):
    consistent_accuracy: Fraction


class Judge(_Part):
    """Who was asked: `name` is the run's, or the model's; `model` the preset or base model it was trained from.

    `trained_on` is None for a judge that mtrl did not train.
    """

    name: str = Field(min_length=1)
    step: NonNegativeInt | None = None
    model: str = ""
    trained_on: list[str] | None = None


class TaskScores(_Part):
    """One task's numbers (fractions) and what they are of. `answered`: when its last answer was generated."""

    macro_f1: Fraction
    macro_f1_ci95: Annotated[list[Fraction], Field(min_length=2, max_length=2)] | None
    accuracy: Fraction | None = None
    invalid_rate: Fraction
    confusion: dict[str, dict[str, NonNegativeInt]]
    n: PositiveInt | None = None
    one_class: str | None = None
    pairwise: Pairs | None = None
    split: Literal["train", "val", "test"] = "test"
    limit: PositiveInt | None = None
    conversion_limit: PositiveInt | None = None
    samples_sha256: str | None = None
    prompt_sha256: str | None = None
    answered: Seconds | None = None


class Scores(_Part):
    """One evaluation. `tasks` are those whose numbers can be read, `broken` the others with the reason."""

    file: Path
    method: str
    votes: PositiveInt
    checkpoint: str = ""
    fingerprint: str = ""
    style: Literal["sft", "rl"] | None = None
    judge: Judge | None = Field(default=None, alias="judged_by")
    tasks: dict[str, TaskScores] = {}
    broken: dict[str, str] = {}


def read(file: Path) -> Scores:
    """Raises UserError, in one line, where the file is no metrics.json of today's schema."""
    data = read_json(file)
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != metrics.SCHEMA or not isinstance(data, dict) or not {"method", "votes"} <= set(data):
        kind = f"of schema {schema!r}" if schema is not None and schema != metrics.SCHEMA else "no metrics of mtrl"
        raise UserError(f"{file}: {kind}; this mtrl reads schema {metrics.SCHEMA}", hints.line("score", file.parent))
    if not isinstance(data["method"], str) or data["method"] not in METHODS:
        raise UserError(f"{file}: method {_short(data['method'])} is not one of {', '.join(METHODS)}")
    tasks: dict[str, TaskScores] = {}
    broken: dict[str, str] = {}
    for name, about in data.items():
        if name == "judged_by" or not isinstance(about, dict):
            continue
        try:
            tasks[name] = TaskScores.model_validate(about)
        except ValidationError as error:
            broken[name] = _why(error)
    try:
        return Scores.model_validate(
            {**{k: v for k, v in data.items() if k not in ("tasks", "broken")}, "file": file}
        ).model_copy(update={"tasks": tasks, "broken": broken})
    except ValidationError as error:
        raise UserError(f"{file}: {_why(error)}", hints.line("score", file.parent)) from None


def _why(error: ValidationError) -> str:
    """The first mistake, and how many more there are."""
    first, *more = error.errors(include_url=False)
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        text = f"{where} is missing"
    else:
        text = f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}, not {_short(first['input'])}"
    return text + (f" (and {len(more)} more)" if more else "")


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else text[:37] + "..."
