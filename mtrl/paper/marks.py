"""Whether a number still belongs to what is here now: its samples, its prompt, its limit and its checkpoint.

In: one evaluation's scores and the data folder. Out: a Mark for each difference. What is not here cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mtrl.config import datacard, prompting, samples, task_files
from mtrl.core import hints
from mtrl.core.errors import MtrlError
from mtrl.core.files import sha256_file
from mtrl.evaluate.scores import Scores
from mtrl.evaluate.subject import fingerprint


@dataclass(frozen=True)
class Mark:
    """Why a number may not be of what is here now. `stale`: it certainly is not."""

    reason: str
    stale: bool


def of(one: Scores, task: str, data: Path) -> tuple[Mark, ...]:
    """The marks of one task's numbers; none where they hold."""
    found = _samples(one, task, data)
    if _prompt_changed(one, task):
        found.append(Mark("asked with another prompt than the present one", True))
    if _weights_changed(one):
        found.append(Mark(f"of a checkpoint that {one.checkpoint} no longer holds", True))
    return tuple(found)


def _samples(one: Scores, task: str, data: Path) -> list[Mark]:
    numbers, file = one.tasks[task], samples.path_of(data, task, one.tasks[task].split)
    if file.exists():
        if numbers.samples_sha256 is None:
            record = hints.line("score", one.file.parent)
            return [Mark(f"of samples that are not recorded: {record} records them", False)]
        if numbers.samples_sha256 != _hash(file, file.stat().st_mtime_ns, file.stat().st_size):
            return [Mark(f"of other samples than {data / task} holds now", True)]
        if datacard.path_of(data, task).exists() and (limit := datacard.read(data, task).limit) is not None:
            return [Mark(f"of data that was converted with --limit {limit} ({data / task})", False)]
    if numbers.conversion_limit is not None:
        return [Mark(f"of data that was converted with --limit {numbers.conversion_limit}", False)]
    return []


@lru_cache(maxsize=256)
def _hash(file: Path, modified: int, size: int) -> str:
    return sha256_file(file)


def _prompt_changed(one: Scores, task: str) -> bool:
    """A judge that carries its prompts is asked with those, any other with the present ones of the working
    directory.
    """
    numbers, home = one.tasks[task], Path(one.checkpoint) / task_files.FOLDER
    asked, name = numbers.prompt_sha256, numbers.from_scores.pointwise.task if numbers.from_scores else task
    if asked is None or one.style is None or one.judge is None:
        return False
    if one.judge.trained_on is not None and not home.is_dir():
        return False
    try:
        return prompting.sha256(task_files.load(name, home), one.style) != asked
    except MtrlError:  # the task or its prompt is not here
        return False


def _weights_changed(one: Scores) -> bool:
    """Whether the folder that was scored holds other weights now. A hub id or an endpoint's name cannot change."""
    folder = Path(one.checkpoint)
    if not one.fingerprint or one.fingerprint == one.checkpoint or not (folder / "config.json").exists():
        return False
    try:
        return fingerprint(folder) != one.fingerprint
    except (MtrlError, OSError, ValueError):  # no longer a model that can be read
        return True
