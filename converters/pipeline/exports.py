"""From samples to files: samples, LLaMA-Factory's JSON, the RL parquet, and LLaMA-Factory's registry.

All are written row by row, so memory does not grow, and under a temporary name first, so a killed export leaves no
part of a file.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypedDict

from mtrl.config import datacard, prompting, samples
from mtrl.config.samples import Sample
from mtrl.config.tasks import SPLITS, Task
from mtrl.core.errors import UserError
from mtrl.core.files import read_json, sweep, write_json, written
from mtrl.core.locks import held
from mtrl.reward_plugins import judge

SFT, RL = "sft_{}.json", "rl_{}.parquet"  # the files of a split, in the task's folder
REGISTRY = "dataset_info.json"  # LLaMA-Factory's, in the data folder
RL_ROWS_PER_GROUP = 64
RL_BYTES_PER_GROUP = 32 * 2**20  # what writer and reader hold in memory, a few times over, whatever the size of images
Add = Callable[[Sample], None]


class RlImage(TypedDict):
    bytes: bytes
    path: str


def ground_truth(sample: Sample, choices: tuple[str, ...]) -> str:
    """The one string that EasyR1 shows a reward function; what it holds is in reward_plugins/judge.py."""
    truth: dict[str, object] = {"task": sample.task, "label": sample.answer, "id": sample.id}
    if choices not in (judge.POINTWISE, judge.PAIRWISE):
        truth["choices"] = choices
    return json.dumps(truth, ensure_ascii=False)


def write_split(
    home: Path, task: Task, split: str, rows: Iterable[Sample], data: Path, annotated: bool = False
) -> Counter[str]:
    """Writes the three files of one split, in one pass, and returns how many samples have which answer.

    `home` is the data folder that is written to, `data` the one with the images; `annotated` as in samples.writer.
    """
    folder = home / task.name
    counted: Counter[str] = Counter()
    with (
        samples.writer(samples.path_of(home, task.name, split), annotated) as keep,
        _sft(folder / SFT.format(split), task) as sft,
        _rl(folder / RL.format(split), task, data) as rl,
    ):
        for sample in rows:
            for add in (keep, sft, rl):
                add(sample)
            counted[sample.answer] += 1
    return counted


@contextlib.contextmanager
def _sft(path: Path, task: Task) -> Iterator[Add]:
    """A JSON array, one row per line: messages, images (relative to the data folder), id, task."""
    render = prompting.renderer(task, "sft")
    with written(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("[")
        before = "\n"

        def add(sample: Sample) -> None:
            nonlocal before
            messages = [{"role": "user", "content": render(sample)}, {"role": "assistant", "content": sample.answer}]
            row = {"messages": messages, "images": list(sample.images), "id": sample.id, "task": sample.task}
            file.write(before + json.dumps(row, ensure_ascii=False))
            before = ",\n"

        yield add
        file.write("\n]\n")


@contextlib.contextmanager
def _rl(path: Path, task: Task, data: Path) -> Iterator[Add]:
    """problem, answer, images list<struct<bytes, path>>, id, task; without Hugging Face's Image metadata.

    With that metadata EasyR1 would carry decoded pixels through Ray instead of compressed bytes.
    """
    import pyarrow as pa

    text, image = pa.string(), pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("problem", text), ("answer", text), ("images", pa.list_(image)), ("id", text), ("task", text)])
    render = prompting.renderer(task, "rl")
    plain = {"use_dictionary": False, "write_statistics": False, "compression": "none"}
    with samples.row_groups(path, schema, RL_ROWS_PER_GROUP, RL_BYTES_PER_GROUP, **plain) as write:

        def add(sample: Sample) -> None:
            images = [RlImage(bytes=(data / name).read_bytes(), path=name) for name in sample.images]
            row = {"problem": render(sample), "answer": ground_truth(sample, task.choices), "images": images}
            write({**row, "id": sample.id, "task": sample.task}, sum(len(image["bytes"]) for image in images))

        yield add


def register(data: Path) -> None:
    """Brings data/dataset_info.json up to date: one entry <task>_<split> for each file. Safe next to other conversions.

    An entry whose file is there stays, although its card is not: that task is being converted, here or on another host.
    """
    registry = data / REGISTRY
    with held(data / ".dataset_info.lock"):
        sweep(data)
        entries = {}
        with contextlib.suppress(UserError, AttributeError):
            entries = {n: e for n, e in read_json(registry).items() if (data / _file(n)).exists()}
        for task in sorted(file.parent.name for file in data.glob(f"*/{datacard.FILE}")):
            try:
                counts = datacard.read(data, task).counts
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
    return f"{task}/{SFT.format(split)}"
