"""The analysis of `mtrl study`, as the plan fixes it before the first run: pure functions of its results.

The score of a training is the share of pairs that it has right in both orders, asked in the style it was trained in.
A unit is one seed on one base; two arms are compared on the units that have both. Differences are X - Y, as fractions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from mtrl.demo import study_results, study_verdict
from mtrl.demo.study_outcomes import IN_DOMAIN
from mtrl.demo.study_plan import Plan
from mtrl.demo.study_results import Cell, Results
from mtrl.demo.study_statistics import holm, interval, seeds_for, sign_flip, spearman
from mtrl.demo.study_verdict import Comparison, Effect

EFFECTS = {  # of the 2 x 2: SFT or GRPO, bare verdicts or reasoning
    "algorithm (GRPO - SFT)": {"D": 0.5, "A": -0.5, "E": 0.5, "C": -0.5},
    "reasoning (with - without)": {"C": 0.5, "A": -0.5, "E": 0.5, "D": -0.5},
    "interaction ((E - C) - (D - A))": {"E": 1.0, "C": -1.0, "D": -1.0, "A": 1.0},
}


class Needed(NamedTuple):
    """The number of seeds, from the pilot."""

    differences: list[float]
    """Of the primary comparison, per pilot seed."""
    deviation: float | None
    """Their standard deviation; None for fewer than two."""
    asked: int | None
    """What the power calculation asks for."""
    used: int
    """That, but at least `least_seeds` and at most all of `seeds`."""


class Scope(NamedTuple):
    """Which part of the study is there."""

    seeds: list[int]
    """The study's."""
    done: dict[str, int]
    """By base, the number of seeds with every arm finished."""
    bases: list[str]
    """What the comparisons are over: the finished bases; while none is, all with a result."""

    @property
    def finished(self) -> bool:
        """Whether the comparisons are over whole bases."""
        return all(self.done[base] == len(self.seeds) for base in self.bases)

    @property
    def partial(self) -> bool:
        return any(done < len(self.seeds) for done in self.done.values())


class Correlation(NamedTuple):
    """Spearman's, of the distance from the base with the score, over trainings; None where it is not defined."""

    n: int
    overall: float | None
    within: float | None
    """Within each arm of a base, so that differences between arms do not count."""


def seeds(home: Path, plan: Plan) -> list[int]:
    """The study's seeds, from the pilot in its folder. Raises UserError as study_results.load."""
    return plan.seeds[: needed(study_results.load(home, plan, plan.pilot), plan).used]


def needed(pilot: Results, plan: Plan) -> Needed:
    base = next(iter(plan.bases))
    x, y = plan.primary
    found = [_difference(pilot, base, seed, x, y) for seed in plan.pilot if _both(pilot, base, seed, (x, y))]
    deviation = stdev(found) if len(found) > 1 else None
    asked = None if deviation is None else seeds_for(deviation, plan.margin / 100, plan.alpha, plan.power)
    return Needed(found, deviation, asked, max(plan.least_seeds, min(asked or 0, len(plan.seeds))))


def scope(results: Results, plan: Plan, chosen: list[int]) -> Scope:
    done = {base: sum(_both(results, base, seed, plan.arms) for seed in chosen) for base in plan.bases}
    whole = [base for base in plan.bases if done[base] == len(chosen)]
    return Scope(chosen, done, whole or [base for base in plan.bases if any(key[0] == base for key in results.cells)])


def score(cell: Cell) -> float:
    return cell.own.share("right")


def mean_of(cells: Iterable[Cell], of: Callable[[Cell], float | None]) -> float | None:
    """The mean over seeds; None where one has no such number, or there is none."""
    found = [of(cell) for cell in cells]
    numbers = [value for value in found if value is not None]
    return fmean(numbers) if numbers and len(numbers) == len(found) else None


def effect(results: Results, plan: Plan, name: str, weights: dict[str, float], bases: Sequence[str]) -> Effect | None:
    """The weighted sum of arms, over the units that have them all; None where none has."""
    import numpy as np

    keys = [(base, seed) for base in bases for seed in plan.seeds if _both(results, base, seed, weights)]
    if not keys:
        return None
    sizes = Counter(pair.caption for pair in results.cells[keys[0][0], next(iter(weights)), keys[0][1]].own.pairs)
    rows = [
        sum(weight * _right(results.cells[base, arm, seed], list(sizes)) for arm, weight in weights.items())
        for base, seed in keys
    ]
    table, pairs = np.array(rows), np.array(list(sizes.values()))
    each = (table.sum(axis=1) / pairs.sum()).tolist()
    drawn = interval(table, pairs, [base for base, _ in keys], plan.resamples)
    return Effect(name, len(keys), fmean(each), drawn, sign_flip(each))


def comparisons(results: Results, plan: Plan, bases: Sequence[str]) -> list[Comparison]:
    """The primary one first; those without a unit are missing."""
    found = []
    for x, y in [plan.primary, *plan.secondary]:
        if one := effect(results, plan, f"{x} - {y}", {x: 1.0, y: -1.0}, bases):
            keys = [(base, seed) for base in bases for seed in plan.seeds if _both(results, base, seed, (x, y))]
            apart = fmean(_in_domain(results, base, seed, x, y) for base, seed in keys)
            found.append(((x, y), one, apart))
    secondary = [(pair, one) for pair, one, _ in found if pair != plan.primary]
    adjusted = dict(zip((p for p, _ in secondary), holm([one.p for _, one in secondary]), strict=True))
    return [study_verdict.judged(pair, one, adjusted.get(pair), apart, plan) for pair, one, apart in found]


def factorial(results: Results, plan: Plan, bases: Sequence[str]) -> list[Effect]:
    """Main effects and interaction of the 2 x 2; [] where the plan lacks one of its arms."""
    if not all(arm in plan.arms for weights in EFFECTS.values() for arm in weights):
        return []
    found = [effect(results, plan, name, weights, bases) for name, weights in EFFECTS.items()]
    return [one for one in found if one]


def correlation(results: Results, of: Callable[[Cell], float]) -> Correlation:
    """Of a distance with the score, over all trainings."""
    cells = list(results.cells.values())
    x, y = [of(cell) for cell in cells], [score(cell) for cell in cells]
    blocks = [f"{cell.result.base}-{cell.result.arm}" for cell in cells]
    return Correlation(len(cells), spearman(x, y), spearman(x, y, blocks))


def _both(results: Results, base: str, seed: int, arms: Iterable[str]) -> bool:
    return all((base, arm, seed) in results.cells for arm in arms)


def _difference(results: Results, base: str, seed: int, x: str, y: str) -> float:
    return score(results.cells[base, x, seed]) - score(results.cells[base, y, seed])


def _in_domain(results: Results, base: str, seed: int, x: str, y: str) -> float:
    one, other = (results.cells[base, arm, seed].own.macro_f1[IN_DOMAIN] for arm in (x, y))
    return one - other


def _right(cell: Cell, captions: Sequence[str]) -> Any:
    """The number of right pairs of each caption."""
    import numpy as np

    found = Counter(pair.caption for pair in cell.own.pairs if pair.outcome == "right")
    return np.array([found[caption] for caption in captions])
