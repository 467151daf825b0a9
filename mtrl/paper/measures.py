"""Our numbers by the rules of Table 4's benchmarks. Fractions with their intervals, from predictions.jsonl and
metrics.json.

    accuracy                   of the given order; an invalid answer is wrong
    mmrb2                      MMRB2's official scorer: each order counts alone, and an invalid answer is left out
    whole_groups               EditReward-Bench's: all pairs of a group are right
    srcc, plcc                 verdicts of a score task against its labels, of the valid answers
    graded_srcc, graded_plcc   expected scores against the release's own numbers; needs mtrl eval --confidence
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from mtrl.config import task_files
from mtrl.config.published import Measure
from mtrl.core.errors import UserError
from mtrl.evaluate import predictions
from mtrl.evaluate.metrics import classification, editreward, intervals, mmrb2
from mtrl.evaluate.metrics.intervals import Estimate
from mtrl.evaluate.metrics.prediction import Prediction, voted
from mtrl.evaluate.predictions import Evaluation
from mtrl.paper.scored import Scored

NONE = Estimate(value=None, ci95=None)
LABELS: dict[Measure, str] = {
    "accuracy": "accuracy",
    "mmrb2": "official scorer",
    "whole_groups": "whole groups right",
    "srcc": "SRCC of verdicts",
    "plcc": "PLCC of verdicts",
    "graded_srcc": "SRCC of expected scores",
    "graded_plcc": "PLCC of expected scores",
}


def of(one: Scored, name: Measure) -> Estimate:
    """One judge's number of one task. Its value is None where it is not known, such as without predictions.jsonl."""
    numbers = one.numbers
    if name in ("srcc", "plcc"):
        return getattr(numbers.score, name, None) or NONE
    if name in ("graded_srcc", "graded_plcc"):
        return getattr(numbers.graded, name.removeprefix("graded_"), None) or NONE
    run = _evaluation(one.of.file.parent)
    if run is None or one.task not in run.identity.tasks:
        return Estimate(value=numbers.accuracy, ci95=None) if name == "accuracy" else NONE
    rows, choices = run.of_task(one.task)
    if name == "mmrb2":
        return _mmrb2(rows)
    if name == "whole_groups":
        ways = task_files.load(one.task, run.home).source["ways"]
        return Estimate(value=editreward.official(rows, ways).accuracy, ci95=None)
    given = [item for item in voted(rows) if item.order == "given"]
    drawn = classification.resampled([given], [item.unit for item in given], choices, classification.accuracy)
    return intervals.estimate(numbers.accuracy, drawn)


def left_out(one: Scored, name: Measure) -> str:
    """The invalid answers that a number is not of, in words; "" where there are none, or they count as wrong."""
    numbers, run = one.numbers, _evaluation(one.of.file.parent)
    if name == "mmrb2" and run:
        first = [row for row in run.of_task(one.task).rows if row.vote == 0]
        count, of_all = sum(row.verdict is None for row in first), len(first)
    elif name in ("srcc", "plcc"):
        count, of_all = round(numbers.invalid_rate * numbers.n), numbers.n
    elif name in ("graded_srcc", "graded_plcc") and numbers.graded:
        count, of_all = numbers.graded.missing, numbers.n
    else:
        return ""
    return f"{count:,} of {of_all:,} answers, which have no verdict or no probabilities" if count else ""


def _mmrb2(rows: list[Prediction]) -> Estimate:
    first = [row for row in rows if row.vote == 0]
    cells = [2 if row.verdict is None else int(row.correct) for row in first]
    units = [row.unit for row in first]
    drawn = intervals.of_counts(lambda counts: intervals.ratio(counts[1], counts[0] + counts[1]), [cells], 3, units)
    return intervals.estimate(mmrb2.official(rows).accuracy, drawn)


def _evaluation(folder: Path) -> Evaluation | None:
    """None where the folder has no predictions: metrics.json may have been copied alone."""
    file = folder / predictions.FILE
    return _loaded(folder, file.stat().st_mtime_ns, file.stat().st_size) if file.exists() else None


@lru_cache(maxsize=8)
def _loaded(folder: Path, modified: int, size: int) -> Evaluation | None:
    try:
        return predictions.load(folder)
    except UserError:  # mtrl score says what is wrong with it
        return None
