"""One finding of a check: of a plan before a launch, or of what is converted."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Check(NamedTuple):
    """`text` is one line for a person; `then` is the next command, "" if there is nothing to do."""

    level: Literal["ok", "warning", "error"]
    text: str
    then: str = ""
