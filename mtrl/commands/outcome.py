"""What `mtrl eval` and `mtrl score` print of an evaluation: the table of its numbers, notes, and where the
report is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtrl.evaluate.metrics.annotators import Annotators
    from mtrl.evaluate.metrics.graded import Graded
    from mtrl.evaluate.metrics.intervals import Estimate
    from mtrl.evaluate.metrics.score import Score
    from mtrl.evaluate.metrics.task import TaskMetrics
    from mtrl.evaluate.scores import Scores

COLUMNS = ("task", "n", "Macro-F1 [95%]", "accuracy", "invalid", "lenient F1", "right in both orders", "first chosen")
SCORES = (
    "task", "n", "SRCC [95%]", "SRCC at worst", "PLCC", "Kendall", "quadratic kappa", "MAE [95%]", "exact",
    "invalid", "invalid, lenient",
)  # fmt: skip
GRADED = (
    "task", "n", "left out", "AUC [95%]", "AP", "SRCC with release [95%]", "PLCC", "pairs", "pairs right [95%]",
)  # fmt: skip

PEOPLE = (
    "task", "number", "n", "human ceiling [95%]", "judge on the same [95%]", "judge - human [95%]", "alpha",
    "winning rate (epsilon 0.1, 0.15, 0.2)",
)  # fmt: skip


def show(folder: Path, scores: Scores, file: str) -> None:
    """`file` is the predictions file in `folder` that the scores are of."""
    from mtrl.config.recipe_types import METHODS
    from mtrl.core.console import say, say_unread, table
    from mtrl.evaluate import notes, predictions, unreadable

    name = scores.judge.name if scores.judge else scores.checkpoint
    title = f"{name}: {METHODS[scores.method]}"
    verdicts = [_row(task, of) for task, of in scores.tasks.items() if not of.score]
    if verdicts or not scores.tasks:
        table(f"{title} (per cent)", COLUMNS, verdicts)
    rated = [_score(task, of, of.score) for task, of in scores.tasks.items() if of.score]
    if rated:
        table(f"{title}: scores, of the valid answers (exact, invalid: per cent)", SCORES, rated)
    if found := [_graded(task, of.graded) for task, of in scores.tasks.items() if of.graded]:
        kept = [place for place, cells in enumerate(zip(*found, strict=True)) if any(cells)]
        rows = [[row[place] for place in kept] for row in found]
        table(f"{title}: graded by its probabilities (AUC, AP, pairs: per cent)", [GRADED[n] for n in kept], rows)
    if people := [_people(task, of, of.annotators) for task, of in scores.tasks.items() if of.annotators]:
        table(
            f"{title}: each annotator, and the judge, against the other annotators (Macro-F1: per cent)", PEOPLE, people
        )
    run = predictions.load(folder, file)
    for task, numbers in scores.tasks.items():
        for line in notes.of_task(task, numbers):
            say(line)
    for line in notes.rejected(run.rows):
        say(line)
    say_unread(unreadable.of_evaluation(run.identity, run.rows))
    if not scores.tasks:
        say(f"no task in {folder} is complete yet: run the same mtrl eval again")


def report(folder: Path, data: Path) -> None:
    """Writes report.html."""
    from mtrl.core.console import bar, say
    from mtrl.evaluate.html import report

    with bar("thumbnails") as update:
        page = report.write(folder, data, update)
    say(f"report: {page}")


def _row(name: str, task: TaskMetrics) -> list[Any]:
    interval = " [{:.1f}, {:.1f}]".format(*(100 * bound for bound in task.macro_f1_ci95)) if task.macro_f1_ci95 else ""
    pair = task.pairwise
    return [
        f"{name} (from {task.from_scores.pointwise.task})" if task.from_scores else name,
        task.n,
        "one class" if task.one_class else f"{100 * task.macro_f1:.2f}{interval}",
        f"{100 * task.accuracy:.2f}",
        f"{100 * task.invalid_rate:.2f}",
        "one class" if task.one_class else f"{100 * task.lenient.macro_f1:.2f}",
        f"{100 * pair.consistent_accuracy:.2f}" if pair else "",
        "" if pair is None else "-" if pair.first_position_rate is None else f"{100 * pair.first_position_rate:.2f}",
    ]


def _score(name: str, task: TaskMetrics, score: Score) -> list[Any]:
    return [
        name,
        task.n,
        _cell(score.srcc),
        _value(score.srcc.worst),
        *(_value(of.value) for of in (score.plcc, score.kendall, score.kappa)),
        _cell(score.mae),
        f"{100 * task.accuracy:.2f}",
        f"{100 * task.invalid_rate:.2f}",
        f"{100 * task.lenient.invalid_rate:.2f}",
    ]


def _graded(name: str, graded: Graded) -> list[str]:
    """ "" where a number does not apply to the task."""
    return [
        name,
        f"{graded.n:,}",
        f"{graded.missing:,}" if graded.missing else "",
        _cell(graded.auc, 100),
        _value(graded.average_precision.value, 100) if graded.average_precision else "",
        _cell(graded.srcc),
        _value(graded.plcc.value) if graded.plcc else "",
        f"{graded.pairs:,}" if graded.pairs else "",
        _cell(graded.pair_accuracy, 100),
    ]


def _people(name: str, task: TaskMetrics, people: Annotators) -> list[str]:
    times = 1 if task.score else 100
    return [
        name,
        "SRCC" if task.score else "Macro-F1",
        f"{people.n:,}",
        *(_cell(of, times) for of in (people.human.headline, people.judge.headline, people.difference)),
        _value(task.agreement.alpha) if task.agreement else "",
        ", ".join(f"{rate:.2f}" for rate in people.alt_test.winning_rate.values()) or "-",
    ]


def _cell(of: Estimate | None, times: int = 1) -> str:
    """The number with its interval."""
    if of is None:
        return ""
    interval = f" [{', '.join(_value(bound, times) for bound in of.ci95)}]" if of.ci95 else ""
    return _value(of.value, times) + interval


def _value(value: float | None, times: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.1f}" if times == 100 else f"{value:.3f}"
