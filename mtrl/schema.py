"""Checking a YAML file against a pydantic model, with errors a person can act on: all at once, each with the nearest key."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mtrl.errors import UserError, nearest


class Model(BaseModel):
    """Base of everything a user writes in YAML: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], data: dict[str, Any], file: str) -> M:
    """Raises one UserError that lists every mistake in `file`."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = []
        for mistake in error.errors():
            where = [str(part) for part in mistake["loc"]]
            if mistake["type"] == "extra_forbidden":
                hint = nearest(where[-1], _keys(model, where[:-1]))
                lines.append(f"unknown key {'.'.join(where)!r}.{hint}")
            elif mistake["type"] == "missing":
                lines.append(f"{'.'.join(where)} is missing")
            else:
                message = mistake["msg"].removeprefix("Value error, ")
                given = f" (given: {mistake['input']!r})" if where and not isinstance(mistake["input"], dict) else ""
                lines.append(f"{'.'.join(where)}: {message}{given}".removeprefix(": "))
        raise UserError(
            f"{file}: " + (lines[0] if len(lines) == 1 else "\n  - ".join(["", *lines]).lstrip(" "))
        ) from None


def _keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """The field names of the model that stands at `path` below `model`."""
    for part in path:
        field = model.model_fields.get(part)
        inner = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        found = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not found:
            break
        model = found[0]
    return list(model.model_fields)
