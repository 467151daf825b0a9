"""EvalMuse-40K: how well does an image follow its prompt, and does it show an element of it? train_list.json and
images.zip, which the release has in parts: cat images.zip.part-a? > images.zip

    prompt_id, prompt  00012, "A puffin on a red boat"          type: real or synth
    img_path           SDXL-Turbo/00012.png
    total_score        [4, 5, 4]                                1 to 5 by each of 3 or 6 raters
    element_score      {"puffin (animal)": [1, 1, 1], "red (color)": [0, 1, 0]}     0 or 1 by each rater
    promt_meaningless, split_confidence, attribute_confidence, fidelity_label       (the row here is made up)

The label is the mean of the ratings, as in the authors' process_train.py: a score's is rounded by the task, and an
element is shown where half of its raters or more say so, as in their evaluate.py. Ratings that are null do not count.
Without any, the label is "none". test.json has no labels. A row's group is its prompt.

source:
  ask: score       # score: one row per image. elements: one row per element of its prompt
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, answers, ids, release_folder, settings, table
from mtrl.converters.readers.archive import Archive
from mtrl.converters.readers.tables import Record
from mtrl.core.errors import UserError
from mtrl.core.parsing import parse_json
from mtrl.core.schema import Model

FILE, IMAGES = "train_list.json", "images.zip"
COLUMNS = {"prompt_id", "prompt", "type", "img_path", "total_score", "element_score", "promt_meaningless"}
NONE = "none"  # the label of a row that no rater has rated


class Source(Model):
    ask: Literal["score", "elements"]


def rows(task: Task, raw: Path) -> Iterator[Row]:
    ask = settings(task, Source).ask
    folder = release_folder(raw, "evalmuse", FILE)
    if not (folder / IMAGES).is_file():
        parts = folder / "images.zip.part-a?"
        raise UserError(f"no {IMAGES} in {folder}: the release has it in parts", f"cat {parts} > {folder / IMAGES}")
    archive = Archive(folder / IMAGES)
    asked = [part for record in table(folder / FILE, COLUMNS) for part in _rated(record, ask, task.label.column)]
    numbers = task.numbers(record[task.label.column] for record in asked)
    for record, name, answer, mean in zip(asked, ids(asked, "name"), answers(task, asked), numbers, strict=True):
        yield Row(
            id=name,
            images=(archive.picture(str(record["img_path"])),),
            answer=answer,
            file=record.file,
            fields={"caption": str(record["prompt"]).strip(), **record["fields"]},
            group=str(record["prompt_id"]),
            source={"subset": record["type"], "ratings": record["ratings"], "meaningless": record["promt_meaningless"]},
            score=mean,
        )


def _rated(record: Record, ask: str, column: str) -> Iterator[Record]:
    """The record, or one for each element, with the mean of the ratings in `column`; NONE where there are none."""
    image = str(record["img_path"])
    if ask == "score":
        yield _part(record, column, record["total_score"], image, {})
        return
    elements = record["element_score"]
    if isinstance(elements, str):  # as the data card has it
        elements = parse_json(elements.encode(), record.where)
    for element, ratings in (elements or {}).items():
        yield _part(record, column, ratings, f"{image} {element}", {"element": element})


def _part(record: Record, column: str, ratings: Any, name: str, fields: dict[str, str]) -> Record:
    given = [rating for rating in ratings or () if rating is not None]
    mean = fmean(given) if given else NONE
    cells = {**record, column: mean, "ratings": ratings, "name": name, "fields": fields}
    return Record(cells, record.file, record.number)
