"""One finding of a check: of a plan before a launch, or of what is converted."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Check(NamedTuple):
    """`text` is a line for a person; `then` the next command, "" where nothing is to be done."""

    level: Literal["ok", "warning", "error"]
    text: str
    then: str = ""
