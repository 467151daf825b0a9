"""The validation scores of a run, each under its own name.

LLaMA-Factory's `eval_accuracy` is of the answer's tokens with the answer shown; an RL trainer's is of the verdicts,
and so is the score of `mtrl select`. An RL trainer logs it by task too: `opposed` finds a task that falls while another
rises.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

from mtrl.config import samples
from mtrl.core import hints
from mtrl.core.finding import Check
from mtrl.core.rundir import Run

TOKENS, VERDICTS = "token accuracy", "verdict accuracy"
ERRORS = 2.0  # [O] a change counts if it is larger than as many standard errors of the difference of two validations


def name(method: str) -> str:
    """The name of a trainer's `eval_accuracy`, by the run's method or stage."""
    return TOKENS if method.startswith("sft") else VERDICTS


def shown(run: Run) -> dict[str, str]:
    """The last token accuracy and verdict accuracy of a run as text, "" if there is none.

    The score of `mtrl select` takes precedence.
    """
    rows = run.metrics
    last = next((row["eval_accuracy"] for row in reversed(rows) if "eval_accuracy" in row), None)
    found = {TOKENS: "", VERDICTS: ""}
    if last is not None:
        found[name(str(run.recipe.get("method")))] = f"{last:.4g}"
    if chosen := run.selected:
        by = "" if chosen.by == "accuracy" else "Macro-F1 "
        found[VERDICTS] = f"{by}{chosen.scores[str(chosen.best)]:.4g} (step {chosen.best}, mtrl select)"
    return found


def opposed(run: Run, rows: list[dict[str, Any]] | None = None) -> Check | None:
    """A warning where one task's verdict accuracy fell from its best validation to the last one, and another task's
    rose between the same two; of several, the largest fall and the largest rise. None without validations by task.

    A change counts if it is larger than ERRORS standard errors, with the rows of the task's split val: the best of
    several validations is partly luck. `rows` are the run's metrics, where they are known.
    """
    rows, data = run.metrics if rows is None else rows, run.data
    by_task: dict[str, dict[int, float]] = {}
    for task in run.recipe["tasks"]:
        key = f"eval_accuracy_{task}"
        if data and (scores := {row["step"]: row[key] for row in rows if key in row}):
            by_task[task] = scores
    asked = {task: samples.count(data, task, "val") for task in by_task if data}
    found = []
    for task, scores in by_task.items():
        best = max(scores, key=lambda step: scores[step])
        changes = {other: _change(asked[other], of, best, max(scores)) for other, of in by_task.items()}
        rising = max((other for other in changes if other != task), key=lambda other: changes[other], default=task)
        if changes[task] < -ERRORS and changes[rising] > ERRORS:
            found.append((changes[task], task, rising, best, max(scores)))
    if not found:
        return None
    _, task, rising, best, last = min(found)

    def moved(name: str) -> str:
        return f"{by_task[name][best]:.3f} to {by_task[name][last]:.3f}"

    text = f"{run.name}: from step {best} to {last} validation accuracy of {task} fell from {moved(task)}, while that"
    text += f" of {rising} rose from {moved(rising)} (each by more than {ERRORS:g} standard errors)"
    weight = 2 * (run.recipe["rl"].get("mix") or {}).get(task, 1)
    then = f"{hints.line('select', run.asked_as)}, or train under another --name with --set rl.mix.{task}={weight:g}"
    return Check("warning", text, then)


def _change(rows: int, scores: dict[int, float], first: int, last: int) -> float:
    """In standard errors of the difference of two validations of `rows` rows; 0 where it is not known."""
    if not rows or first == last or first not in scores or last not in scores:
        return 0.0
    before, now = scores[first], scores[last]
    # an accuracy of 0 or 1 has no variance by itself: as if one of the rows were the other way
    variance = sum((share := min(max(p, 1 / rows), 1 - 1 / rows)) * (1 - share) / rows for p in (before, now))
    return (now - before) / sqrt(variance) if variance else 0.0
