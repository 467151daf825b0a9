"""Helpers of the converter tests: a task from its shipped YAML with other settings, a conversion, and its outputs'
hashes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mtrl.config import samples, tasks
from mtrl.config.samples import Sample
from mtrl.config.tasks import SPLITS, Task
from mtrl.converters.pipeline.convert import convert
from mtrl.core.files import sha256_file
from mtrl.core.schema import validate
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.requests import build

SHARED = Path(__file__).parents[3] / "shared" / "data"  # real files, where a checkout has them beside it


def task_with(name: str, **changes: Any) -> Task:
    """The shipped task with whole keys replaced; {"split": {"protocol": ...}} and label merge."""
    data = tasks.load(name).model_dump(exclude_unset=True)
    for key, value in changes.items():
        data[key] = {**data[key], **value} if key == "split" and key in data else value
    return validate(Task, data, name)


def mos(name: str, when: str) -> Task:
    """An AGIN task whose rule fits a small release."""
    return task_with(name, label={"column": f"MOS_{name[5:]}", "rule": {"when": when, "then": "no"}})


def rows_of(data: Path, task: Task) -> dict[str, list[Sample]]:
    return {split: list(samples.read(data, task.name, split)) for split in SPLITS}


def run(task: Task, raw: Path, data: Path, **options: Any) -> tuple[dict[str, Any], dict[str, list[Sample]]]:
    """The card as it is written, with "unchanged" where nothing was converted; and the samples."""
    done = convert(task, raw, data, **options)
    return {**done.card.model_dump(), **({"unchanged": True} if done.unchanged else {})}, rows_of(data, task)


def asked(task: Task, data: Path) -> dict[str, dict[str, Request]]:
    """What a judge is asked of the test split: {id: {order: request}}."""
    found: dict[str, dict[str, Request]] = {}
    for request in build(task, "sft", data, "test"):
        found.setdefault(request.id, {})[request.order] = request
    return found


def hashes(data: Path) -> dict[str, str]:
    return {
        str(p.relative_to(data)): sha256_file(p) for p in sorted(data.rglob("*")) if p.is_file() and p.suffix != ".lock"
    }


def table_task(folder: Path, records: list[dict[str, Any]], **changes: Any) -> Task:
    """A task over folder/labels.jsonl, written here: columns image, label and what `changes` name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.jsonl").write_text(
        "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8"
    )
    return validate(
        Task,
        {
            "name": "unsafebench",
            "title": "t",
            "capability": "safety",  # a name that has prompts without fields
            "source": {"file": "labels.jsonl"},
            "label": {"column": "label", "values": {"yes": ["1"], "no": ["0"]}},
            **changes,
        },
        "test",
    )
