"""One verdict on one's own images: the row of an item in the output of `mtrl judge`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from mtrl.config.kinds import OTHER, SKIPPED, UNDECIDED
from mtrl.config.samples import Order
from mtrl.evaluate.image_items import Bad
from mtrl.evaluate.metrics.prediction import Fraction

COLUMNS = (
    "id", "image", "image_2", "image_3", "image_4", "task", "verdict", "raw", "escalated", "judged_by", "flipped",
    "label", "correct", "cluster", "confidence", "confidence_turned", "probabilities", "probabilities_turned",
    "reasoning", "response", "response_turned", "response_escalated", "finish_reason", "skipped", "content", "asked",
)  # fmt: skip
OPTIONAL = (
    "image_2", "image_3", "image_4", "probabilities", "probabilities_turned", "raw", "escalated", "judged_by",
    "confidence_turned", "response_escalated",
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
    """The strict parse of the response, or INVALID. With a decision.json UNDECIDED below its threshold, and the larger
    judge's with --escalate-to."""
    raw: str | None = None
    """What the judge itself said, where it has a decision.json: a verdict or INVALID."""
    escalated: str | None = None
    """What the larger judge said, where it was asked."""
    judged_by: str | None = None
    """Whose verdict it is, where it has a decision.json; "" where it is undecided."""
    flipped: bool | None = None
    """Of a pair: whether the two orders' answers contradict each other; None where one answer is invalid."""
    label: str = ""
    """The right verdict, "" where it is not known."""
    cluster: str = ""
    """The item's, see image_items.py; "" where it is not known."""
    confidence: Fraction | None
    """How sure the judge was of the verdict; None where it is not known."""
    confidence_turned: Fraction | None = None
    """Of a pair: how sure the judge was of its verdict on the other order."""
    probabilities: dict[str, Fraction] | None = None
    """How sure it was of each verdict, of a task with more than two; None where it is not known."""
    probabilities_turned: dict[str, Fraction] | None = None
    """The same of a pair's other order, as that order's verdicts."""
    response: str
    """The judge's text."""
    response_turned: str | None = None
    """Of a pair: the judge's text about the other order."""
    response_escalated: str | None = None
    """The larger judge's text, where it was asked."""
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
    def as_said(self) -> Verdict:
        """With the judge's own verdict, whatever a threshold or a larger judge made of it."""
        return self if self.raw is None else replace(self, verdict=self.raw)

    def shares(self, choices: Sequence[str], order: Order = "given") -> dict[str, float] | None:
        """The probability of each verdict in that order, by what the judge itself said; None where it is not known."""
        said, sure, known = self.as_said.verdict, self.confidence, self.probabilities
        if order == "turned":
            said = said if self.flipped else OTHER[said]
            sure, known = self.confidence_turned, self.probabilities_turned
        if len(choices) > 2 or sure is None:
            return known
        return {choice: sure if choice == said else 1 - sure for choice in choices}

    @property
    def rejected(self) -> str:
        """Why the engine did not take the request; "" where it did."""
        if not self.finish_reason.startswith("rejected"):
            return ""
        return self.finish_reason.removeprefix("rejected: ") or "it gives no reason"

    @property
    def reasoning(self) -> str:
        """The text inside the first <think>, closed or not; "" where there is none."""
        return self.response.partition("<think>")[2].partition("</think>")[0].strip()


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
    has |= {name: getattr(judged, name) is not None for name in OPTIONAL}
    has["correct"] = has["label"] and judged.verdict != UNDECIDED
    return {name: getattr(judged, name) for name in COLUMNS if has.get(name, True)}
