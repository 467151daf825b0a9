"""The numbers of a probe in plain sentences, the most important first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from mtrl.evaluate.metrics.intervals import Estimate
from mtrl.evaluate.probing import perturbations
from mtrl.evaluate.probing.effects import FEW, Effect, TaskProbe

HALF = 0.5  # of the verdicts that should move; ours
FEWEST = 72  # clusters: of fewer, without a flip, the upper end of the interval is above FEW
DIRECTIONS = 2  # of its flips that a table names
SHOWN = 4  # perturbations that one sentence names


def of_task(task: TaskProbe) -> Iterator[str]:
    """Whether the judge looks; what moves it that should not; what moves it that may; what fails to move it; what makes
    its answers unreadable."""
    yield _looks(task)
    room = max(one.room for one in task.effects) if task.effects else 0
    by = f" by more than {room} points" if room else ""
    if any(one.expected == "same" for one in task.effects):
        if moved := _worst(task, "same", lambda low, high: low > FEW):
            yield f"What should not move it moves it{by}: {_listed(moved)}."
        else:
            yield f"Of what should not move it, nothing is proven to move more than {FEW:.0%} of its verdicts{by}."
    for why in dict.fromkeys(one.why for one in perturbations.ALL.values() if one.why):
        found = [e for e in _worst(task, "depends", lambda low, high: low > FEW) if _of(e).why == why]
        if found:
            yield f"It is moved{by} by {_listed(found)}: {why}."
    if still := _worst(task, "opposite", lambda low, high: high < HALF):
        yield f"What should move it does not: {_listed(still)}."
    if lost := _first(sorted(filter(loses, task.effects), key=lambda one: -(one.unreadable_rate.value or 0))):
        yield f"Some answers can no longer be read after {_listed(lost, _lost)}."
    if task.unchanged:
        rows = ", ".join(f"{words(name)} {len(ids):,}" for name, ids in task.unchanged.items())
        yield f"Of {task.rows:,} rows these are unchanged and not asked: {rows}."


def unwanted(effect: Effect) -> bool:
    """Whether it is proven that the verdict moves where it should not, or does not where it should."""
    low, high = effect.flip_rate.ci95 or (0.0, 1.0)
    kept = (effect.unreadable_rate.ci95 or (0.0, 1.0))[1] < FEW  # else it may do something, if not to verdicts
    return {"same": low > FEW, "opposite": high < HALF, "look": high < FEW and kept, "depends": False}[effect.expected]


def loses(effect: Effect) -> bool:
    """Whether it is proven to make more than FEW of the answers unreadable."""
    return effect.unreadable_rate.ci95 is not None and effect.unreadable_rate.ci95[0] > FEW


def words(variant: str) -> str:
    """A perturbation and its level, such as "blur 1%"."""
    of, level = perturbations.LEVELS[variant]
    return f"{of.name} {of.levels[level]}".strip()


def without_rate(task: TaskProbe) -> list[str]:
    """The variants that change nothing in any row."""
    return [name for name in task.unchanged if all(one.variant != name for one in task.effects)]


def moves(effect: Effect) -> str:
    """The most frequent directions of its flips; on a scale also how far verdicts move."""
    found = [f"{move} {times:,}" for move, times in list(effect.moves.items())[:DIRECTIONS]]
    if effect.mean_move is not None:
        found.append(f"by {effect.mean_move:.1f} points on average")
    return ", ".join(found)


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
        same = dict.fromkeys(task.unchanged, "it changes nothing")
        why = "; ".join(f"{name}: {({**same, **task.left_out}).get(name, 'not asked (--only)')}" for name in gone)
        numbers = f" Of its verdicts, {numbers}." if numbers else ""
        return f"Whether it looks at the image cannot be told: {why}.{numbers}"
    few, least = "", min(one.clusters for one in look.values())
    if least < FEWEST:
        few = f" in {least:,} clusters (to prove that it does not takes {FEWEST} or more)"
    elif any(loses(one) for one in look.values()):
        few = ": too many answers can no longer be read"
    return f"Whether it looks at the image cannot be told from {task.rows:,} rows{few}. Of its verdicts, {numbers}."


def _worst(task: TaskProbe, expected: str, holds: Callable[[float, float], bool]) -> list[Effect]:
    """Of each perturbation the level with the most flips (the fewest, where they should be many) for which it holds of
    the interval; the worst perturbation first."""
    sign = 1 if expected == "opposite" else -1
    found = [e for e in task.effects if e.expected == expected and (ends := e.flip_rate.ci95) and holds(*ends)]
    return _first(sorted(found, key=lambda one: sign * (one.flip_rate.value or 0)))


def _first(found: Iterable[Effect]) -> list[Effect]:
    """Of each perturbation the first level."""
    by_name: dict[str, Effect] = {}
    for one in found:
        by_name.setdefault(one.perturbation, one)
    return list(by_name.values())


def _share(one: Effect) -> str:
    """The flips; on a scale also how far; and the answers that are lost, which are no flips."""
    if not one.readable:
        return "an unknown share, since no answer as it is can be read"
    move = "" if one.mean_move is None else f", by {one.mean_move:.1f} points on average"
    lost = f", and makes {_percent(one.unreadable_rate)} unreadable" if one.unreadable else ""
    return f"{_percent(one.flip_rate)}{_between(one.flip_rate)}{move}{lost}"


def _lost(one: Effect) -> str:
    return f"{_percent(one.unreadable_rate)}{_between(one.unreadable_rate)}"


def _listed(found: Sequence[Effect], share: Callable[[Effect], str] = _share) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(f"{words(one.variant)} ({share(one)})" for one in found[:SHOWN]) + more


def _percent(of: Estimate) -> str:
    return f"{100 * (of.value or 0):.1f}%"


def _between(of: Estimate) -> str:
    return f", 95% interval {100 * of.ci95[0]:.1f} to {100 * of.ci95[1]:.1f}" if of.ci95 else ""


def _of(one: Effect) -> perturbations.Perturbation:
    return perturbations.ALL[one.perturbation]
