"""What a reader of an evaluation's numbers should know, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mtrl.evaluate.metrics.alt_test import EPSILONS, PASSES
from mtrl.evaluate.metrics.intervals import FEW
from mtrl.evaluate.metrics.prediction import Prediction
from mtrl.evaluate.metrics.task import TaskMetrics


def of_task(name: str, task: TaskMetrics) -> Iterator[str]:
    """Where the numbers of a task say little: one label, few clusters, one answer to everything, invalid scores."""
    if task.one_class:
        yield (
            f'{name}: every item of the {task.split} split has the label "{task.one_class}", so Macro-F1 '
            f"is meaningless{' and SRCC is not defined' if task.score else ''}."
            " Use the accuracy, or convert with a label rule or a split that gives both labels"
        )
    if task.clusters < task.n:
        rough = ", too few for a precise one" if task.clusters < FEW else ""
        yield (
            f"{name}: some rows share a caption, an image or a source, so the interval resamples {task.clusters:,}"
            f" clusters{rough}"
        )
    if task.score and task.score.valid < task.n:
        yield (
            f"{name}: {task.n - task.score.valid:,} of {task.n:,} answers are invalid, and SRCC, PLCC, Kendall,"
            " kappa and MAE are of the others; SRCC at worst gives each of them the value farthest from its label"
        )
    if task.graded and task.graded.missing:
        yield (
            f"{name}: {task.graded.missing:,} of {task.n:,} samples have no graded value (the answer is invalid, or its"
            " tokens do not show the probabilities); the graded numbers leave them out"
        )
    yield from of_annotators(name, task)
    if (how := task.from_scores) and (how.equal or how.unknown):
        yield (
            f"{name}: {100 * how.equal:.1f} % of the pairs have two equal values, and {100 * how.unknown:.1f} % an"
            " answer without a value (invalid, or no log-probabilities); they count as wrong"
        )
    for verdict in task.confusion:
        if sum(row[verdict] for row in task.confusion.values()) == task.n:
            yield f"{name}: the judge answered {verdict} to all {task.n:,} rows, whatever they show"


def of_annotators(name: str, task: TaskMetrics) -> Iterator[str]:
    """What the numbers of several annotators leave out, and what their test says."""
    if task.agreement and task.agreement.ties:
        yield (
            f"{name}: {task.agreement.ties:,} of the {task.agreement.items:,} items of the release have no majority of"
            " annotators, and so no label; alpha counts them, and no other number does"
        )
    if task.annotators is None:
        if task.agreement:
            yield f"{name}: there is no human ceiling, since no item that was asked has labels of three annotators"
        return
    if task.annotators.left_out:
        yield (
            f"{name}: {task.annotators.left_out:,} labels of annotators are not compared: another label would have made"
            " the item a tie, which is left out, so that only agreement would count"
        )
    test = task.annotators.alt_test
    if test.unmet:
        yield f"{name}: the alternative annotator test does not apply: {test.unmet}"
        return
    may = [f"{who} (epsilon {epsilon:g})" for who, epsilon in EPSILONS.items() if test.winning_rate[who] >= PASSES]
    yield (
        f"{name}: by the alternative annotator test the judge may take the place of "
        + (f"an annotator, where these are {' or '.join(may)}" if may else "no annotator, whoever they are")
    )


def rejected(rows: Sequence[Prediction]) -> Iterator[str]:
    """The requests that the engine did not take."""
    if reasons := [row.finish_reason for row in rows if row.finish_reason.startswith("rejected")]:
        yield (
            f"{len(reasons):,} of {len(rows):,} requests were rejected, and count as invalid answers. The first:"
            f" {reasons[0]}"
        )
