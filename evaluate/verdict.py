"""One verdict on one's own images: the row of an item in the output of `mtrl judge`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from mtrl.evaluate.image_items import Bad
from mtrl.evaluate.metrics.prediction import Fraction

SKIPPED = "skipped"  # written as the verdict on an item that was not asked
COLUMNS = (
    "id", "image", "image_2", "task", "verdict", "flipped", "label", "correct", "confidence", "reasoning", "response",
    "response_turned", "finish_reason", "skipped", "asked",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A judge's answer about one image, or about one pair in both orders."""

    __pydantic_config__ = ConfigDict(allow_inf_nan=False)

    id: str
    """The item's id."""
    image: str
    """What the user calls the image."""
    image_2: str | None = None
    """The second image of a pair."""
    task: str
    """The task's name."""
    verdict: str
    """The strict parse of the response, or INVALID."""
    flipped: bool | None = None
    """Of a pair: whether the judge named the same place in both orders; None where one answer is invalid."""
    label: str = ""
    """The right verdict, "" where it is not known."""
    confidence: Fraction | None
    """How sure the judge was of the verdict; None where it is not known."""
    response: str
    """The judge's text."""
    response_turned: str | None = None
    """Of a pair: the judge's text about the swapped images."""
    finish_reason: str
    """How the response ended, see engines/base.py."""
    asked: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Hash of judge, prompt and images: the same command recognizes by it what is done."""

    @property
    def correct(self) -> bool:
        return self.verdict == self.label

    @property
    def reasoning(self) -> str:
        return reasoning(self.response)


def reasoning(response: str) -> str:
    """The text inside the first <think>, closed or not; "" where there is none."""
    return response.partition("<think>")[2].partition("</think>")[0].strip()


def row(judged: Verdict | Bad) -> dict[str, Any]:
    """What is written: the columns that the item has, in the order of COLUMNS."""
    if isinstance(judged, Bad):
        of = {"id": judged.id, "image": judged.names[0] if judged.names else ""}
        of |= {"image_2": judged.names[1]} if len(judged.names) > 1 else {}
        of |= {"task": judged.task, "verdict": SKIPPED, "skipped": judged.reason}
        return of | {"asked": hashlib.sha256(json.dumps(of).encode()).hexdigest()}
    pair = judged.response_turned is not None
    has = {"image_2": pair, "flipped": pair, "response_turned": pair, "label": bool(judged.label), "skipped": False}
    has["correct"] = has["label"]
    return {name: getattr(judged, name) for name in COLUMNS if has.get(name, True)}
