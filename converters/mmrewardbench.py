"""Multimodal RewardBench (1): which of two answers about an image is better? data/all_data.json and data/images/.

    ID, Category   nocaps_13062, open_generation/correctness_task
    Text, Image    "Please generate a detailed caption of this image.", images/nocaps/13062.jpg
    Output1        "A teapot with a marbled pattern."
    Output2        "A white teapot."
    Better         Output1                                      (the texts and the label here are made up)

scripts/0_download_data.py of the release fetches the images of its sources and writes `Text` into all_data.json:
all_data_release.json has none. 4,711 of the paper's 5,211 rows: Hateful Memes may not be distributed. An image that
is missing is an error, as in that script. source["subset"] is the group of the official score.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, answers, below, ids, release_folder, settings, table
from mtrl.core.schema import Model

FILE = "data/all_data.json"
COLUMNS = {"ID", "Text", "Image", "Output1", "Output2", "Category"}
PARTS = {"safety": ("pairs", "bias", "toxicity"), "reasoning": ("math", "math", "coding")}


class Source(Model):
    """No settings."""


def rows(task: Task, raw: Path) -> Iterator[Row]:
    settings(task, Source)
    file = release_folder(raw, "mmrewardbench", FILE) / FILE
    then = "run scripts/0_download_data.py of the release: it adds Text"
    records = table(file, COLUMNS | {task.label.column}, then=then)
    for record, name, answer in zip(records, ids(records, "ID"), answers(task, records), strict=True):
        question, first, second = (str(record[key] or "").strip() for key in ("Text", "Output1", "Output2"))
        yield Row(
            id=name,
            images=(below(file.parent, str(record["Image"] or "").strip(), record.where),),
            answer=answer,
            file=file,
            fields={"question": question, "answer_1": first, "answer_2": second},
            split="test",
            source={"subset": _subset(str(record["Category"]), str(record["ID"])), "category": record["Category"]},
            reject="" if question else "no question",
        )


def _subset(category: str, name: str) -> str:
    """safety/bias, safety/toxicity, reasoning/math and reasoning/coding by the ID, as scripts/2_get_accuracy.py does;
    of other rows the category itself."""
    if category not in PARTS:
        return category
    prefix, named, other = PARTS[category]
    return f"{category}/{named if name.lower().startswith(prefix) else other}"
