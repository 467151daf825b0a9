"""Checking what a file holds against a pydantic model, with errors a person can act on: all at once, each with the nearest key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from mtrl.core.errors import UserError, nearest
from mtrl.core.files import read_object


class Model(BaseModel):
    """Base of everything a user writes in YAML: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Stored(BaseModel):
    """Base of what mtrl writes as JSON and reads again, perhaps from somebody else: exact types, finite numbers, further keys."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)


M = TypeVar("M")
_READERS: dict[type, TypeAdapter[Any]] = {}  # making one takes longer than using it
SHOWN, IN_LINE = 20, 3  # mistakes that one error lists: of what a person wrote, and in the one line for what mtrl wrote


def read(model: type[M], path: Path, then: str = "") -> M:
    """A JSON file that holds an object like `model`. Raises UserError, which ends in `then`."""
    return validate(model, read_object(path, then), str(path), then)


def validate(model: type[M], data: Any, file: str, then: str = "") -> M:
    """`data` as a `model`, which is a pydantic model or a dataclass.

    Raises one UserError that lists the mistakes in `file` ("": not named), in one line for what is not a `Model`.
    """
    reader: TypeAdapter[M] = _READERS.get(model) or _READERS.setdefault(model, TypeAdapter(model))
    shown = SHOWN if issubclass(model, BaseModel) and not issubclass(model, Stored) else IN_LINE
    try:
        return reader.validate_python(data)
    except ValidationError as error:
        lines = []
        for mistake in error.errors(include_url=False)[:shown]:
            where = [str(part) for part in mistake["loc"]]
            if mistake["type"] == "extra_forbidden":
                hint = nearest(where[-1], _keys(model, where[:-1]))
                lines.append(f"unknown key {'.'.join(where)!r}.{hint}")
            elif mistake["type"] == "missing":
                lines.append(f"{'.'.join(where)} is missing")
            else:
                message = mistake["msg"].removeprefix("Value error, ")
                given = (
                    f" (given: {_short(mistake['input'])})" if where and not isinstance(mistake["input"], dict) else ""
                )
                lines.append(f"{'.'.join(where)}: {message}{given}".removeprefix(": "))
        if (more := error.error_count() - shown) > 0:
            lines.append(f"and {more:,} more")
        said = "; ".join(lines)
        if shown == SHOWN and len(lines) > 1:
            said = "\n  - ".join(["", *lines])
        raise UserError(f"{file}: {said}" if file else said, then) from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _keys(model: Any, path: list[str]) -> list[str]:
    """The field names of the model that stands at `path` below `model`."""
    for part in path:
        field = model.model_fields.get(part)
        inner = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        found = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not found:
            break
        model = found[0]
    return list(model.model_fields)
