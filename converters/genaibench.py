"""GenAI-Bench (TIGER-Lab): which of two generated or edited images do people vote for? image_{generation,edition}/.

    image_generation   prompt "a red cube"
                       left_image, right_image {bytes, path}                  left_model, right_model
    image_edition      source_prompt "a cube"   target_prompt "a red cube"   instruct_prompt "make the cube red"
                       source_image, left_output_image, right_output_image    left_model, right_model
    both               vote_type    leftvote, rightvote, tievote or bothbad_vote          (the texts are made up)

The official set is the split test_v1: 1,735 and 919 rows. The split `test` is another set, of other numbers. A row has
no id: its number, from 0, is what the official results call idx. The official scorer takes A=B as right for both
kinds of tie, so they are one verdict. Some pairs were voted on several times.

source:
  subset: generation    # generation or edition
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, answers, release_folder, settings, table
from mtrl.core.errors import UserError
from mtrl.core.schema import Model

IMAGES = {
    "generation": ("left_image", "right_image"),
    "edition": ("source_image", "left_output_image", "right_output_image"),
}
FIELDS = {
    "generation": {"caption": "prompt"},
    "edition": {
        "instruction": "instruct_prompt",
        "source_caption": "source_prompt",
        "target_caption": "target_prompt",
    },
}
MODELS = ("left_model", "right_model")


class Source(Model):
    subset: Literal["generation", "edition"]


def rows(task: Task, raw: Path) -> Iterator[Row]:
    subset = settings(task, Source).subset
    images, fields = IMAGES[subset], FIELDS[subset]
    folder = release_folder(raw, "genaibench", f"image_{subset}") / f"image_{subset}"
    files = sorted(folder.glob("test_v1-*.parquet"))
    if not files:
        raise UserError(f"{folder} has no test_v1-*.parquet", f"mtrl fetch {task.name} --out raw")
    wanted = {*images, *fields.values(), *MODELS, task.label.column}
    records = [record for file in files for record in table(file, wanted, "test")]
    for index, (record, answer) in enumerate(zip(records, answers(task, records), strict=True)):
        texts = {name: str(record[column] or "").strip() for name, column in fields.items()}
        yield Row(
            id=str(index),
            images=tuple(record[column] for column in images),
            answer=answer,
            file=record.file,
            fields=texts,
            split=record.split,
            group=next(iter(texts.values())),
            source={"vote": record[task.label.column], "models": [record[name] for name in MODELS]},  # left and right
        )
