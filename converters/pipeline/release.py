"""The rows of a release, from the task's converter: a module of mtrl.converters, or a file of the user's own.

A file (`converter: ./mybench.py`) is code, and runs with the user's rights. So it is looked for below the working
directory only, and nothing but `rows` and `labels` runs it, that is `mtrl convert` and `mtrl fit-labels`. The task
YAML of an export never makes it run.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import mtrl.converters
from mtrl.config.tasks import Task
from mtrl.converters.base import Row
from mtrl.converters.readers.picture import Picture
from mtrl.converters.readers.tables import Record
from mtrl.core.errors import MtrlError, UserError, nearest
from mtrl.core.files import read_bytes


def rows(task: Task, raw: Path) -> list[Row]:
    """The rows in the release's order. Raises UserError for a converter that is missing or fails."""
    found = list(_called(task, "rows", raw))
    if odd := next(filter(None, map(_mistake, found)), ""):
        raise UserError(f"{_yaml(task)}: converter {task.converter} gives {odd}", "correct the converter")
    return found


def labels(task: Task, raw: Path) -> list[Record]:
    """The columns that may hold the label, row by row. Raises UserError, also for a converter without `labels`."""
    return list(_called(task, "labels", raw))


def code(task: Task) -> bytes:
    """The text of the user's own converter; b"" for one of mtrl's. Raises UserError where the file is missing."""
    return read_bytes(_file(task)) if task.own_converter else b""


def _mistake(row: object) -> str:
    """What is not of the type that Row says; "" where all is well."""
    if not isinstance(row, Row):
        return f"{row!r:.80}; a Row was expected"
    texts = {"id": row.id, "answer": row.answer, "group": row.group, "reject": row.reject}
    texts |= {f"fields.{name}": text for name, text in row.fields.items()}
    if odd := [name for name, text in texts.items() if not isinstance(text, str)]:
        return f"row {row.id}: {odd[0]} is {texts[odd[0]]!r:.80}; text was expected"
    if not isinstance(row.images, tuple) or not all(isinstance(picture, Picture) for picture in row.images):
        return f"row {row.id}: images is {row.images!r:.80}; a tuple of Pictures was expected"
    return ""


def _called(task: Task, function: str, raw: Path) -> Iterator[Any]:
    module = _own(task) if task.own_converter else _shipped(task)
    if not hasattr(module, function):
        raise UserError(
            f"{_yaml(task)}: converter {task.converter} has no function {function}(task, raw)",
            "docs/own-task.md shows a converter",
        )
    try:
        yield from getattr(module, function)(task, raw)
    except MtrlError:
        raise
    except Exception as error:
        if not task.own_converter:
            raise
        raise _failed(_file(task), error) from error


def _shipped(task: Task) -> ModuleType:
    names = {module.name for module in pkgutil.iter_modules(mtrl.converters.__path__) if not module.ispkg}
    modules = {name: importlib.import_module(f"mtrl.converters.{name}") for name in names}
    known = [name for name, module in modules.items() if hasattr(module, "rows")]
    if task.converter not in known:
        raise UserError(
            f"{_yaml(task)}: there is no converter {task.converter!r}.{nearest(task.converter, known)}",
            f"for a file of your own write its path: converter: ./{task.converter}.py",
        )
    return modules[task.converter]


def _own(task: Task) -> ModuleType:
    """Runs the file. Not imported: Python would keep compiled code next to it, and may take that for the file's."""
    path, module = _file(task), ModuleType(f"converter of {task.name}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pydantic look up the module of a class
    try:
        exec(compile(read_bytes(path), path, "exec"), module.__dict__)
    except MtrlError:
        raise
    except (Exception, SystemExit) as error:
        raise _failed(path, error) from error
    return module


def _file(task: Task) -> Path:
    if task.home is not None:
        raise UserError(f"task {task.name} comes from {task.home}: code of an export is never run")
    path = Path.cwd() / task.converter
    if not path.is_file():
        raise UserError(f"{_yaml(task)}: there is no converter {path}", "it is looked for in the working directory")
    return path


def _failed(path: Path, error: BaseException) -> UserError:
    """Names the last line of the file that the error passed through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return UserError(
        f"{path}{f', line {line}' if line else ''}: {type(error).__name__}: {said}", "correct the converter"
    )


def _yaml(task: Task) -> str:
    return f"recipes/tasks/{task.name}.yaml"
