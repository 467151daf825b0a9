"""Would a conversion give again what is there? data/<task>/inputs.json, written last, says what was read and written.

Made from: the rows as the converter gives them, every setting and the code, in one digest; the release's tables by
sha256; its images and archives by size and time. Made: files by sha256, which a stored image has for a name. A file
that was made is hashed again only if the file system says that it was changed after inputs.json was written (its
times are the kernel's, and a renamed or linked file gets a new one too).
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import mtrl.converters
from mtrl import __version__
from mtrl.config import datacard, label_rule, labels, majority, prompting, samples, tasks
from mtrl.config.datacard import DataCard
from mtrl.config.tasks import SPLITS, Task
from mtrl.converters.base import Row
from mtrl.converters.pipeline import exports, release
from mtrl.core.errors import UserError
from mtrl.core.files import LARGE, read_json, sha256_bytes, sha256_file, write_json

FINGERPRINTS = "fingerprints.json"
CODE = (datacard, label_rule, labels, majority, prompting, samples, tasks)  # next to all of mtrl.converters
Stamp = str  # a sha256, or size and time of change in ns; "" for a file that is not there


@dataclass(frozen=True)
class Inputs:
    """What a conversion is made from."""

    raw: str
    """The folder of the releases, relative to the data folder: for the commands that messages name, not compared."""
    settings: str
    """The sha256 of the rows, the task, the prompts, the options and the code."""
    release: dict[str, Stamp]
    """The files of the release, by path relative to the folder of the releases."""


def tables(rows: Iterable[Row]) -> dict[Path, str]:
    """{file: sha256} of the files with the rows' labels. Raises UserError for one that cannot be read."""
    try:
        return {file: sha256_file(file) for file in sorted({row.file for row in rows})}
    except OSError as error:
        raise UserError(f"{error.filename}, the file of some rows, cannot be read: {error.strerror}") from None


def inputs(
    task: Task, raw: Path, data: Path, rows: list[Row], tables: dict[Path, str], limit: int | None, links: bool
) -> Inputs:
    """Raises UserError for a prompt that is missing or does not fit."""
    archives = {p.container for row in rows for p in row.images if p.container}
    loose = {p.path for row in rows for p in row.images if p.path}
    stamps: dict[Path, Stamp] = {path: _stamp(path) for path in loose | archives}
    files = {os.path.relpath(path, raw): stamp for path, stamp in sorted({**stamps, **tables}.items())}
    return Inputs(os.path.relpath(raw, data), _settings(task, rows, limit, links), files)


def record(task: Task, data: Path, made_from: Inputs) -> None:
    outputs = {name: sha256_file(data / task.name / name) for name in _outputs()}
    write_json(data / task.name / datacard.INPUTS, {**asdict(made_from), "outputs": outputs})


def unchanged(task: Task, data: Path, made_from: Inputs) -> DataCard | None:
    """The card of the conversion that is there, if converting again would give the same."""
    folder = data / task.name
    try:
        before = read_json(folder / datacard.INPUTS, limit=LARGE)
        if before["settings"] != made_from.settings or before["release"] != made_from.release:
            return None
        names = [*(f"{task.name}/{name}" for name in _outputs()), *read_json(folder / FINGERPRINTS, limit=LARGE)]
        if next(altered(data, task.name, names), None):
            return None
        return datacard.read(data, task.name)
    except (OSError, UserError, KeyError, AttributeError, TypeError):
        return None


def written(data: Path, task: str) -> dict[str, str] | None:
    """{file below the data folder: sha256} of what the conversion wrote; None where it did not finish."""
    try:
        outputs = read_json(data / task / datacard.INPUTS, limit=LARGE)["outputs"]
        return {f"{task}/{name}": digest for name, digest in outputs.items() if isinstance(digest, str)} or None
    except (UserError, KeyError, AttributeError, TypeError):
        return None


def altered(data: Path, task: str, names: Iterable[str]) -> Iterator[str]:
    """The `names` (files of the task, stored images) that are missing, or not what the conversion wrote."""
    outputs = written(data, task) or {}
    since = (data / task / datacard.INPUTS).stat().st_mtime_ns if outputs else 0
    for name in names:
        digest = outputs.get(name)
        if digest is None and name.startswith("images/"):
            digest = name.rpartition("/")[2].partition(".")[0]
        path = f"{data}/{name}"  # a Path would cost as much as looking at the file
        try:
            if _touched(path) >= since and digest and sha256_file(Path(path)) != digest:
                yield name
        except OSError:
            yield name


def _touched(path: str) -> int:
    """When the file or the link was changed last, in ns, as the file system says. Raises OSError."""
    link = os.lstat(path)
    file = os.stat(path) if stat.S_ISLNK(link.st_mode) else link
    return max(link.st_mtime_ns, link.st_ctime_ns, file.st_mtime_ns, file.st_ctime_ns)


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except (OSError, ValueError):  # missing; ValueError: a NUL in the name
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _outputs() -> list[str]:
    rows = [samples.path_of(Path(), "", split).name for split in SPLITS]
    made = [name.format(split) for name in (exports.SFT, exports.RL) for split in SPLITS]
    return [*rows, *made, FINGERPRINTS, datacard.FILE]


def _settings(task: Task, rows: list[Row], limit: int | None, links: bool) -> str:
    given = hashlib.sha256(release.code(task))
    own = [Path(module.__file__ or "") for module in CODE]
    for file in sorted(Path(mtrl.converters.__file__ or "").parent.rglob("*.py")) + own:
        given.update(file.read_bytes())
    for row in rows:
        about = (row.id, row.answer, row.split, row.group, row.reject, row.fields, row.source, row.annotators)
        given.update(repr((*about, [picture.name for picture in row.images])).encode(errors="surrogateescape"))
    prompts = [prompting.sha256(task, style) for style in prompting.STYLES]
    said = [__version__, given.hexdigest(), task.model_dump(), limit, links, prompts]
    return sha256_bytes(json.dumps(said, sort_keys=True).encode())
