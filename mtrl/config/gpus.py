"""What is known of a GPU by its name: recipes/gpus.yaml, or one of that name in the working directory's recipes/."""

from __future__ import annotations

from pydantic import PositiveFloat

from mtrl.core import search_path
from mtrl.core.errors import UserError, nearest
from mtrl.core.files import read_yaml
from mtrl.core.schema import Model, validate

FILE = "gpus.yaml"


class Gpu(Model):
    """`flops`: dense bf16 operations per second. `bandwidth`: bytes per second of its memory. `memory`: GB.

    `link`: bytes per second that it gathers from the other GPUs of its node.
    """

    flops: PositiveFloat
    bandwidth: PositiveFloat
    memory: PositiveFloat
    link: PositiveFloat


def gpu(name: str) -> Gpu:
    """Raises UserError with the names that are known."""
    path = search_path.find("recipes", FILE, "file")
    known = read_yaml(path)
    if name not in known:
        hint = nearest(name, list(known))
        raise UserError(
            f"gpu: {name!r} is not in {path}; known: {', '.join(known)}.{hint}", f"add it to recipes/{FILE}"
        )
    return validate(Gpu, known[name], f"{path}, {name}")
