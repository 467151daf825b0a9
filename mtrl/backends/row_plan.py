"""Which rows of a task's train split a training draws, and how often: one plan, from which every trainer's rows are
written.

    all rows -> rl.keep_pass_rate, by the sift -> max_rows_per_task -> rl.mix

The last two are in mtrl/config/drawn.py. Nothing else leaves out or repeats a row; validation has every row once.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

from mtrl.config import drawn, prompting, samples, tasks
from mtrl.config.recipe_types import Recipe
from mtrl.core import hints
from mtrl.core.errors import UserError
from mtrl.core.run_files import RowCounts
from mtrl.evaluate import judges, predictions, sift
from mtrl.evaluate.identity import IDENTITY, read_identity
from mtrl.evaluate.sift import RowVotes, Sifted
from mtrl.reward_plugins import judge


class Equal(NamedTuple):
    """The expected share of groups of rl.n answers that all have the same reward: p^n + (1 - p)^n, mean over rows."""

    before: float
    """Over all rows of the task."""
    after: float
    """Over the rows as they are drawn."""
    votes: int
    """Per row, from which each p is estimated."""


class Plan(NamedTuple):
    """The rows of one task."""

    rows: list[int]
    """Row numbers of the converted train split, in file order; one that is drawn twice is there twice."""
    counts: RowCounts
    """What inputs.json records."""
    equal: Equal | None
    """With rl.keep_pass_rate."""


def of(recipe: Recipe, data: Path, task: str) -> Plan:
    """Raises UserError where the sift does not fit the recipe, or a rule leaves no row of a task that has rows."""
    total = samples.count(data, task, "train")
    kept, votes = list(range(total)), list[RowVotes]()
    bounds = recipe.rl.keep_pass_rate if recipe.rl else None
    if bounds:
        votes = _votes(recipe, data, task)
        kept = [row for row in kept if bounds[0] <= votes[row].pass_rate <= bounds[1]]
        if not kept:
            rates = ", ".join(f"{rate:g}" for rate in sorted({vote.pass_rate for vote in votes}))
            text = (
                f"rl.keep_pass_rate {_said(bounds)} keeps none of the {total:,} rows of task {task}: their shares of "
            )
            raise UserError(f"{text}right answers are {rates}", "pass other bounds, or leave the task out by --tasks")
    weight, rows = drawn.weight(recipe, task), drawn.rows(kept, recipe, task)
    if kept and not rows:
        text = f"rl.mix.{task} {weight:g} draws none of {len(drawn.capped(kept, recipe, task)):,} rows"
        raise UserError(text, f"--set rl.mix.{task}=1, or leave the task out by --tasks")
    counts = RowCounts(
        converted=total,
        kept=len(kept),
        capped=len(drawn.capped(kept, recipe, task)),
        weight=weight,
        drawn=len(rows),
        sha256=hashlib.sha256(",".join(map(str, rows)).encode()).hexdigest(),
    )
    return Plan(rows, counts, _equal(recipe, votes, rows) if bounds else None)


def counts(recipe: Recipe, data: Path) -> dict[str, RowCounts]:
    """By task."""
    return {task: of(recipe, data, task).counts for task in recipe.tasks}


def said(recipe: Recipe, data: Path, task: str) -> str:
    """What the rules of RL do to a task's rows, "" where every row is drawn once."""
    if not recipe.rl:
        return ""
    plan = of(recipe, data, task)
    found, parts = plan.counts, []
    if recipe.rl.keep_pass_rate:
        parts.append(f"rl.keep_pass_rate {_said(recipe.rl.keep_pass_rate)} keeps {found.kept:,}")
    if found.capped < found.kept:
        parts.append(f"max_rows_per_task leaves {found.capped:,}")
    if found.weight != 1:
        parts.append(f"rl.mix {found.weight:g} draws {found.drawn:,}")
    if not parts:
        return ""
    text = f"of {found.converted:,} rows {', '.join(parts)}: {found.drawn / found.converted:.0%} of the rollouts of all"
    if plan.equal:
        before, after, votes = plan.equal
        text += (
            f"; groups of equal rewards, expected from {votes} votes per row: {before:.0%} before, {after:.0%} after"
        )
    return text


def sifted(recipe: Recipe, data: Path) -> Sifted:
    """The recipe's sift. Raises UserError where it did not ask what this recipe trains on. That of sft_traces may be of
    another model."""
    folder = Path(str(recipe.sift))
    if not (folder / IDENTITY).exists():
        text = f"{folder}, the recipe's sift:, is no folder of mtrl sift"
        raise UserError(text, recipe.sift_command(data=data, out=folder))
    try:
        found = _read(folder, _changed(folder / predictions.FILE))
    except UserError as error:
        raise UserError(str(error), _continued(folder, data) if error.then == sift.AGAIN else error.then) from None
    asked = {name: tasks.load(name) for name in recipe.tasks}
    prompts = {name: prompting.sha256(task, recipe.style) for name, task in asked.items()}
    model = found.identity.checkpoint if recipe.on_traces else _fingerprint(recipe.model.path)
    try:
        sift.check(found, prompts, data, model, recipe.style)
    except UserError as error:
        raise UserError(f"{folder}: {error}", _again(recipe, data, found)) from None
    for name, task in asked.items():
        if (then := found.identity.tasks[name].choices) != task.choices:
            text = f"task {name} had the verdicts {judge.said(then)} in the sift {folder}, and now has"
            raise UserError(f"{text} {judge.said(task.choices)}", _again(recipe, data, found))
    return found


def _again(recipe: Recipe, data: Path, found: Sifted) -> str:
    """The command that sifts again, to another folder. For sft_traces the model stays that of the sift."""
    folder = Path(str(recipe.sift))
    model = found.identity.path if recipe.on_traces else recipe.model.path
    return recipe.sift_command(model, data=data, out=hints.free(str(folder.parent), folder.name))


def _continued(folder: Path, data: Path) -> str:
    """The command that finishes a sift."""
    of = read_identity(folder)
    asked = {"ckpt": of.path, "tasks": ",".join(of.tasks), "votes": of.sampling.votes, "style": of.style}
    asked["limit"] = next(iter(of.tasks.values())).limit
    asked["prompts"] = "local" if of.prompts == "local" else None
    return hints.line("sift", **asked, data=data, out=folder)


@functools.cache  # plan asks for it several times; it reads the head of every weight file
def _fingerprint(model: str) -> str:
    return judges.subject(model).fingerprint


def _votes(recipe: Recipe, data: Path, task: str) -> list[RowVotes]:
    """Of each row of the train split, in file order."""
    found = sifted(recipe, data)
    votes = {row.id: row for row in found.rows[task]}
    ids = [row for (row,) in samples.columns(data, task, "train", "id")]
    if votes.keys() != set(ids):
        text = f"the sift {recipe.sift} has other rows of task {task} than {data}"
        raise UserError(text, _again(recipe, data, found))
    return [votes[row] for row in ids]


def _equal(recipe: Recipe, votes: list[RowVotes], rows: list[int]) -> Equal:
    assert recipe.rl
    n = recipe.rl.n
    shares = [vote.pass_rate**n + (1 - vote.pass_rate) ** n for vote in votes]
    return Equal(sum(shares) / len(shares), sum(shares[row] for row in rows) / len(rows), votes[0].votes)


def _said(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:g} to {bounds[1]:g}"


def _changed(file: Path) -> int:
    return file.stat().st_mtime_ns if file.exists() else 0


@functools.lru_cache(maxsize=1)  # plan asks for it several times
def _read(folder: Path, changed: int) -> Sifted:
    return sift.load(folder)
