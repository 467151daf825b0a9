"""Files as types: what a file holds is checked against a pydantic model or a dataclass.

An error lists all mistakes at once, each with the nearest key.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from mtrl.core.errors import UserError, nearest
from mtrl.core.files import read_object


class Model(BaseModel):
    """Base of everything that a user writes in YAML: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Stored(BaseModel):
    """Base of what mtrl, perhaps another version, writes as JSON: exact types, finite numbers, unknown keys kept."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)


class Mistake(ValueError):
    """What a validator raises where it knows the next step."""

    def __init__(self, text: str, then: str) -> None:
        super().__init__(text)
        self.then = then


M = TypeVar("M")
SHOWN, IN_LINE = 20, 3  # mistakes that one error lists: one per line for a Model, all in one line for other types


def read(model: type[M], path: Path, then: str = "") -> M:
    """A JSON file that holds an object like `model`. Raises UserError; `then` is its next step."""
    return validate(model, read_object(path, then), str(path), then)


def validate(model: type[M], data: Any, file: str, then: str = "") -> M:
    """`data` as a `model`. Raises one UserError that lists the mistakes in `file` ("": not named).

    Its next step is `then`, or that of the first Mistake.
    """
    by_line = issubclass(model, BaseModel) and not issubclass(model, Stored)
    try:
        return cast(M, _adapter(cast(Any, model)).validate_python(data))
    except ValidationError as error:
        shown = SHOWN if by_line else IN_LINE
        mistakes = error.errors(include_url=False)
        lines = [_line(model, mistake) for mistake in mistakes[:shown]]
        if (more := error.error_count() - shown) > 0:
            lines.append(f"and {more:,} more")
        said = "\n  - ".join(["", *lines]) if by_line and len(lines) > 1 else "; ".join(lines)
        own = (getattr(mistake.get("ctx", {}).get("error"), "then", "") for mistake in mistakes)
        raise UserError(f"{file}: {said}" if file else said, then or next(filter(None, own), "")) from None


@functools.cache  # making one takes longer than using it
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def _line(model: Any, mistake: Any) -> str:
    """One of pydantic's mistakes in a line: the key, what is wrong with it, what was given."""
    where, given = [str(part) for part in mistake["loc"]], mistake["input"]
    if mistake["type"] == "extra_forbidden":
        return f"unknown key {'.'.join(where)!r}.{nearest(where[-1], _keys(model, where[:-1]))}"
    if mistake["type"] == "missing":
        return f"{'.'.join(where)} is missing"
    shown = f" (given: {_short(given)})" if where and not isinstance(given, dict) else ""
    return f"{'.'.join(where)}: {mistake['msg'].removeprefix('Value error, ')}{shown}".removeprefix(": ")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _keys(model: Any, path: list[str]) -> list[str]:
    """The field names of the model at `path` below `model`."""
    for part in path:
        field = model.model_fields.get(part)
        inner = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        found = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not found:
            break
        model = found[0]
    return list(model.model_fields)
