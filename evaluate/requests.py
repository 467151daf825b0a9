"""What is asked of a judge: one request a sample, order and vote, from the converted data.

Pairs are asked in both orders: "given" is the seeded order of the conversion, "turned" the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from mtrl.config import datacard, prompting, samples
from mtrl.config.samples import Order, Sample
from mtrl.config.tasks import Task
from mtrl.converters.pipeline import unchanged
from mtrl.core.errors import UserError
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.metrics import groups


def build(
    task: Task, style: str, data: Path, split: str, votes: int = 1, limit: int | None = None
) -> Iterator[Request]:
    """The requests of one task in file order; `limit` keeps the first so many samples. Raises UserError."""
    again = datacard.convert_again(task.name, data)
    asked = (image for sample in islice(samples.read(data, task.name, split), limit) for image in sample.images)
    for name in unchanged.altered(
        data, task.name, chain([f"{task.name}/samples_{split}.parquet"], dict.fromkeys(asked))
    ):
        what = "has changed since it was converted" if (data / name).exists() else "is gone"
        raise UserError(f"task {task.name}: {data / name} {what}", again)
    render = prompting.renderer(task, style)
    together = groups.of_split(data, task.name, split, task.split.texts)
    for number, sample in enumerate(samples.read(data, task.name, split)):
        if limit is not None and number >= limit:
            return
        if sample.kind != task.kind or sample.answer not in task.choices:
            raise UserError(
                f"task {task.name} is {task.kind} for this judge and answered by {' or '.join(task.choices)}, but {data} has"
                f" a {sample.kind} sample {sample.id} labelled {sample.answer}",
                "use data that was converted by the task that the judge was trained with, or --prompts local",
            )
        shown_as: dict[Order, Sample] = {"given": sample}
        if task.kind == "pairwise":
            shown_as["turned"] = sample.swapped()
        for order, shown in shown_as.items():
            images = tuple(data / name for name in shown.images)
            for vote in range(votes):
                yield Request(
                    sample.id, task.name, order, vote, render(shown), images, shown.answer, task.choices,
                    cluster=together[sample.id], orient=task.orient,
                )  # fmt: skip
