"""The numbers of a probe in plain sentences, the most important first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mtrl.evaluate.probing import perturbations
from mtrl.evaluate.probing.effects import FEW, Effect, TaskProbe

HALF = 0.5  # of the verdicts that should move; ours
FEWEST = 72  # clusters: of fewer, without a flip, the upper end of the interval is above FEW
SHOWN = 4  # perturbations that one sentence names


def of_task(task: TaskProbe) -> Iterator[str]:
    """Whether the judge looks; what moves it that should not; what moves it that may; what fails to move it."""
    yield _looks(task)
    moved = _worst(task, "same", lambda low, high: low > FEW)
    if moved:
        yield f"What should not move it moves it: {_listed(moved)}."
    elif any(one.expected == "same" for one in task.effects):
        yield f"Of what should not move it, nothing is proven to move more than {FEW:.0%} of its verdicts."
    for why in dict.fromkeys(one.why for one in perturbations.ALL.values() if one.why):
        found = [e for e in _worst(task, "depends", lambda low, high: low > FEW) if _of(e).why == why]
        if found:
            yield f"It is moved by {_listed(found)}: {why}."
    if still := _worst(task, "opposite", lambda low, high: high < HALF):
        yield f"What should move it does not: {_listed(still)}."


def unwanted(effect: Effect) -> bool:
    """Whether it is proven that the verdict moves where it should not, or does not where it should."""
    low, high = effect.flip_rate.ci95 or (0.0, 1.0)
    return {"same": low > FEW, "opposite": high < HALF, "look": high < FEW, "depends": False}[effect.expected]


def words(effect: Effect) -> str:
    """A perturbation and its level, such as "blur 1%"."""
    return f"{effect.perturbation} {effect.level}".strip()


def _looks(task: TaskProbe) -> str:
    look = {one.variant: one for one in task.effects if one.expected == "look"}
    numbers = "; ".join(f"{_of(one).what} changes {_share(one)}" for one in look.values())
    if task.looks == "blind":
        always = f" It says {task.constant} to every row." if task.constant else ""
        return f"This judge is BLIND: its verdicts do not depend on the image. Of its verdicts, {numbers}.{always}"
    if task.looks == "looks":
        return f"It looks at the image. Of its verdicts, {numbers}."
    if task.constant == "invalid":
        return "Not one answer could be read as a verdict, so nothing can be said."
    if gone := [name for name in ("blank", "other") if name not in look]:
        why = "; ".join(f"{name}: {task.left_out.get(name, 'not asked (--only)')}" for name in gone)
        numbers = f" Of its verdicts, {numbers}." if numbers else ""
        return f"Whether it looks at the image cannot be told: {why}.{numbers}"
    few, least = "", min(one.clusters for one in look.values())
    if least < FEWEST:
        few = f" in {least:,} clusters (to prove that it does not takes {FEWEST} or more)"
    elif all(one.flip_rate.ci95 and one.flip_rate.ci95[1] < FEW for one in look.values()):
        few = ": too few answers can be read"
    return f"Whether it looks at the image cannot be told from {task.rows:,} rows{few}. Of its verdicts, {numbers}."


def _worst(task: TaskProbe, expected: str, holds: Callable[[float, float], bool]) -> list[Effect]:
    """Of each perturbation the level with the most flips (the fewest, where they should be many) for which it holds of
    the interval; the worst perturbation first."""
    sign = 1 if expected == "opposite" else -1
    by_name: dict[str, Effect] = {}
    for one in sorted(task.effects, key=lambda one: sign * (one.flip_rate.value or 0)):
        ends = one.flip_rate.ci95
        if one.expected == expected and ends and holds(ends[0], ends[1]):
            by_name.setdefault(one.perturbation, one)
    return list(by_name.values())


def _listed(found: Sequence[Effect]) -> str:
    more = len(found) - SHOWN
    return ", ".join(f"{words(one)} ({_share(one)})" for one in found[:SHOWN]) + (
        f" and {more} more" if more > 0 else ""
    )


def _share(one: Effect) -> str:
    value, ends = 100 * (one.flip_rate.value or 0), one.flip_rate.ci95
    between = "" if ends is None else f", 95% interval {100 * ends[0]:.1f} to {100 * ends[1]:.1f}"
    return f"{value:.1f}%{between}"


def _of(one: Effect) -> perturbations.Perturbation:
    return perturbations.ALL[one.perturbation]
