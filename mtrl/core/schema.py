"""Files as types: what a file holds is checked against a pydantic model.

An error lists all mistakes at once, each with the nearest key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mtrl.core.errors import UserError, nearest
from mtrl.core.files import read_object


class Model(BaseModel):
    """Base of everything that a user writes in YAML: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Stored(BaseModel):
    """Base of what mtrl, perhaps another version, writes as JSON: exact types, finite numbers, unknown keys kept."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)


M = TypeVar("M", bound=BaseModel)
SHOWN, IN_LINE = 20, 3  # mistakes that one error lists: one per line for what a person wrote, in one line for Stored


def read(model: type[M], path: Path, then: str = "") -> M:
    """A JSON file that holds an object like `model`. Raises UserError; `then` is its next step."""
    return validate(model, read_object(path, then), str(path), then)


def validate(model: type[M], data: Any, file: str, then: str = "") -> M:
    """`data` as a `model`. Raises one UserError that lists the mistakes in `file`."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        shown = IN_LINE if issubclass(model, Stored) else SHOWN
        lines = [_line(model, mistake) for mistake in error.errors(include_url=False)[:shown]]
        if (more := error.error_count() - shown) > 0:
            lines.append(f"and {more:,} more")
        text = "; ".join(lines) if shown == IN_LINE or len(lines) == 1 else "".join(f"\n  - {line}" for line in lines)
        raise UserError(f"{file}: {text}", then) from None


def _line(model: type[BaseModel], mistake: Any) -> str:
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


def _keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """The field names of the model at `path` below `model`."""
    for part in path:
        field = model.model_fields.get(part)
        inner = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        found = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not found:
            break
        model = found[0]
    return list(model.model_fields)
