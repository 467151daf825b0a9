"""One's own images as items to judge: files, folders of images, and tables of mixed tasks.

A table (.csv or .jsonl) has one row per item: `image`, or for a pair `image_1` and `image_2`, or in JSONL a list `images`;
where wanted `task`, `id` and `label` (a verdict, or the task's own word for one). Any column may fill a field of the prompt.
File names are relative to the table's folder. All is checked before a model is loaded, and every problem is reported at
once; with `skip_bad` an item that has one becomes a `Bad` in its place instead.
"""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtrl.config import prompting, tasks
from mtrl.config.samples import Sample
from mtrl.config.tasks import Task
from mtrl.converters.pipeline import images
from mtrl.converters.readers.picture import Picture, Rejected
from mtrl.converters.readers.tables import read_table
from mtrl.core.errors import MtrlError, UserError
from mtrl.evaluate import judge_files

TABLES = (".csv", ".jsonl")
COLUMNS = ("image", "image_1", "image_2", "images")  # where a table names images
SHOWN = 5  # problems that an error names


@dataclass(frozen=True)
class Item:
    """One image, or a pair, to be judged. `names` is what the user calls the images, `label` "" where none is known."""

    id: str
    task: Task
    images: tuple[Path, ...]
    names: tuple[str, ...]
    prompt: str
    label: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Bad:
    """An item that cannot be judged, and why."""

    id: str
    task: str
    names: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Given:
    """What was given, in order. `skipped` counts the files in folders that were left out, by reason; `rotated`, by task,
    the items with an image whose EXIF asks for a rotation that its judge does not see."""

    items: list[Item | Bad]
    skipped: Counter[str]
    rotated: Counter[str]


@dataclass(frozen=True)
class _Raw:
    """An item as it stands: not yet known to make sense."""

    where: str
    folder: Path
    names: tuple[str, ...]
    record: dict[str, Any]


class _Wrong(Exception):
    pass


def read(
    paths: list[Path],
    task: str | None,
    style: str,
    fields: dict[str, str],
    recursive: bool = False,
    skip_bad: bool = False,
    load: Callable[[str], Task] = tasks.load,
) -> Given:
    """`task` and `fields` hold where a table says nothing of its own; `load` finds a task by its name.

    Raises UserError, also where no item is left.
    """
    skipped: Counter[str] = Counter()
    found = [raw for path in paths if path.suffix.lower() in TABLES for raw in _table(path)]
    found += _files([path for path in paths if path.suffix.lower() not in TABLES], task, recursive, skipped, load)
    known: dict[str, Task] = {}
    items: list[Item | Bad] = []
    taken: Counter[str] = Counter()
    for raw in found:
        name = _text(raw.record.get("task")) or task
        if not name:
            raise UserError(f"{raw.where}: which task?", "--tasks NAME, or a column task (mtrl tasks lists them)")
        if name not in known:
            known[name] = load(name)
        identity = _identity(raw, taken)
        try:
            items.append(_item(raw, identity, known[name], style, fields))
        except _Wrong as why:
            items.append(Bad(identity, name, raw.names, f"{raw.where}: {why}"))
    every = list(dict.fromkeys(path for item in items if isinstance(item, Item) for path in item.images))
    with ThreadPoolExecutor() as pool:
        seen = dict(zip(every, pool.map(_look, every), strict=True))
    items = [_sound(item, seen) for item in items]
    wrong = [item.reason for item in items if isinstance(item, Bad)]
    if wrong and (len(wrong) == len(items) or not skip_bad):
        more = f"\n  and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise UserError(
            f"{len(wrong)} problem(s) in {len(found)} item(s):\n  " + "\n  ".join(wrong[:SHOWN]) + more,
            "fix them, or leave them out; nothing was asked"
            + ("" if len(wrong) == len(items) else " (--skip-bad judges the others)"),
        )
    turned = [i for i in items if isinstance(i, Item) and not i.task.orient and any(seen[p][1] for p in i.images)]
    return Given(items, skipped, Counter(item.task.name for item in turned))


def _table(path: Path) -> Iterator[_Raw]:
    if not path.is_file():
        kind = "is not a regular file" if path.exists() else "does not exist"
        raise UserError(f"there is no table {path}: it {kind}")
    number = 0
    for number, record in enumerate(read_table(path), start=1):
        if not any(column in record for column in COLUMNS):
            raise UserError(
                f"{path}, row {number}: no column image, nor image_1 and image_2; its columns: {', '.join(map(str, record))}",
                "name the image column so; in a .csv, commas stand between columns",
            )
        listed = record.get("images") or [record.get(key) for key in ("image", "image_1", "image_2")]
        names = [_text(name) for name in (listed if isinstance(listed, list) else [listed])]
        yield _Raw(f"{path}, row {number}", path.parent, tuple(name for name in names if name), record)
    if not number:
        raise UserError(f"{path} has no rows", "one row per item, with the name of its image in column image")


def _files(
    paths: list[Path], task: str | None, recursive: bool, skipped: Counter[str], load: Callable[[str], Task]
) -> list[_Raw]:
    """Files and the images in folders; for a pairwise task every two files are a pair."""
    each = 2 if task and load(task).kind == "pairwise" else 1
    listed: list[Path] = []
    for path in paths:
        if "\0" in str(path) or not path.is_dir():
            listed.append(path)
            continue
        inside = judge_files.of_folder(path, recursive, skipped)
        if each == 2:
            raise UserError(
                f"task {task} compares two images, and folder {path} does not say which",
                "name two files, or a table with image_1 and image_2",
            )
        listed += inside
    if len(listed) % each:
        raise UserError(f"task {task} compares two images, and {len(listed)} are given", "name them two by two")
    twos = [tuple(map(str, listed[start : start + each])) for start in range(0, len(listed), each)]
    return [_Raw(" and ".join(names), Path(), names, {"id": " ".join(names)}) for names in twos]


def _identity(raw: _Raw, taken: Counter[str]) -> str:
    """The row's id, else its images' names, with the row where these names stand more than once."""
    if given := _text(raw.record.get("id")):
        return given
    name = " ".join(raw.names) or raw.where
    taken[name] += 1
    return name if taken[name] == 1 else f"{name} ({raw.where})"


def _item(raw: _Raw, identity: str, task: Task, style: str, fields: dict[str, str]) -> Item:
    images_wanted = 2 if task.kind == "pairwise" else 1
    if len(raw.names) != images_wanted:
        columns = "image_1 and image_2" if images_wanted == 2 else "image"
        raise _Wrong(f"task {task.name} takes {images_wanted} image(s) in {columns}, and {len(raw.names)} are given")
    filled = {}
    for name in prompting.fields(task, style):
        filled[name] = prompting.escape(_text(raw.record.get(name)) or fields.get(name, ""))
        if not filled[name]:
            raise _Wrong(f"task {task.name} needs the field {name}: --field {name}=..., or a column {name}")
    label = _label(raw.record.get("label"), task)
    sample = Sample(identity, task.name, task.kind, raw.names, filled, label, "")
    prompt = prompting.renderer(task, style)(sample)
    return Item(identity, task, tuple(raw.folder / name for name in raw.names), raw.names, prompt, label, filled)


def _label(value: Any, task: Task) -> str:
    """The verdict that a label means: a verdict itself, or what the task's YAML says of this value; "" for none, and where
    the YAML leaves such rows out. Raises _Wrong."""
    if not (text := _text(value)):
        return ""
    meant, ranked = {text.casefold()} & set(task.choices), task.label.rule and task.label.rule.when[0] not in "<>="
    why = ""
    if not ranked:  # a rank has no meaning for one row
        try:
            word = task.verdicts([(value, "")])[0]
            if word not in task.choices:
                return ""
            meant.add(word)
        except MtrlError:
            own = ", ".join(value for values in task.label.values.values() for value in values)
            why = f" (or its own words: {own})" if own else ""
    if len(meant) > 1:
        raise _Wrong(
            f"label {text!r} is a verdict of task {task.name}, and its YAML (label.values) gives this word"
            " the other meaning; leave the column label out, or use another word"
        )
    if not meant:
        raise _Wrong(f"label {text.casefold()!r} is no verdict of task {task.name}: {' or '.join(task.choices)}{why}")
    return meant.pop()


def _text(value: Any) -> str:
    """A cell as text that can be written to a file: half a surrogate pair, which JSON can hold, cannot."""
    return "" if value is None else str(value).strip().encode("utf-8", "replace").decode()


def _sound(item: Item | Bad, seen: dict[Path, tuple[str, bool]]) -> Item | Bad:
    if isinstance(item, Item):
        for path in item.images:
            if why := seen[path][0]:
                return Bad(item.id, item.task.name, item.names, why)
    return item


def _look(path: Path) -> tuple[str, bool]:
    """Why an image cannot be shown to a judge ("" where it can), and whether it has an EXIF rotation."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a named pipe would be waited for, a device has no end
            return f"{path}: not a regular file", False
        _, found = images.check(Picture(str(path), path=path).read())
        return "", images.ROTATED in found.notes
    except Rejected as why:
        return f"{path}: {why}", False
    except OSError as error:
        windows = "; its name has backslashes, as Windows writes them: write / instead" * ("\\" in path.name)
        return f"{path}: {error.strerror or error}{windows}", False
    except ValueError as error:  # a NUL in its name
        return f"{str(path)!r}: {error}", False
