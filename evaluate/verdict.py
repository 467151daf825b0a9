"""One verdict on one's own images: the row of an item in the output of `mtrl judge`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from mtrl.config.kinds import SKIPPED
from mtrl.evaluate.image_items import Bad
from mtrl.evaluate.metrics.prediction import Fraction

COLUMNS = (
    "id", "image", "image_2", "image_3", "image_4", "task", "verdict", "flipped", "label", "correct", "cluster",
    "confidence", "probabilities", "reasoning", "response", "response_turned", "finish_reason", "skipped", "content",
    "asked",
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
    """The second image, such as of a pair."""
    image_3: str | None = None
    image_4: str | None = None
    task: str
    """The task's name."""
    verdict: str
    """The strict parse of the response, or INVALID."""
    flipped: bool | None = None
    """Of a pair: whether the two orders' answers contradict each other; None where one answer is invalid."""
    label: str = ""
    """The right verdict, "" where it is not known."""
    cluster: str = ""
    """The item's, see image_items.py; "" where it is not known."""
    confidence: Fraction | None
    """How sure the judge was of the verdict; None where it is not known."""
    probabilities: dict[str, Fraction] | None = None
    """How sure it was of each verdict, of a task with more than two; None where it is not known."""
    response: str
    """The judge's text."""
    response_turned: str | None = None
    """Of a pair: the judge's text about the other order."""
    finish_reason: str
    """How the response ended, see engines/base.py."""
    content: str = ""
    """The sha256 of each image file, joined by spaces; "" where it is not recorded."""
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
        of |= {f"image_{place}": name for place, name in enumerate(judged.names[1:], start=2)}
        of |= {"task": judged.task, "verdict": SKIPPED, "skipped": judged.reason}
        return of | {"asked": hashlib.sha256(json.dumps(of).encode()).hexdigest()}
    pair = judged.response_turned is not None
    has = {"flipped": pair, "response_turned": pair, "skipped": False}
    has |= {name: bool(getattr(judged, name)) for name in ("label", "cluster", "content")}
    has |= {name: getattr(judged, name) is not None for name in ("image_2", "image_3", "image_4", "probabilities")}
    has["correct"] = has["label"]
    return {name: getattr(judged, name) for name in COLUMNS if has.get(name, True)}
