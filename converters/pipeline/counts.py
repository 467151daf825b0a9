"""What is said of a converted task: splits of one verdict, rows that are left out, fields without text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from mtrl.config import prompting, samples
from mtrl.config.datacard import Agreement, DataCard
from mtrl.config.tasks import SPLITS, Task
from mtrl.converters.readers import fetch
from mtrl.core.finding import Check
from mtrl.reward_plugins import judge

LOW = 0.667  # of alpha: below it Krippendorff (2004) advises against conclusions


def of_card(task: str, card: DataCard) -> Iterator[Check]:
    """Warnings from card.json: splits of one verdict, rows that are left out, conflicts that are kept, a release that
    is not whole."""
    for split, counts in card.counts.items():
        lacking, found = lacks(counts), [verdict for verdict, number in counts.items() if number]
        if lacking and len(found) > 1:
            yield Check("warning", f"{task}: no row of {split} is {' or '.join(map(repr, lacking))}")
        elif lacking:
            only = found[0]
            yield Check(
                "warning",
                f"{task}: every row of {split} is {only!r}, none is {' or '.join(map(repr, lacking))}: a judge that "
                f"always answers {only!r} is right in all of {split}",
            )
    if card.agreement:
        yield _agreement(task, card.agreement)
    for key, number in card.left_out.items():
        yield Check("ok", f"{task}: {number} of {card.rows_in_release} rows are left out by {key}")
    if (whole := fetch.published(task)) and card.rows_in_release != whole:
        yield Check(
            "warning",
            f"{task}: the release has {card.rows_in_release:,} rows, and {whole:,} by its authors' count",
            f"is it whole, and the right revision? mtrl fetch {task} --out raw",
        )
    if card.label.get("conflicts") == "keep" and card.conflicts:
        yield Check("warning", f"{task}: {card.conflicts} rows ask what another row asks, and have different labels")


def _agreement(task: str, found: Agreement) -> Check:
    said = f"{task}: {found.annotators} annotators gave {found.labels:,} labels to {found.items:,} items"
    said += f", {found.ties:,} of them without a majority; Krippendorff's alpha"
    if found.alpha is None:
        return Check("ok", f"{said} is not defined: no item has two labels, or all labels are the same")
    if found.alpha < LOW:
        then = "say more exactly what each label means, and have the items labelled again"
        return Check("warning", f"{said} is {found.alpha:.3f} ({found.level}), below {LOW}: too low to rely on", then)
    return Check("ok", f"{said} is {found.alpha:.3f} ({found.level})")


def untrainable(task: Task, data: Path, chosen: list[int], again: str) -> Iterator[Check]:
    """An error where val, or the `chosen` rows of train, lack a verdict; `again` is the command that converts."""
    for split in ("train", "val"):
        answers = [answer for (answer,) in samples.columns(data, task.name, split, "answer")]
        used = [answers[index] for index in chosen if index < len(answers)] if split == "train" else answers
        if lacking := lacks(count(used, task)):
            capped = f"row of the {len(used)} that the recipe draws of" if len(used) < len(answers) else "row of"
            yield Check(
                "error",
                f"task {task.name}: no {capped} {split} is {' or '.join(map(repr, lacking))}; "
                f"training and validation need {'both' if len(task.choices) == 2 else 'each'}",
                "pass a larger max_rows_per_task, or wider bounds of rl.keep_pass_rate"
                if lacks(count(answers, task)) != lacking
                else f"change label or split in recipes/tasks/{task.name}.yaml, then {again}",
            )


def lacks(counts: dict[str, int]) -> list[str]:
    """The verdicts that no row of a split has; none for a split without rows. A scale lacks none if it has two."""
    held = sum(number > 0 for number in counts.values())
    if not held or (held > 1 and judge.is_scale(list(counts))):
        return []
    return [verdict for verdict, number in counts.items() if not number]


def count(answers: Iterable[str], task: Task) -> dict[str, int]:
    counted = Counter(answers)
    return {verdict: counted[verdict] for verdict in task.choices}


def fields(task: Task, data: Path) -> Iterator[Check]:
    """Warnings on a converted task's fields: those that no prompt uses, and those that leave a gap in a prompt."""
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
        for identifier, fields, source in samples.columns(data, task.name, split, "id", "fields", "source"):
            rows += 1
            texts = json.loads(fields)
            for name in used:
                if not texts.get(name, "").strip():
                    empty[name] += 1
                    place = (json.loads(source).get("row", float("inf")), identifier)
                    first[name] = min(first.get(name, place), place)
    for name, number in sorted(empty.items()):
        row, identifier = first[name]
        where = f"row {row} ({identifier})" if row != float("inf") else identifier
        yield Check(
            "warning", f"{task.name}: the field {name!r} is empty in {number} of {rows} rows; the first is {where}"
        )
