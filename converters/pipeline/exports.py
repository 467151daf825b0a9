"""From samples to the files that trainers read: LLaMA-Factory's JSON and registry, and the RL parquet (EasyR1, TRL).

Both are written row by row, so memory stays flat, and beside their name first, so a killed export leaves nothing half.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from mtrl.config import prompting
from mtrl.config.samples import Sample, card
from mtrl.config.tasks import SPLITS, Task
from mtrl.core.errors import UserError
from mtrl.core.files import read_json, sweep, write_json, written
from mtrl.core.locks import held

RL_ROWS_PER_GROUP = 64
RL_BYTES_PER_GROUP = 32 * 2**20  # what writer and reader hold in memory, a few times over, whatever the size of images


class RlImage(TypedDict):
    bytes: bytes
    path: str


def ground_truth(sample: Sample) -> str:
    """The one string that EasyR1 shows a reward function: JSON {"task", "label", "id"}."""
    return json.dumps({"task": sample.task, "label": sample.answer, "id": sample.id}, ensure_ascii=False)


def write_sft(path: Path, task: Task, samples: Iterable[Sample]) -> None:
    """A JSON array, one row a line: messages, images (relative to the data folder), id, task."""
    render = prompting.renderer(task, "sft")
    with written(path) as beside, beside.open("w", encoding="utf-8") as file:
        file.write("[")
        for index, sample in enumerate(samples):
            row = {
                "messages": [
                    {"role": "user", "content": render(sample)},
                    {"role": "assistant", "content": sample.answer},
                ],
                "images": list(sample.images),
                "id": sample.id,
                "task": sample.task,
            }
            file.write((",\n" if index else "\n") + json.dumps(row, ensure_ascii=False))
        file.write("\n]\n")


def write_rl(path: Path, task: Task, samples: Iterable[Sample], data: Path) -> None:
    """problem, answer, images list<struct<bytes, path>>, id, task; without Hugging Face's Image metadata.

    With that metadata EasyR1 would carry decoded pixels through Ray instead of compressed bytes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    text = pa.string()
    schema = pa.schema([("problem", text), ("answer", text), ("images", pa.list_(image)), ("id", text), ("task", text)])
    render = prompting.renderer(task, "rl")
    with (
        written(path) as beside,
        pq.ParquetWriter(beside, schema, use_dictionary=False, write_statistics=False, compression="none") as writer,
    ):
        rows: list[dict[str, object]] = []
        held = 0
        for sample in samples:
            images = [RlImage(bytes=(data / name).read_bytes(), path=name) for name in sample.images]
            rows.append(
                {"problem": render(sample), "answer": ground_truth(sample), "images": images,
                 "id": sample.id, "task": sample.task}
            )  # fmt: skip
            held += sum(len(image["bytes"]) for image in images)
            if len(rows) == RL_ROWS_PER_GROUP or held >= RL_BYTES_PER_GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows, held = [], 0
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema))


def register(data: Path) -> None:
    """Brings data/dataset_info.json up to date: one entry <task>_<split> for each file. Safe next to other conversions.

    An entry whose file is there stays, although its card is not: that task is being converted, here or on another host.
    """
    registry = data / "dataset_info.json"
    with held(data / ".dataset_info.lock"):
        sweep(data)
        entries = {}
        with contextlib.suppress(UserError, AttributeError):
            entries = {n: e for n, e in read_json(registry).items() if (data / _file(n)).exists()}
        for task in sorted(file.parent.name for file in data.glob("*/card.json")):
            try:
                counts = card(data, task)["counts"]
            except UserError:  # its conversion has just begun, or it is broken
                continue
            for split in SPLITS:
                name = f"{task}_{split}"
                entries.pop(name, None)
                if sum(counts.get(split, {}).values()):
                    entries[name] = {
                        "file_name": _file(name),
                        "formatting": "sharegpt",
                        "columns": {"messages": "messages", "images": "images"},
                        "tags": {"role_tag": "role", "content_tag": "content",
                                 "user_tag": "user", "assistant_tag": "assistant"},
                    }  # fmt: skip
        write_json(registry, dict(sorted(entries.items(), key=lambda entry: _place(entry[0]))))


def _place(entry: str) -> tuple[str, int]:
    task, _, split = entry.rpartition("_")
    return task, SPLITS.index(split) if split in SPLITS else len(SPLITS)


def _file(entry: str) -> str:
    """Where <task>_<split> is, relative to the data folder."""
    task, _, split = entry.rpartition("_")
    return f"{task}/sft_{split}.json"
