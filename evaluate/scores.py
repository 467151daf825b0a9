"""metrics.json: computed from predictions.jsonl and eval.json, and read by tables, the report and `mtrl reproduce`.

Everything read has the right type and range, with no NaN and no infinity; else one line says what is wrong.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from mtrl.config.published import table_tasks
from mtrl.config.recipe_types import METHODS, Style
from mtrl.core import hints
from mtrl.core.errors import UserError
from mtrl.core.files import read_json, write_json
from mtrl.core.schema import Stored, validate
from mtrl.evaluate import predictions
from mtrl.evaluate.identity import Identity
from mtrl.evaluate.metrics import from_scores
from mtrl.evaluate.metrics.prediction import Fraction
from mtrl.evaluate.metrics.task import SCHEMA, TaskMetrics, of_task

METRICS = "metrics.json"
OF_TASK = ("split", "limit", "conversion_limit", "samples_sha256", "prompt_sha256")  # repeated from eval.json


class Judge(Stored):
    """Who was asked."""

    name: str = Field(min_length=1)
    """The judge's run, or the model's name."""
    step: NonNegativeInt | None = None
    """The training step."""
    model: str = ""
    """The model preset or base model that it was trained from."""
    trained_on: list[str] | None = None
    """Tasks; None for a judge that mtrl did not train."""


class Scores(Stored):
    """One evaluation. What an older mtrl did not write is None or ""."""

    file: Path
    """The metrics.json."""
    method: Literal[*METHODS]  # type: ignore[valid-type]
    checkpoint: str = ""
    """The folder, hub id or served name that was asked."""
    fingerprint: str = ""
    """The judge's identity."""
    style: Style | None = None
    votes: PositiveInt
    """Answers per item and order."""
    judge: Judge | None = Field(default=None, alias="judged_by")
    """Who was asked."""
    mean_macro_f1: Fraction | None = None
    """Over Table 2's tasks; None where one is missing or has only one class."""
    tasks: dict[str, TaskMetrics] = {}
    """The tasks whose numbers can be read."""
    broken: dict[str, str] = {}
    """The other tasks of the file, with what is wrong."""


def score(out: Path, file: str = predictions.FILE) -> Scores:
    """Writes metrics.json: every task whose predictions are complete. Raises UserError.

    Predictions of another name get metrics of that name, NAME.metrics.json, which tables do not look for.
    """
    run = predictions.load(out, file)
    identity, answered = run.identity, Counter(row.task for row in run.rows)
    tasks = {}
    for name, asked in identity.tasks.items():
        if answered[name] > asked.requests:
            raise UserError(
                f"{out / file} has {answered[name]:,} answers to task {name}; {asked.requests:,} were asked for",
                "run the same mtrl eval again: it names the answer that does not belong to it",
            )
        found = run.of_task(name)
        if answered[name] == asked.requests and any(row.order == "given" for row in found.rows):
            of = {**{key: getattr(asked, key) for key in OF_TASK}, "answered": identity.answered.get(name)}
            if asked.agreement:
                of["agreement"] = asked.agreement
            if asked.pointwise:
                of["from_scores"] = from_scores.how(found.rows, asked.pointwise)
            tasks[name] = of_task(*found).model_copy(update=of)
    result = Scores(
        file=out / (METRICS if file == predictions.FILE else f"{Path(file).stem}.{METRICS}"),
        method=identity.method,
        checkpoint=identity.path,
        fingerprint=identity.checkpoint,
        style=identity.style,
        votes=identity.sampling.votes,
        judged_by=_judge(identity),
        mean_macro_f1=_mean(tasks),
        tasks=tasks,
    )
    write_json(result.file, _content(result))
    return result


def _mean(tasks: dict[str, TaskMetrics]) -> float | None:
    of = table_tasks(2)
    whole = all(name in tasks and not tasks[name].one_class for name in of)
    return sum(tasks[name].macro_f1 for name in of) / len(of) if whole else None


def _judge(identity: Identity) -> Judge | None:
    """None where an older mtrl did not record it."""
    if not identity.name:
        return None
    trained_on = identity.trained if identity.run else None
    return Judge(name=identity.name, step=identity.step, model=identity.model or "", trained_on=trained_on)


def _content(scores: Scores) -> dict[str, Any]:
    """What is written: the tasks next to the keys of the evaluation."""
    about = scores.model_dump(by_alias=True, exclude={"file", "tasks", "broken", "mean_macro_f1"})
    tasks = {name: task.model_dump(exclude_unset=True) for name, task in scores.tasks.items()}
    return {"schema": SCHEMA, **about, **tasks, "mean_macro_f1": scores.mean_macro_f1}


def read(file: Path) -> Scores:
    """A metrics.json. Raises UserError, with one line, where it has another schema or cannot be read as a whole."""
    again = hints.line("score", file.parent)
    data = read_json(file, again)
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA or not {"method", "votes"} <= set(data):
        kind = f"of schema {schema!r}" if schema is not None and schema != SCHEMA else "not metrics of mtrl"
        raise UserError(f"{file}: {kind}; this mtrl reads schema {SCHEMA}", again)
    tasks: dict[str, TaskMetrics] = {}
    broken: dict[str, str] = {}
    own = {}
    for name, value in data.items():
        if name == "judged_by" or not isinstance(value, dict):
            own[name] = value
            continue
        try:
            tasks[name] = validate(TaskMetrics, value, "")
        except UserError as error:
            broken[name] = str(error)
    return validate(Scores, {**own, "file": file, "tasks": tasks, "broken": broken}, str(file), again)
