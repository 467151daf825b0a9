"""What one or several annotators say of each item of a table: its verdict, and every annotator's own.

    image,ann,ben,cem                        image,who,label
    a1.jpg,good,good,bad                     a1.jpg,ann,good
                                             a1.jpg,ben,good
label: {columns: [ann, ben, cem], ...}   label: {column: label, annotator: who, ...}

Every label is read by the task's rule. The verdict is the majority's; of a score task it is the mean of the numbers,
rounded as label.round says. An empty cell, and a label of label.drop, is no label. Rows with the same images and fields
are one item, the two sides of a pair in either order; the item is its first row.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mtrl.config.kinds import OTHER
from mtrl.config.labels import TIED, UNLABELLED
from mtrl.config.majority import majority
from mtrl.config.tasks import Task
from mtrl.converters.readers.picture import Picture
from mtrl.converters.readers.tables import Record
from mtrl.core.errors import UserError, nearest
from mtrl.reward_plugins.judge import is_scale


@dataclass(frozen=True)
class Labelled:
    """An item of the table."""

    record: Record
    """Its first row."""
    answer: str
    """As Row.answer."""
    score: float | None
    """As Row.score; of several annotators the mean."""
    annotators: dict[str, str]
    """As Row.annotators."""


class Opinion(NamedTuple):
    """One annotator's label of an item."""

    where: str
    verdict: str
    """Or the key that leaves it out."""
    number: float | None
    """The label as a number, where it is one."""


class Item(NamedTuple):
    record: Record
    """Its first row."""
    opinions: dict[str, Opinion]
    """By annotator."""


def labelled(task: Task, records: Sequence[Record], images: list[str], fields: Mapping[str, str]) -> list[Labelled]:
    """In the order of the rows. `images` are columns, `fields` the names and columns of texts. Raises MtrlError."""
    label = task.label
    if not label.several:
        given = [(record[label.column], record.where) for record in records]
        numbers = task.numbers(value for value, _ in given)
        rows = zip(records, task.verdicts(given), numbers, strict=True)
        return [Labelled(record, answer, number, {}) for record, answer, number in rows]
    for name in label.columns or [label.column]:
        if not any(name in record for record in records):
            known = nearest(name, map(str, records[0]))
            raise UserError(
                f"{records[0].where}: no column {name!r}.{known}", f"correct label in recipes/tasks/{task.name}.yaml"
            )
    items = _by_column(task, records) if label.columns else _by_question(task, records, images, fields)
    _check(task, items)
    return [_settled(task, item) for item in items]


def _opinions(task: Task, column: str, records: Sequence[Record]) -> list[Opinion | None]:
    """Each row's label in the column; None where it has none."""
    given = [record for record in records if str("" if record.get(column) is None else record[column]).strip()]
    label = task.label.of(column)
    verdicts = label.verdicts([(record[column], record.where) for record in given], task.choices, task.name)
    numbers = label.numbers([record[column] for record in given], task.choices)
    found = {id(r): Opinion(r.where, v, n) for r, v, n in zip(given, verdicts, numbers, strict=True)}
    return [found.get(id(record)) for record in records]


def _by_column(task: Task, records: Sequence[Record]) -> list[Item]:
    columns = {name: _opinions(task, name, records) for name in task.label.columns}
    return [
        Item(record, {name: opinion for name, its in columns.items() if (opinion := its[row]) is not None})
        for row, record in enumerate(records)
    ]


def _by_question(task: Task, records: Sequence[Record], images: list[str], fields: Mapping[str, str]) -> list[Item]:
    """Raises UserError where one annotator labels an item twice, or its rows differ in their split or group."""
    items: dict[Hashable, tuple[Item, bool]] = {}
    for record, opinion in zip(records, _opinions(task, task.label.column, records), strict=True):
        question, turned = _question(task, record, images, fields)
        item, first = items.setdefault(question, (Item(record, {}), turned))
        for column in filter(None, (task.split.column, task.split.group)):
            if record[column] != item.record[column]:
                raise UserError(
                    f"{record.where}: column {column!r} is {record[column]!r}, and {item.record[column]!r} in row "
                    f"{item.record.number}; they have the same images and fields, so with label.annotator are one item",
                    f"write one value of {column!r} into both",
                )
        if opinion is None:
            continue
        name = str(record[task.label.annotator or ""]).strip()
        if name in item.opinions:
            raise UserError(
                f"{record.where} and {item.opinions[name].where}: both are labels of annotator {name!r} for one item "
                "(same images, same fields)",
                "remove one of the two rows",
            )
        swapped = OTHER.get(opinion.verdict, opinion.verdict) if task.pair and turned != first else opinion.verdict
        item.opinions[name] = opinion._replace(verdict=swapped)
    return [item for item, _ in items.values()]


def _question(task: Task, record: Record, images: list[str], fields: Mapping[str, str]) -> tuple[Hashable, bool]:
    """What the row asks, and whether it has the two sides of a pair in the other order."""
    names = tuple(_name(record[column]) for column in images)
    texts = {name: str(record[column]) for name, column in fields.items()}
    given = (names, tuple(sorted(texts.items())))
    if not task.pair:
        return given, False
    other = (task.pair.swapped_images(names), tuple(sorted(task.pair.swapped_fields(texts).items())))
    return min(given, other), other < given


def _name(cell: Any) -> str:
    if isinstance(cell, Picture):
        return cell.name
    return str(cell.get("path") if isinstance(cell, dict) else cell).strip()


def _check(task: Task, items: Sequence[Item]) -> None:
    """Raises UserError where the labels are not those of several annotators."""
    yaml = f"recipes/tasks/{task.name}.yaml"
    names = {name for item in items for name, opinion in item.opinions.items() if opinion.verdict in task.choices}
    if silent := [name for name in task.label.columns if name not in names]:
        raise UserError(
            f"task {task.name}: column {silent[0]!r} of label.columns has no label in any row",
            f"leave it out of label.columns in {yaml}",
        )
    if len(names) == 1:
        raise UserError(
            f"task {task.name}: all labels are of one annotator, {names.pop()!r} in column {task.label.annotator!r}",
            f"leave label.annotator out of {yaml}",
        )
    if names and not any(len(item.opinions) > 1 for item in items):
        raise UserError(
            f"task {task.name}: no item has labels of two annotators, of {len(items)} items of {len(names)} annotators",
            "rows of one item have the same images (by name) and the same source.fields"
            if task.label.annotator
            else f"write label.column for one label per row in {yaml}",
        )


def _settled(task: Task, item: Item) -> Labelled:
    kept = {name: opinion for name, opinion in item.opinions.items() if opinion.verdict in task.choices}
    numbers = [opinion.number for opinion in kept.values() if opinion.number is not None]
    score = math.fsum(numbers) / len(numbers) if numbers else None
    verdicts = {name: opinion.verdict for name, opinion in kept.items()}
    if not verdicts:
        answer = UNLABELLED
    elif is_scale(task.choices):
        whole = task.label.of(f"mean of {', '.join(verdicts)}", drop=[])
        answer = whole.verdicts([(score, item.record.where)], task.choices, task.name)[0]
    else:
        answer = majority(list(verdicts.values())) or TIED
    return Labelled(item.record, answer, score, verdicts)
