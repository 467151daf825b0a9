"""One question to a judge. What an engine answers, and what a prediction is of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mtrl.config import prompting
from mtrl.config.samples import Key, Order


@dataclass(frozen=True)
class Request:
    """Raises ValueError where the prompt has not one <image> marker per image."""

    id: str
    """The sample's id."""
    task: str
    """The task's name."""
    order: Order
    """In which order the images of a pair are shown."""
    vote: int
    """Which of the votes on this item and order it is, from 0."""
    prompt: str
    """The text, with an <image> marker per image."""
    images: tuple[Path, ...]
    """Image files, in the order of the markers."""
    label: str
    """The right verdict for this order; it is never shown to the judge."""
    choices: tuple[str, ...]
    """The task's verdicts."""
    cluster: str = ""
    """Samples with the same cluster are not independent, see metrics/groups.py; "" where that is not known."""
    group: str = ""
    """The sample's: what it comes from, such as a prompt."""
    score: float | None = None
    """The sample's: the release's own number."""
    annotators: dict[str, str] = field(default_factory=dict)
    """The sample's, in this order: each annotator's verdict."""
    orient: bool = False
    """Whether images are rotated by their EXIF before they are sent, as the task says."""
    variant: str = ""
    """What a probe changed in it, such as "blur-2"; "" where nothing is."""
    prefix: str = ""
    """How the judge's answer begins; the engine continues it, and it is a part of the response. See Engine.continues.
    """

    def __post_init__(self) -> None:
        if self.prompt.count(prompting.MARKER) != len(self.images):  # vLLM would answer it without an error
            raise ValueError(f"{self.key}: {self.prompt.count(prompting.MARKER)} markers, {len(self.images)} images")

    @property
    def item(self) -> tuple[str, str, Order]:
        """What all votes are about."""
        return self.task, self.id, self.order

    @property
    def key(self) -> Key:
        return Key(self.task, self.id, self.order, self.vote, self.variant)


class Items:
    """Requests in lists: the consecutive votes on one item that come one after the other.

    An iterator that continues when `requests` does, where that is a queue that was empty.
    """

    def __init__(self, requests: Iterable[Request]) -> None:
        self._requests, self._ahead = iter(requests), list[Request]()

    def __iter__(self) -> Iterator[list[Request]]:
        return self

    def __next__(self) -> list[Request]:
        votes, self._ahead = self._ahead, []
        for request in self._requests:
            if votes and (request.item, request.vote) != (votes[-1].item, votes[-1].vote + 1):
                self._ahead = [request]
                break
            votes.append(request)
        if not votes:
            raise StopIteration
        return votes
