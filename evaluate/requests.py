"""What a judge is asked: one request per sample, order and vote, from the converted data.

Pairs are asked in both orders: "given" is the seeded order of the conversion, "turned" has its two sides swapped. With
a pointwise task (`--pairs-from-scores`), each order asks that task about its first image alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from mtrl.config import datacard, prompting, samples
from mtrl.config.samples import Order, Sample
from mtrl.config.tasks import Task
from mtrl.converters.pipeline import unchanged
from mtrl.core.errors import UserError
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.metrics import groups
from mtrl.evaluate.metrics.from_scores import better_first
from mtrl.reward_plugins import judge


def build(
    task: Task,
    style: str,
    data: Path,
    split: str,
    votes: int = 1,
    limit: int | None = None,
    single: Task | None = None,
    turned: bool = True,
) -> Iterator[Request]:
    """The requests of one task in file order, of the first `limit` samples. `single`: the pointwise task that is asked
    in place of a pairwise one. `turned`: pairs are asked in that order too. Raises UserError."""
    check_unchanged(task, data, split, islice(samples.read(data, task.name, split), limit))
    asked = single or task
    render = prompting.renderer(asked, style)
    cluster_of = groups.of_split(data, task.name, split, task.split.texts)
    for sample in islice(samples.read(data, task.name, split), limit):
        check_kind(task, sample, data)
        shown_as: dict[Order, Sample] = {"given": sample}
        if task.pair and turned:
            shown_as["turned"] = sample.swapped(task.pair)
        for order, shown in shown_as.items():
            shown = first_image(shown, task, single) if single else shown
            request = of_sample(shown, task, order, render(shown), data, cluster_of[sample.id])
            for vote in range(votes):
                yield replace(request, vote=vote, choices=asked.choices)


def of_sample(shown: Sample, task: Task, order: Order, prompt: str, data: Path, cluster: str) -> Request:
    """The first vote on a sample, as it is shown in this order."""
    return Request(
        shown.id, task.name, order, 0, prompt, tuple(data / name for name in shown.images), shown.answer, task.choices,
        cluster=cluster, orient=task.orient, group=shown.group, score=shown.score, annotators=shown.annotators,
    )  # fmt: skip


def first_image(shown: Sample, task: Task, single: Task) -> Sample:
    """What `single` asks about the first image of a pair. `answer`: the better image's verdict, or the worse one's."""
    assert task.pair and task.pointwise
    best, worst = better_first(single.choices, task.pointwise)
    image = shown.images[task.pair.images[0] - 1]
    verdict = {"1": best, "2": worst}
    annotators = {name: verdict[said] for name, said in shown.annotators.items()}
    answer = verdict[shown.answer]
    return replace(shown, kind=single.kind, images=(image,), answer=answer, score=None, annotators=annotators)


def check_kind(task: Task, sample: Sample, data: Path) -> None:
    """Raises UserError where a sample is not of this task."""
    if sample.kind != task.kind or sample.answer not in task.choices:
        raise UserError(
            f"task {task.name} of this judge is {task.kind} with verdicts {judge.said(task.choices)}, but sample"
            f" {sample.id} in {data} is {sample.kind} and labelled {sample.answer}",
            "use data converted by the task that the judge was trained with, or pass --prompts local",
        )


def check_unchanged(task: Task, data: Path, split: str, rows: Iterable[Sample]) -> None:
    """Raises UserError where the samples' file, or an image of these rows, is not as it was converted."""
    asked = (image for sample in rows for image in sample.images)
    files = chain([f"{task.name}/samples_{split}.parquet"], dict.fromkeys(asked))
    for name in unchanged.altered(data, task.name, files):
        what = "has changed since it was converted" if (data / name).exists() else "is gone"
        raise UserError(f"task {task.name}: {data / name} {what}", datacard.convert_again(task.name, data))
