"""What `mtrl eval` and `mtrl score` print of an evaluation: the table of its numbers, notes, and where the
report is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtrl.evaluate.metrics.task import TaskMetrics
    from mtrl.evaluate.scores import Scores

COLUMNS = ("task", "n", "Macro-F1 [95%]", "accuracy", "invalid", "lenient F1", "right in both orders", "first chosen")


def show(folder: Path, scores: Scores, file: str) -> None:
    """`file` is the predictions file in `folder` that the scores are of."""
    from mtrl.config.recipe_types import METHODS
    from mtrl.core.console import say, say_unread, table
    from mtrl.evaluate import notes, predictions, unreadable

    name = scores.judge.name if scores.judge else scores.checkpoint
    table(f"{name}: {METHODS[scores.method]} (per cent)", COLUMNS, [_row(*item) for item in scores.tasks.items()])
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
        f"{100 * pair.first_position_rate:.2f}" if pair else "",
    ]
