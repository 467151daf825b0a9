"""Is a conversion still what it would be? data/<task>/inputs.json, written last, says what it was made from and made.

The release's files by size and time, the folders they lie in by the tables and zips there (a new shard changes that), every
setting and the code by one digest, and the outputs by size. The images in the store are looked up too.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mtrl.converters
from mtrl import __version__, labels, prompting, samples, tasks
from mtrl.converters.rows import Row
from mtrl.errors import UserError
from mtrl.files import read_json, sha256_bytes, write_json
from mtrl.tasks import SPLITS, Task

FILE = "inputs.json"
RELEASED = (".csv", ".jsonl", ".parquet", ".zip")
PRINTS = "fingerprints.json"
LARGE = 1 << 34  # bytes of our own files that hold a line for each image


def snapshot(rows: Iterable[Row], raw: Path) -> dict[str, list[int]]:
    """{path relative to `raw`: [size, time]} of every file that the rows need, and of folders what tables they hold."""
    files = {row.file for row in rows} | {p.container for row in rows for p in row.images if p.container}
    loose = {p.path for row in rows for p in row.images if p.path}
    folders = {file.parent for file in files}
    return {os.path.relpath(path, raw): _stamp(path) for path in sorted(files | loose | folders)}


def record(task: Task, raw: Path, data: Path, limit: int | None, release: dict[str, list[int]]) -> None:
    folder = data / task.name
    outputs = {name: (folder / name).stat().st_size for name in _outputs()}
    write_json(folder / FILE, {"settings": _settings(task, limit), "outputs": outputs, "release": release})


def unchanged(task: Task, raw: Path, data: Path, limit: int | None) -> dict[str, Any] | None:
    """The card of the conversion that is there, if converting again would give the same."""
    folder = data / task.name
    try:
        before = read_json(folder / FILE, limit=LARGE)
        if before["settings"] != _settings(task, limit):
            return None
        for name, size in before["outputs"].items():
            if (folder / name).stat().st_size != size:
                return None
        for name, stamp in before["release"].items():
            if _stamp(raw / name) != stamp:
                return None
        for name in read_json(folder / PRINTS, limit=LARGE):
            (data / name).stat()
        card: dict[str, Any] = read_json(folder / "card.json")
    except (OSError, UserError, KeyError, AttributeError, TypeError):
        return None
    return card


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


def _settings(task: Task, limit: int | None) -> str:
    code = hashlib.sha256()
    own = [Path(module.__file__ or "") for module in (labels, prompting, samples, tasks)]
    for file in sorted(Path(mtrl.converters.__file__ or "").parent.glob("*.py")) + own:
        code.update(file.read_bytes())
    prompts = [prompting.sha256(task, style) for style in prompting.STYLES]
    said = [__version__, code.hexdigest(), task.model_dump(), limit, prompts]
    return sha256_bytes(json.dumps(said, sort_keys=True).encode())
