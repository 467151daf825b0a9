"""What is said of the rows: verdicts, repeated and conflicting questions, what the splits share, fields without text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mtrl.config import prompting, samples
from mtrl.config.tasks import SPLITS, Task
from mtrl.converters.base import Row
from mtrl.converters.pipeline.near import clusters
from mtrl.converters.pipeline.splits import text
from mtrl.converters.pipeline.store import Stored
from mtrl.core.errors import UserError
from mtrl.core.finding import Check

SHOWN = 10  # conflicts that an error lists


def twins(found: list[Row], good: dict[int, tuple[Stored, ...]]) -> dict[int, str]:
    """For each row that asks what an earlier one asks (same images, in whatever order, same texts): the earlier one's id."""
    first: dict[object, str] = {}
    twins = {}
    for index, stored in good.items():
        row, key = found[index], _question(found[index], stored)
        if first.setdefault(key, row.id) != row.id:
            twins[index] = first[key]
    return twins


def _question(row: Row, stored: tuple[Stored, ...]) -> object:
    return tuple(sorted(s.name for s in stored)), tuple(sorted(row.fields.items()))


def conflicts(task: Task, found: list[Row], good: dict[int, tuple[Stored, ...]]) -> list[list[tuple[int, str]]]:
    """(row, verdict) of the rows that ask one question and disagree; of a pair the verdict on its images in sorted order."""
    asked: dict[object, list[tuple[int, str]]] = {}
    for index, stored in good.items():
        verdict, names = found[index].answer, [s.name for s in stored]
        if names != sorted(names):
            verdict = {"1": "2", "2": "1"}[verdict]
        asked.setdefault(_question(found[index], stored), []).append((index, verdict))
    return [rows for rows in asked.values() if len({verdict for _, verdict in rows}) > 1]


def settled(task: Task, found: list[Row], disputed: list[list[tuple[int, str]]]) -> set[int]:
    """The conflicting rows that label.conflicts leaves out. Raises UserError where the task does not say."""
    how = task.label.conflicts
    if disputed and how is None:
        shown = "; ".join(
            ", ".join(f"row {found[index].id} is {found[index].answer}" for index, _ in rows[:6])
            for rows in disputed[:SHOWN]
        )
        more = f"; and {len(disputed) - SHOWN} more" if len(disputed) > SHOWN else ""
        raise UserError(
            f"task {task.name}: rows that ask the same (same images, same fields) have both labels, in {len(disputed)} cases: "
            f"{shown}{more}",
            "correct the labels, or say in recipes/tasks/"
            + task.name
            + ".yaml under label what to do: conflicts: drop "
            "(leave all these rows out) or conflicts: majority (leave those out that disagree with most)",
        )
    out = set()
    for rows in disputed if how in ("drop", "majority") else ():
        (most, times), (_, second) = Counter(verdict for _, verdict in rows).most_common(2)
        keep = most if how == "majority" and times > second else None
        out |= {index for index, verdict in rows if verdict != keep}
    return out


def of_card(task: str, card: dict[str, Any]) -> Iterator[Check]:
    """Warnings on verdicts and labels, from card.json: splits of one verdict, rows left out, conflicts that were kept."""
    for split, counts in card["counts"].items():
        if lacking := lacks(counts):
            only = next(verdict for verdict in counts if verdict not in lacking)
            yield Check(
                "warning",
                f"{task}: every row of {split} is {only!r}, none is {' or '.join(map(repr, lacking))}: whoever always answers "
                f"{only!r} is right in all of {split}",
            )
    for key, number in card.get("left_out", {}).items():
        yield Check("ok", f"{task}: {number} of {card['rows_in_release']} rows are left out by {key}")
    if card["label"].get("conflicts") == "keep" and card["conflicts"]:
        yield Check("warning", f"{task}: {card['conflicts']} rows ask what another row asks, and have different labels")


def untrainable(task: Task, data: Path, chosen: list[int], again: str) -> Iterator[Check]:
    """An error where val, or the `chosen` rows of train, lack a verdict; `again` is the command that converts."""
    for split in ("train", "val"):
        answers = samples.answers(data, task.name, split)
        used = [answers[index] for index in chosen if index < len(answers)] if split == "train" else answers
        if lacking := lacks(count(used, task)):
            capped = (
                f"row of the {len(used)} that max_rows_per_task leaves of" if len(used) < len(answers) else "row of"
            )
            yield Check(
                "error",
                f"task {task.name}: no {capped} {split} is {' or '.join(map(repr, lacking))}; training and validation need both",
                "pass a larger max_rows_per_task"
                if lacks(count(answers, task)) != lacking
                else f"change label or split in recipes/tasks/{task.name}.yaml, then {again}",
            )


def lacks(counts: dict[str, int]) -> list[str]:
    """The verdicts that no row of a split has; none for a split without rows."""
    return [verdict for verdict, number in counts.items() if not number] if sum(counts.values()) else []


def count(answers: Iterable[str], task: Task) -> dict[str, int]:
    counted = Counter(answers)
    return {verdict: counted[verdict] for verdict in task.choices}


def leakage(
    task: Task, found: list[Row], good: dict[int, tuple[Stored, ...]], kept: dict[str, list[int]]
) -> dict[str, dict[str, int]]:
    """How many distinct images, looks and captions of test and of val stand in train too, and of test in val."""
    near = clusters(s.known.print for indices in kept.values() for i in indices for s in good[i])
    seen: dict[str, dict[str, set[str]]] = {"image": {}, "near-duplicate image": {}, "caption": {}}
    for split, indices in kept.items():
        stored = [s for i in indices for s in good[i]]
        seen["image"][split] = {s.name for s in stored}
        seen["near-duplicate image"][split] = {near.get(s.known.print, s.name) for s in stored}
        texts = {text(found[i].fields.get(name, "")) for i in indices for name in task.split.texts}
        seen["caption"][split] = texts - {""}
    pairs = (("test", "train"), ("val", "train"), ("test", "val"))
    return {
        kind: {f"{one}_in_{other}": len(by_split[one] & by_split[other]) for one, other in pairs}
        for kind, by_split in seen.items()
    }


def fields(task: Task, data: Path) -> Iterator[Check]:
    """Warnings on a converted task's fields: those that no prompt uses, and those that leave a hole in a prompt."""
    for name in prompting.unused(task):
        yield Check(
            "warning",
            f"{task.name}: neither prompt uses the field {name!r}, so the judge never sees it",
            f"write {{{{ {name} }}}} in {' and '.join(f'prompts/{task.prompt_file(s)}' for s in prompting.STYLES)}, "
            "or leave it out of source.fields",
        )
    used = sorted({name for style in prompting.STYLES for name in prompting.fields(task, style)})
    rows, empty = 0, Counter[str]()
    first: dict[str, tuple[float, str]] = {}
    for split in SPLITS if used else ():
        for sample in samples.read(data, task.name, split) if samples.count(data, task.name, split) else ():
            rows += 1
            for name in used:
                if not sample.fields.get(name, "").strip():
                    empty[name] += 1
                    place = (sample.source.get("row", float("inf")), sample.id)
                    first[name] = min(first.get(name, place), place)
    for name, number in sorted(empty.items()):
        row, identifier = first[name]
        where = f"row {row} ({identifier})" if row != float("inf") else identifier
        yield Check(
            "warning", f"{task.name}: the field {name!r} is empty in {number} of {rows} rows; the first is {where}"
        )
