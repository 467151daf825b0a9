"""Two evaluation folders, task by task. Numbers are metrics/paired.py's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtrl.core.errors import UserError
from mtrl.evaluate import predictions
from mtrl.evaluate.metrics import intervals
from mtrl.evaluate.metrics.paired import Comparison, compare
from mtrl.evaluate.predictions import Evaluation
from mtrl.reward_plugins.judge import is_scale


@dataclass(frozen=True)
class Compared:
    """What two evaluations have in common."""

    tasks: dict[str, Comparison]
    """By name."""
    passed_over: list[str]
    """The tasks that cannot be compared, with the reason."""
    notes: list[str]
    """What else differs between the two."""


def folders(first: Path, second: Path) -> Compared:
    """A task is compared where both asked the same samples of the same split (samples_sha256).

    Prompts may differ, since styles do by design, and are noted. Raises UserError where no task can be compared.
    """
    a, b = predictions.load(first), predictions.load(second)
    found: dict[str, Comparison] = {}
    passed_over: list[str] = []
    notes = [
        f"{word} differs: {_said(of_a)} and {_said(of_b)}"
        for word, of_a, of_b in (
            ("prompt style", a.identity.style, b.identity.style),
            ("image range", a.identity.image, b.identity.image),
            (
                "sampling",
                a.identity.sampling.model_dump(exclude_unset=True),
                b.identity.sampling.model_dump(exclude_unset=True),
            ),
        )
        if of_a != of_b
    ]
    for name in dict.fromkeys([*a.identity.tasks, *b.identity.tasks]):
        if why := _why_not(name, a, b, (first, second)):
            passed_over.append(f"{name}: {why}")
            continue
        (rows_a, choices), (rows_b, _) = a.of_task(name), b.of_task(name)
        if not {row.id for row in rows_a} & {row.id for row in rows_b}:
            passed_over.append(f"{name}: no sample has answers of both judges")
            continue
        asked_a, asked_b = a.identity.tasks[name], b.identity.tasks[name]
        found[name] = one = compare(rows_a, rows_b, choices)
        if one.headline.between.ci95 and one.clusters < min(intervals.FEW, one.n):
            notes.append(f"{name}: the interval resamples {one.clusters} clusters; with so few it is a rough one")
        if is_scale(choices):
            notes.append(_of_scores(name, one))
        if one.one_class:
            notes.append(f"{name}: all labels are {one.one_class}, so only the accuracy is meaningful")
        if asked_a.prompt_sha256 != asked_b.prompt_sha256 and a.identity.style == b.identity.style:
            notes.append(f"{name}: the prompts differ")
        for side, asked in (("A", asked_a), ("B", asked_b)):
            if asked.pointwise and not (asked_a.pointwise and asked_b.pointwise):
                notes.append(f"{name}: {side} was asked {asked.pointwise.task} about each image (--pairs-from-scores)")
        answered = {sum(row.task == name for row in side.rows) for side in (a, b)}
        if len({*answered, asked_a.requests, asked_b.requests}) > 1:
            notes.append(
                f"{name}: not both answered all requests; compared are the {one.n:,} samples that both answered"
            )
    if not found:
        raise UserError(
            f"{first} and {second} have no task to compare: {'; '.join(passed_over) or 'both are empty'}",
            "run mtrl eval with both judges, with the same --data, --tasks and --split",
        )
    return Compared(found, passed_over, notes)


def _of_scores(name: str, one: Comparison) -> str:
    if one.srcc is None:
        return f"{name}: SRCC is not defined for both judges, so Macro-F1 is compared"
    rates = " and ".join(f"{100 * side.invalid_rate:.1f}%" for side in (one.a, one.b))
    return f"{name}: SRCC is of the samples to which both gave a valid answer; {rates} of the answers are invalid"


def _why_not(name: str, a: Evaluation, b: Evaluation, folders: tuple[Path, Path]) -> str:
    """Why a task cannot be compared, "" where it can."""
    asked_a, asked_b = a.identity.tasks.get(name), b.identity.tasks.get(name)
    if asked_a is None or asked_b is None:
        return f"only {folders[0] if asked_b is None else folders[1]} asked it"
    if asked_a.split != asked_b.split:
        return f"the two were asked different samples ({asked_a.split} and {asked_b.split})"
    if asked_a.samples_sha256 != asked_b.samples_sha256:
        return "the two were asked different samples (the task was converted again in between)"
    return ""


def _said(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
