"""Is a conversion still what it would be? data/<task>/inputs.json, written last, says what it was made from and made.

The release's tables, which hold the labels, by sha256; its images and archives by size and time; the folders they are in
by the tables and zips there (a new shard changes that); every setting and the code by one digest. What was written by
sha256, which a stored image has for a name. A written file is hashed again only if the file system says that it was
changed after inputs.json was written (its times are the kernel's, and a renamed or linked file gets a new one too).
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import mtrl.converters
from mtrl import __version__
from mtrl.config import labels, prompting, samples, tasks
from mtrl.config.tasks import SPLITS, Task
from mtrl.converters.base import Row
from mtrl.core.errors import UserError
from mtrl.core.files import LARGE, read_json, sha256_bytes, sha256_file, write_json

FILE = "inputs.json"
RELEASED = (".csv", ".jsonl", ".parquet", ".zip")
PRINTS = "fingerprints.json"
Stamp = str | list[int]


def tables(rows: Iterable[Row]) -> dict[Path, str]:
    """{file: sha256} of the files that hold the rows' labels."""
    return {file: sha256_file(file) for file in sorted({row.file for row in rows})}


def snapshot(rows: Iterable[Row], raw: Path, tables: dict[Path, str]) -> dict[str, Stamp]:
    """What `unchanged` compares, by path relative to `raw`: tables, other files that the rows need, and their folders."""
    archives = {p.container for row in rows for p in row.images if p.container}
    loose = {p.path for row in rows for p in row.images if p.path}
    folders = {file.parent for file in tables.keys() | archives}
    stamps: dict[Path, Stamp] = {path: _stamp(path) for path in loose | archives | folders}
    return {os.path.relpath(path, raw): stamp for path, stamp in sorted({**stamps, **tables}.items())}


def record(task: Task, raw: Path, data: Path, limit: int | None, links: bool, release: dict[str, Stamp]) -> None:
    outputs = {name: sha256_file(data / task.name / name) for name in _outputs()}
    # where the releases were is for the next command that a message names; it changes nothing
    made = {
        "raw": os.path.relpath(raw, data),
        "settings": _settings(task, limit, links),
        "outputs": outputs,
        "release": release,
    }
    write_json(data / task.name / FILE, made)


def unchanged(task: Task, raw: Path, data: Path, limit: int | None, links: bool = False) -> dict[str, Any] | None:
    """The card of the conversion that is there, if converting again would give the same."""
    folder = data / task.name
    try:
        before = read_json(folder / FILE, limit=LARGE)
        if before["settings"] != _settings(task, limit, links):
            return None
        for name, stamp in before["release"].items():
            if (sha256_file(raw / name) if isinstance(stamp, str) else _stamp(raw / name)) != stamp:
                return None
        names = [*(f"{task.name}/{name}" for name in _outputs()), *read_json(folder / PRINTS, limit=LARGE)]
        if next(altered(data, task.name, names), None):
            return None
        card: dict[str, Any] = read_json(folder / "card.json")
    except (OSError, UserError, KeyError, AttributeError, TypeError):
        return None
    return card


def written(data: Path, task: str) -> dict[str, str] | None:
    """{file relative to the data folder: sha256} of what the conversion wrote; None where it did not end or is too old."""
    try:
        outputs = read_json(data / task / FILE, limit=LARGE)["outputs"]
        return {f"{task}/{name}": digest for name, digest in outputs.items() if isinstance(digest, str)} or None
    except (UserError, KeyError, AttributeError, TypeError):
        return None


def altered(data: Path, task: str, names: Iterable[str]) -> Iterator[str]:
    """Those of the task's files and stored images that are gone, or no longer what its conversion wrote."""
    outputs = written(data, task) or {}
    since = (data / task / FILE).stat().st_mtime_ns if outputs else 0
    for name in names:
        digest = outputs.get(name) or (Path(name).stem if name.startswith("images/") else None)
        path = data / name
        try:
            times = [time for s in (path.stat(), path.lstat()) for time in (s.st_mtime_ns, s.st_ctime_ns)]
            if digest and max(times) >= since and sha256_file(path) != digest:
                yield name
        except OSError:
            yield name


def _stamp(path: Path) -> list[int]:
    if path.is_dir():  # its time would change with whatever else is put there, such as the converted data
        names = sorted(file.name for file in path.iterdir() if file.suffix in RELEASED)
        return [len(names), zlib.crc32("/".join(names).encode(errors="surrogateescape"))]
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _outputs() -> list[str]:
    exports = [f"{kind}_{split}.{ending}" for split in SPLITS
               for kind, ending in (("samples", "parquet"), ("sft", "json"), ("rl", "parquet"))]  # fmt: skip
    return [*exports, PRINTS, "card.json"]


def _settings(task: Task, limit: int | None, links: bool) -> str:
    code = hashlib.sha256()
    own = [Path(module.__file__ or "") for module in (labels, prompting, samples, tasks)]
    for file in sorted(Path(mtrl.converters.__file__ or "").parent.rglob("*.py")) + own:
        code.update(file.read_bytes())
    prompts = [prompting.sha256(task, style) for style in prompting.STYLES]
    said = [__version__, code.hexdigest(), task.model_dump(), limit, links, prompts]
    return sha256_bytes(json.dumps(said, sort_keys=True).encode())
