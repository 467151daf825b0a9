"""What is asked of a judge: one request a sample, order and vote, from the converted data.

Pairs are asked in both orders: "given" is the seeded order of the conversion, "turned" the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from mtrl import hints, prompting, samples
from mtrl.converters import unchanged
from mtrl.errors import UserError
from mtrl.evaluate import clusters
from mtrl.tasks import Task

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


def build(
    task: Task, style: str, data: Path, split: str, votes: int = 1, limit: int | None = None
) -> Iterator[Request]:
    """The requests of one task in file order; `limit` keeps the first so many samples. Raises UserError."""
    again = hints.conversion(task.name, data)
    asked = (image for sample in islice(samples.read(data, task.name, split), limit) for image in sample.images)
    for name in unchanged.altered(
        data, task.name, chain([f"{task.name}/samples_{split}.parquet"], dict.fromkeys(asked))
    ):
        what = "has changed since it was converted" if (data / name).exists() else "is gone"
        raise UserError(f"task {task.name}: {data / name} {what}", again)
    render = prompting.renderer(task, style)
    together = clusters.of_split(data, task.name, split, task.split.texts)
    for number, sample in enumerate(samples.read(data, task.name, split)):
        if limit is not None and number >= limit:
            return
        if sample.kind != task.kind or sample.answer not in task.choices:
            raise UserError(
                f"task {task.name} is {task.kind} for this judge and answered by {' or '.join(task.choices)}, but {data} has"
                f" a {sample.kind} sample {sample.id} labelled {sample.answer}",
                "use data that was converted by the task that the judge was trained with, or --prompts local",
            )
        shown_as = {"given": sample, **({"turned": sample.turned()} if task.kind == "pairwise" else {})}
        for order, shown in shown_as.items():
            images = tuple(data / name for name in shown.images)
            for vote in range(votes):
                yield Request(
                    sample.id, task.name, order, vote, render(shown), images, shown.answer, task.choices,
                    cluster=together[sample.id], orient=task.orient,
                )  # fmt: skip
