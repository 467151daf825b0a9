"""The user's own images as items to judge: each row checked, with its task, prompt and label.

Next to its images, a row may have `task`, `id`, `label` (a verdict, or the task's own word for one) and `cluster`. Any
column may fill a field of the prompt. Everything is checked before a model is loaded, and all problems are reported at
once; with `skip_bad` an item that has one becomes a `Bad` in its place instead.
"""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mtrl.config import prompting, tasks
from mtrl.config.samples import Order, Sample
from mtrl.config.tasks import Task
from mtrl.converters.pipeline import images
from mtrl.converters.readers.picture import Picture, Rejected
from mtrl.core.errors import MtrlError, UserError, nearest
from mtrl.evaluate import image_sources
from mtrl.evaluate.image_sources import Row, text
from mtrl.reward_plugins import judge

SHOWN = 5  # problems that an error lists


@dataclass(frozen=True)
class Shown:
    """An item in one order, as the judge is asked."""

    images: tuple[Path, ...]
    names: tuple[str, ...]
    """What the user calls the images."""
    fields: dict[str, str]
    """What the prompt was filled with."""
    prompt: str
    """The text, with an <image> marker per image."""
    label: str
    """The right verdict in this order, "" where it is not known."""


@dataclass(frozen=True)
class Item:
    """What is to be judged at once."""

    id: str
    """Its row's id, or the names of its images."""
    task: Task
    orders: dict[Order, Shown]
    """As given; a pair also with its two sides swapped ("turned")."""
    cluster: str = ""
    """Items with the same one are not independent, such as images of one prompt; "" where it is not known."""

    @property
    def given(self) -> Shown:
        return self.orders["given"]


@dataclass(frozen=True)
class Bad:
    """An item that cannot be judged."""

    id: str
    """As in Item."""
    task: str
    """The task's name."""
    names: tuple[str, ...]
    """What the user calls the images."""
    reason: str
    """What is wrong, and where."""


@dataclass(frozen=True)
class Given:
    """What the user gave."""

    items: list[Item | Bad]
    """In the user's order, tables first."""
    skipped: Counter[str]
    """Files in folders that were left out, by reason."""
    rotated: Counter[str]
    """By task: items with an image whose EXIF asks for a rotation that the judge does not see."""


class Wrong(Exception):
    """What is wrong with a row, without its place."""


class Asked(NamedTuple):
    """A task in the style that it is asked in, with its prompt read once."""

    task: Task
    fields: tuple[str, ...]
    """The fields that the prompt uses."""
    render: Callable[[Sample], str]
    """From a sample to its prompt."""


@dataclass(frozen=True)
class _Seen:
    """One image file."""

    problem: str
    """Why it cannot be shown to a judge, "" where it can."""
    rotated: bool = False
    """Whether its EXIF asks for a rotation."""


def read(
    paths: list[Path],
    task: str | None,
    style: str,
    fields: dict[str, str],
    recursive: bool = False,
    skip_bad: bool = False,
    load: Callable[[str], Task] = tasks.load,
) -> Given:
    """`task` and `fields` are for rows without a value of their own; `load` finds a task by its name.

    Raises UserError, also where no item is left.
    """
    skipped: Counter[str] = Counter()
    files = any(path.suffix.lower() not in image_sources.TABLES for path in paths)
    rows = image_sources.rows(paths, load(task) if files and task else None, recursive, skipped)
    known: dict[str, Asked] = {}
    items: list[Item | Bad] = []
    taken: Counter[str] = Counter()
    for row in rows:
        name = text(row.columns.get("task")) or task
        if not name:
            raise UserError(
                f"{row.where}: its task is not known", "pass --tasks NAME, or add a column task (mtrl tasks)"
            )
        if name not in known:
            known[name] = asked(load(name), style)
        identity = _identity(row, taken)
        try:
            items.append(of_row(row, identity, known[name], fields))
        except Wrong as why:
            items.append(Bad(identity, name, row.names, f"{row.where}: {why}"))
    used = {field for one in known.values() for field in one.fields}
    if unused := [name for name in fields if name not in used]:
        raise UserError(
            f"--field {unused[0]} has no effect: no prompt of task {', '.join(known)} uses it."
            + (nearest(unused[0], used) if used else ""),
            "correct its name, or leave it out",
        )
    every = list(dict.fromkeys(path for item in items if isinstance(item, Item) for path in item.given.images))
    with ThreadPoolExecutor() as pool:
        seen = dict(zip(every, pool.map(_look, every), strict=True))
    items = [_sound(item, seen) for item in items]
    wrong = [item.reason for item in items if isinstance(item, Bad)]
    if wrong and (len(wrong) == len(items) or not skip_bad):
        more = [f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        raise UserError(
            "\n  ".join([f"{len(wrong)} of {len(items)} items cannot be judged:", *wrong[:SHOWN], *more]),
            "fix them, or leave them out; nothing was asked"
            + ("" if len(wrong) == len(items) else " (--skip-bad judges the others)"),
        )
    rotated = [
        i for i in items if isinstance(i, Item) and not i.task.orient and any(seen[p].rotated for p in i.given.images)
    ]
    return Given(items, skipped, Counter(item.task.name for item in rotated))


def _identity(row: Row, taken: Counter[str]) -> str:
    """The row's id, else the names of its images, with the row where another item has the same names."""
    if given := text(row.columns.get("id")):
        return given
    name = " ".join(row.names) or row.where
    taken[name] += 1
    return name if taken[name] == 1 else f"{name} ({row.where})"


def asked(task: Task, style: str) -> Asked:
    """Raises UserError for a task without a prompt of this style, or with one that cannot be used."""
    return Asked(task, tuple(prompting.fields(task, style)), prompting.renderer(task, style))


def of_row(row: Row, identity: str, asked: Asked, fields: Mapping[str, str]) -> Item:
    """The item of a row; its images are not looked at. `fields` has texts for fields that the row has no value for.
    Raises Wrong, and UserError for a prompt that does not fit."""
    task = asked.task
    if len(row.names) != task.images:
        columns = " and ".join(image_sources.columns(task.images))
        raise Wrong(f"task {task.name} takes {task.images} image(s) in {columns}, and {len(row.names)} are given")
    filled = {}
    for name in asked.fields:
        filled[name] = prompting.escape(text(row.columns.get(name)) or fields.get(name, ""))
        if not filled[name]:
            raise Wrong(f"task {task.name} needs the field {name}: --field {name}=..., or a column {name}")
    label = meant(row.columns.get("label"), task)
    sample = Sample(identity, task.name, task.kind, row.names, filled, label or task.choices[0], "")
    orders: dict[Order, Sample] = {"given": sample}
    if task.pair:
        if task.pair.fields and not task.pair.images and len({filled.get(name) for name in task.pair.fields}) == 1:
            raise Wrong(f"both texts of the pair ({' and '.join(task.pair.fields)}) are equal")
        orders["turned"] = sample.swapped(task.pair)
    return Item(
        identity,
        task,
        {
            order: Shown(
                tuple(row.folder / name for name in shown.images),
                shown.images,
                shown.fields,
                asked.render(shown),
                shown.answer if label else "",
            )
            for order, shown in orders.items()
        },
        text(row.columns.get("cluster")),
    )


def meant(value: Any, task: Task) -> str:
    """The verdict that a label means: a verdict itself, or what the task's YAML says of this value.

    "" for an empty cell, and where the YAML leaves such rows out. Raises Wrong.
    """
    if not (word := text(value)):
        return ""
    found, own = {word.casefold()} & set(task.choices), ""
    if not (task.label.rule and task.label.rule.when[0] not in "<>="):  # a rank has no meaning for one row
        try:
            by_yaml = task.verdicts([(value, "")])[0]
            if by_yaml not in task.choices:
                return ""
            found.add(by_yaml)
        except MtrlError:
            own = ", ".join(value for values in task.label.values.values() for value in values)
    if len(found) > 1:
        raise Wrong(
            f"label {word!r} is a verdict of task {task.name}, and its YAML (label.values) gives this word"
            " the other meaning; leave the column label out, or use another word"
        )
    if not found:
        words = judge.said(task.choices) + (f" (or its own words: {own})" if own else "")
        raise Wrong(f"label {word.casefold()!r} is not a verdict of task {task.name}: {words}")
    return found.pop()


def _sound(item: Item | Bad, seen: dict[Path, _Seen]) -> Item | Bad:
    if isinstance(item, Item):
        for path in item.given.images:
            if problem := seen[path].problem:
                return Bad(item.id, item.task.name, item.given.names, problem)
    return item


def _look(path: Path) -> _Seen:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a named pipe or a device may never end
            return _Seen(f"{path}: not a regular file")
        _, found = images.check(Picture(str(path), path=path).read())
        return _Seen("", images.ROTATED in found.notes)
    except Rejected as why:
        return _Seen(f"{path}: {why}")
    except OSError as error:
        windows = "; its name has backslashes, as on Windows: write / instead" if "\\" in path.name else ""
        return _Seen(f"{path}: {error.strerror or error}{windows}")
    except ValueError as error:  # a NUL in its name
        return _Seen(f"{str(path)!r}: {error}")
