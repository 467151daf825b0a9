"""What is in a study's folder: its finished cells and its base models, each asked in both styles.

    runs/<base>-<arm>-<seed>/   cell.json, eval-sft/, eval-rl/, step-<N>-eval/ (the pairs alone, for some seeds)
    runs/<base>-zero/           eval-sft/, eval-rl/

A cell without cell.json is not finished, and not read. An evaluation that was asked otherwise than the others is
refused: its numbers could not be compared with theirs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import Field

from mtrl.config.recipe_types import Style
from mtrl.core import schema
from mtrl.core.errors import UserError
from mtrl.core.schema import Stored
from mtrl.demo import study_outcomes
from mtrl.demo.study_outcomes import Outcomes
from mtrl.demo.study_plan import Plan

CELL = "cell.json"
STYLES: tuple[Style, ...] = get_args(Style)
Asked = dict[tuple[Style, str], tuple[Path, dict[str, Any]]]  # {(style, task): the folder that asked it first, and how}


class Result(Stored):
    """cell.json, which is written last."""

    plan: str
    """The plan's hash."""
    base: str
    arm: str
    seed: int
    step: int
    """Of the chosen checkpoint."""
    kl: float = Field(ge=0)
    """From the base model, see study_kl.py."""
    kl_per_token: float = Field(ge=0)
    seconds: float = Field(ge=0)
    """That its last call took. Of a resumed cell: without what earlier calls did."""


class Cell(NamedTuple):
    """One training."""

    result: Result
    own: Outcomes
    """Asked in the style that it was trained in: its headline."""
    other: Outcomes
    """Asked in the other style."""
    steps: dict[int, Outcomes]
    """By training step, of saved checkpoints: the pairs, asked in its own style; {} for most seeds."""


class Results(NamedTuple):
    """A study, or a part of it."""

    cells: dict[tuple[str, str, int], Cell]
    """By base, arm and seed."""
    zero: dict[str, dict[Style, Outcomes]]
    """The base models of the cells, untrained."""

    def of(self, bases: Collection[str], arm: str, seeds: Collection[int]) -> list[Cell]:
        return [self.cells[key] for base in bases for seed in seeds if (key := (base, arm, seed)) in self.cells]


def load(home: Path, plan: Plan, seeds: Collection[int]) -> Results:
    """The finished cells of these seeds. Raises UserError for a result of another plan, and for evaluations that do
    not belong to it or differ in what was asked."""
    asked: Asked = {}
    study = plan.command(home)
    wanted = [(base, arm, seed) for base in plan.bases for arm in plan.arms for seed in seeds]
    found = {key: home / "runs" / "{}-{}-{}".format(*key) for key in wanted}
    done = {key: run for key, run in found.items() if (run / CELL).exists()}
    zero: dict[str, dict[Style, Outcomes]] = {}
    for base in dict.fromkeys(base for base, _, _ in done):
        folders = {style: home / f"runs/{base}-zero/eval-{style}" for style in STYLES}
        if all(folder.exists() for folder in folders.values()):
            zero[base] = {style: _outcomes(folder, style, asked, study) for style, folder in folders.items()}
    return Results({key: _cell(run, plan, key, asked, study) for key, run in done.items()}, zero)


def _cell(run: Path, plan: Plan, key: tuple[str, str, int], asked: Asked, study: str) -> Cell:
    """`study` is the command that makes it again."""
    result, again = schema.read(Result, run / CELL), f"remove {run}, then: {study}"
    if result.plan != plan.sha256:
        raise UserError(f"{run / CELL} is of another plan", again)
    if (result.base, result.arm, result.seed) != key:
        raise UserError(f"{run / CELL} is of base {result.base}, arm {result.arm}, seed {result.seed}", again)
    style = plan.arms[result.arm].style
    by_style = {name: _outcomes(run / f"eval-{name}", name, asked, study) for name in STYLES}
    steps = {number: _outcomes(folder, style, asked, study, pairs_only=True) for number, folder in _trajectory(run)}
    own, other = by_style[style], next(found for name, found in by_style.items() if name != style)
    if own.identity.checkpoint != other.identity.checkpoint:
        raise UserError(f"{own.folder} and {other.folder} are of two judges", again)
    for number, outcomes in [(result.step, own), *steps.items()]:
        if outcomes.identity.step not in (None, number):
            raise UserError(f"{outcomes.folder} is of step {outcomes.identity.step}, not of step {number}", again)
    return Cell(result, own, other, steps)


def _trajectory(run: Path) -> Iterator[tuple[int, Path]]:
    found = ((re.fullmatch(r"step-(\d+)-eval", folder.name), folder) for folder in run.iterdir())
    yield from sorted((int(match[1]), folder) for match, folder in found if match)


def _outcomes(folder: Path, style: Style, asked: Asked, study: str, pairs_only: bool = False) -> Outcomes:
    found = study_outcomes.load(folder, pairs_only, study)
    identity, again = found.identity, f"remove {folder}, then: {study}"
    if identity.style != style:
        raise UserError(f"{folder} was asked in style {identity.style}, not {style}", again)
    sampling = identity.sampling.model_dump(include={"max_tokens", "temperature", "votes"})
    for name, task in identity.tasks.items():
        how = {**task.model_dump(), **sampling, "image": identity.image}
        first, then = asked.setdefault((style, name), (folder, how))
        if keys := [key for key in {**then, **how} if then.get(key) != how.get(key)]:
            text = f"{folder} asked task {name} with another {', '.join(keys)} than {first}"
            raise UserError(f"{text}: their numbers cannot be compared", again)
    return found
