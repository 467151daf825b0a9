"""The task YAMLs and prompts that a judge is asked with, kept together: task_files/recipes/tasks/*.yaml and
task_files/prompts/**.

A run keeps those that it was started with in inputs/task_files, an export carries them, and an evaluation keeps those
that it asked with. So a judge is asked as it was trained, whatever is in the working directory by then, and on any
machine.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from mtrl.config import prompting, tasks
from mtrl.config.tasks import Task
from mtrl.core import search_path
from mtrl.core.errors import UserError
from mtrl.core.files import sha256_file, written

FOLDER = "task_files"


def write(chosen: Iterable[Task], home: Path) -> None:
    """Copies the YAML and the prompts of both styles of every task into `home`. Raises UserError where one is
    missing."""
    for task in chosen:
        wanted = {home / "prompts" / task.prompt_file(s): prompting.template_path(task, s) for s in prompting.STYLES}
        wanted[tasks.file_in(home, task.name)] = (
            tasks.file_in(task.home, task.name)
            if task.home
            else search_path.find("recipes", f"tasks/{task.name}.yaml", "task")
        )
        for target, source in wanted.items():
            with written(target) as temporary:
                shutil.copyfile(source, temporary)


def hashes(home: Path) -> dict[str, str]:
    """{path relative to the folder that holds `home`: sha256} of all its files; {} where there is no such folder."""
    files = sorted(file for file in home.rglob("*") if file.is_file())
    return {file.relative_to(home.parent).as_posix(): sha256_file(file) for file in files}


def load(name: str, home: Path | None) -> Task:
    """The task as `home` has it, else as the working directory or mtrl has it. Raises UserError."""
    return tasks.load(name, home if home and tasks.file_in(home, name).is_file() else None)


def local(name: str) -> Task | None:
    """The task as the working directory or mtrl has it; None where they have none that can be read."""
    try:
        return tasks.load(name)
    except UserError:
        return None


def differing(task: Task, other: Task, style: str) -> list[str]:
    """What is not the same in two tasks of one name: keys of the YAML, and "the prompt"."""
    keys = [key for key in type(task).model_fields if getattr(task, key) != getattr(other, key)]
    try:
        same = prompting.sha256(task, style) == prompting.sha256(other, style)
    except UserError:  # one has no prompt
        same = False
    return [*keys, *([] if same else [f"the {style} prompt"])]
