"""One question to a judge. What an engine answers, and what a prediction is of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mtrl.config import prompting

Key = tuple[str, str, str, int]


@dataclass(frozen=True)
class Request:
    """`prompt` holds one <image> marker an image; `images` are files; `label` and `choices` are verdicts.

    `orient`: images are turned upright by their EXIF before they are sent, as the task says.
    `cluster` names the rows that belong together, see clusters.py: they are not independent, and intervals must know.
    """

    id: str
    task: str
    order: str
    vote: int
    prompt: str
    images: tuple[Path, ...]
    label: str
    choices: tuple[str, str]
    cluster: str = ""
    orient: bool = False

    def __post_init__(self) -> None:
        if self.prompt.count(prompting.MARKER) != len(self.images):  # vLLM would answer it, and say nothing
            raise ValueError(f"{self.key}: {self.prompt.count(prompting.MARKER)} markers, {len(self.images)} images")

    @property
    def key(self) -> Key:
        return (self.task, self.id, self.order, self.vote)
