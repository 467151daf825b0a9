"""One's own images as items to judge: files, folders of images, and tables of mixed tasks.

A table (.csv or .jsonl) has one item a row: `image`, or for a pair `image_1` and `image_2`, or in JSONL a list `images`;
where wanted `task`, `id` and `label` (a verdict). Any column may fill a field of the prompt. File names are relative to the
table's folder. All is checked before a model is loaded, and what is wrong is said of all items at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtrl import prompting, tasks
from mtrl.converters import images
from mtrl.converters.rows import Picture, Rejected
from mtrl.converters.table import read_table
from mtrl.errors import UserError
from mtrl.samples import Sample
from mtrl.tasks import Task

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


@dataclass(frozen=True)
class _Raw:
    """An item as it stands: not yet known to make sense."""

    where: str
    folder: Path
    names: tuple[str, ...]
    record: dict[str, Any]


def read(
    paths: list[Path],
    task: str | None,
    style: str,
    fields: dict[str, str],
    load: Callable[[str], Task] = tasks.load,
) -> list[Item]:
    """The items in order. `task` and `fields` hold where a table says nothing of its own; `load` finds a task by its name.

    Raises UserError.
    """
    found = [raw for path in paths if path.suffix.lower() in TABLES for raw in _table(path)]
    found += _files([path for path in paths if path.suffix.lower() not in TABLES], task, load)
    known: dict[str, Task] = {}
    items, wrong = [], []
    for raw in found:
        name = _text(raw.record.get("task")) or task
        if not name:
            raise UserError(f"{raw.where}: which task?", "--task NAME, or a column task (mtrl tasks lists them)")
        if name not in known:
            known[name] = load(name)
        try:
            items.append(_item(raw, known[name], style, fields))
        except _Wrong as why:
            wrong.append(f"{raw.where}: {why}")
    every = list(dict.fromkeys(path for item in items for path in item.images))
    with ThreadPoolExecutor() as pool:
        wrong += [why for why in pool.map(_unusable, every) if why]
    if wrong:
        more = f"\n  and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise UserError(
            f"{len(wrong)} problem(s) in {len(found)} item(s):\n  " + "\n  ".join(wrong[:SHOWN]) + more,
            "mend them, or leave them out; nothing was asked",
        )
    return items


class _Wrong(Exception):
    pass


def _table(path: Path) -> Iterator[_Raw]:
    if not path.is_file():
        raise UserError(f"there is no table {path}")
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
        raise UserError(f"{path} has no rows", "a row an item, with the name of its image in column image")


def _files(paths: list[Path], task: str | None, load: Callable[[str], Task]) -> list[_Raw]:
    """Files and the images in folders; for a pairwise task every two files are a pair."""
    each = 2 if task and load(task).kind == "pairwise" else 1
    listed: list[Path] = []
    for path in paths:
        if not path.is_dir():
            listed.append(path)
            continue
        endings = {*images.EXTENSIONS.values(), *images.SAME}
        inside = sorted(file for file in path.iterdir() if file.suffix.lower().lstrip(".") in endings)
        if not inside:
            raise UserError(f"folder {path} holds no images", "name image files, a folder of them, a .csv or a .jsonl")
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


def _item(raw: _Raw, task: Task, style: str, fields: dict[str, str]) -> Item:
    images_wanted = 2 if task.kind == "pairwise" else 1
    if len(raw.names) != images_wanted:
        columns = "image_1 and image_2" if images_wanted == 2 else "image"
        raise _Wrong(f"task {task.name} takes {images_wanted} image(s) in {columns}, and {len(raw.names)} are given")
    filled = {}
    for name in prompting.fields(task, style):
        filled[name] = prompting.escape(_text(raw.record.get(name)) or fields.get(name, ""))
        if not filled[name]:
            raise _Wrong(f"task {task.name} needs the field {name}: --field {name}=..., or a column {name}")
    label = _text(raw.record.get("label")).casefold()
    if label and label not in task.choices:
        raise _Wrong(f"label {label!r} is no verdict of task {task.name}: {' or '.join(task.choices)}")
    identity = _text(raw.record.get("id")) or raw.where
    sample = Sample(identity, task.name, task.kind, raw.names, filled, label, "")
    prompt = prompting.renderer(task, style)(sample)
    return Item(identity, task, tuple(raw.folder / name for name in raw.names), raw.names, prompt, label)


def _text(value: Any) -> str:
    """A cell as text that can be written to a file: half a surrogate pair, which JSON can hold, cannot."""
    return "" if value is None else str(value).strip().encode("utf-8", "replace").decode()


def _unusable(path: Path) -> str:
    """Why an image cannot be shown to a judge, or "" where it can."""
    try:
        images.check(Picture(str(path), path=path).read())
    except Rejected as why:
        return f"{path}: {why}"
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return ""
