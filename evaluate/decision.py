"""decision.json in a judge's folder: for each task the confidence from which its verdicts count. `mtrl certify` writes
it, `mtrl judge` obeys it.

It applies to one judge, prompt, style and list of verdicts; with any other it is an error. mtrl.json does not list it,
so the judge's identity stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, Strict

from mtrl import __version__
from mtrl.config import prompting
from mtrl.config.recipe_types import Style
from mtrl.config.samples import SplitName
from mtrl.config.tasks import Task
from mtrl.core import hints, schema
from mtrl.core.errors import UserError
from mtrl.core.files import write_json
from mtrl.core.schema import Stored
from mtrl.evaluate.metrics.prediction import Fraction
from mtrl.evaluate.metrics.temperature import Scaling
from mtrl.evaluate.subject import fingerprint

FILE = "decision.json"
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Level = Annotated[float, Field(gt=0, lt=1, strict=True)]


class Decision(Stored):
    """One task: from which confidence on a verdict counts, what that promises, and what it was found from."""

    style: Style
    prompt_sha256: Sha256
    """Of the template that was asked."""
    choices: Annotated[tuple[str, ...], Strict(False), Field(min_length=2)]
    """The task's verdicts."""
    both_orders: bool
    """Of a pair: decided only if both orders say the same, each with this confidence."""
    alpha: Level
    """Of the decided verdicts, at most this share is wrong ..."""
    delta: Level
    """... unless the calibration rows were a draw as unlucky as at most this share of all draws."""
    threshold: Fraction
    """The lowest confidence that is decided."""
    coverage: Fraction
    """Share decided of the independent rows."""
    coverage_ci95: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    rows: PositiveInt
    """Labelled items that were used."""
    clusters: PositiveInt
    """Independent rows that the test is of: one per cluster of items that share an image, a text or a source."""
    decided: NonNegativeInt
    """Of these, at or above the threshold."""
    wrong: NonNegativeInt
    """Of the decided."""
    left_out: dict[str, NonNegativeInt] = {}
    """Items that are never decided, by reason; "seen in training": those that were not used at all."""
    scaling: Scaling | None = None
    """Temperature scaling; None where it does not help on held-out rows. No part of the threshold."""
    split: SplitName
    samples_sha256: str
    """Of the samples file of the calibration rows."""
    predictions_sha256: Sha256
    """Of the predictions.jsonl of the calibration rows."""

    def decides(self, confidence: float | None, turned: float | None, flipped: bool | None) -> bool:
        """Whether a verdict counts. Of a pair, `turned` is the confidence in the swapped order, and `flipped` whether
        the two orders contradict each other, as in Verdict."""
        both = (confidence, turned) if self.both_orders else (confidence,)
        agree = flipped is False or not self.both_orders
        return agree and all(sure is not None and sure >= self.threshold for sure in both)


class Decisions(Stored):
    """decision.json."""

    version: Literal[1] = Field(1, alias="schema")
    mtrl: str = __version__
    judge: str
    """The judge's fingerprint."""
    tasks: dict[str, Decision]

    def of(self, task: Task, style: str, folder: Path) -> Decision:
        """The task's. Raises UserError where there is none, or the judge is asked another way now."""
        found, file = self.tasks.get(task.name), folder / FILE
        if not found:
            raise UserError(
                f"{file} has no threshold for task {task.name}; it has {', '.join(self.tasks)}",
                f"{hints.line('certify', 'EVALUATION', write=folder)}; or --raw for verdicts without thresholds",
            )
        now = {"style": style, "prompt": prompting.sha256(task, style), "list of verdicts": task.choices}
        then = {"style": found.style, "prompt": found.prompt_sha256, "list of verdicts": found.choices}
        if differ := [name for name in now if now[name] != then[name]]:
            raise UserError(
                f"{file} is of another {' and '.join(differ)} of task {task.name} than this judge is asked with now",
                "mtrl eval --confidence on labelled rows, then mtrl certify; or --raw for verdicts without thresholds",
            )
        return found


def read(folder: Path) -> Decisions | None:
    """None where the folder has none. Raises UserError where it is damaged, or of another judge."""
    file = folder / FILE
    if not file.exists():
        return None
    found = schema.read(Decisions, file, f"remove {file}, and write it again by mtrl certify")
    if found.judge != fingerprint(folder):
        raise UserError(
            f"{file} is of another judge than the one in {folder}, so its thresholds prove nothing here",
            f"remove {file}, score the judge on labelled rows by mtrl eval --confidence, then mtrl certify",
        )
    return found


def thresholds(folder: Path, tasks: Iterable[Task], style: str) -> dict[str, Decision]:
    """By task; none where the folder has no decision.json. Raises UserError as `read` and `Decisions.of`."""
    found = read(folder)
    return {task.name: found.of(task, style, folder) for task in tasks} if found else {}


def without(folder: Path) -> str:
    """What a user of a judge without one has to know, in a line."""
    certify = hints.line("certify", "EVALUATION", write=folder)
    return f"no verdict is undecided, however unsure: {folder} has no {FILE} ({certify} writes it)"


def write(folder: Path, judge: str, tasks: dict[str, Decision]) -> Decisions:
    """Adds the tasks to those of the folder's decision.json, or replaces one of another judge; returns what it has now.
    Raises UserError where the folder does not hold the judge with this fingerprint."""
    if not (folder / "config.json").exists() or fingerprint(folder) != judge:
        raise UserError(
            f"{folder} does not hold the judge that was scored",
            "pass --write with the folder that mtrl eval asked as --ckpt (without --endpoint)",
        )
    file = folder / FILE
    earlier = schema.read(Decisions, file, f"remove {file}") if file.exists() else None
    kept = earlier.tasks if earlier and earlier.judge == judge else {}
    made = Decisions(schema=1, judge=judge, tasks={**kept, **tasks})
    write_json(file, made.model_dump(by_alias=True, mode="json", exclude_none=True))
    return made
