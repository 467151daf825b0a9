"""MMRB2 (Multimodal RewardBench 2): which of two answers do people prefer? {t2i,edit}/*.parquet on Hugging Face.

    pair_id                               oneigbench_124_-8004320511907750318_imagen4_4116_imagen4_116
    prompt_text, prompt_images            "A poster that ...", []       of an edit "<image_1> Make ...", [{bytes, path}]
    response_a_images, response_b_images  [{bytes, path}], [{bytes, path}]
    response_a_model, response_b_model    imagen4, imagen4
    prompt_source, prompt_metadata        oneigbench, '{"id": "124", "category": "Text_Rendering"}'
    chosen, human_annotations             "B", "[2, 2, 1]"              (the prompt here is made up)

chosen is A or B, in either case: the side of the mean of three ratings from 1 to 6; 4 and above mean A. There
are no ties. A prompt is known by its source, category and id: ids recur in other categories. Pairs of an edit that has
several source images, or several images on a side, do not fit the task: they are rejected and counted in card.json.

source:
  subset: t2i           # t2i (text to image) or edit
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, release_folder, settings, table
from mtrl.converters.readers.picture import Picture
from mtrl.converters.readers.tables import Record
from mtrl.core.errors import UserError
from mtrl.core.schema import Model

SIDES = ("response_a_images", "response_b_images")
COLUMNS = {"pair_id", "prompt_text", "prompt_images", *SIDES, "response_a_model", "response_b_model",
           "prompt_source", "prompt_metadata", "human_annotations"}  # fmt: skip
SOURCES = {"t2i": 0, "edit": 1}  # images in the prompt
FIELDS = {"t2i": "caption", "edit": "instruction"}


class Source(Model):
    subset: Literal["t2i", "edit"]


def rows(task: Task, raw: Path) -> Iterator[Row]:
    subset = settings(task, Source).subset
    folder = release_folder(raw, "mmrb2", subset) / subset
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise UserError(f"{folder} has no parquet files", f"mtrl fetch {task.name} --out raw")
    records = [record for file in files for record in table(file, COLUMNS | {task.label.column}, "test")]
    chosen = [(str(record[task.label.column] or "").strip().upper(), record.where) for record in records]
    for record, answer in zip(records, task.verdicts(chosen), strict=True):
        prompt, a, b = (_pictures(record, name) for name in ("prompt_images", *SIDES))
        about = _json(record, "prompt_metadata", dict)
        yield Row(
            id=str(record["pair_id"]),
            images=(*prompt[: SOURCES[subset]], *a[:1], *b[:1]),
            answer=answer,
            file=record.file,
            fields={FIELDS[subset]: _text(str(record["prompt_text"] or ""))},
            split=record.split,
            group="/".join(str(part) for part in (record["prompt_source"], about.get("category", ""), about.get("id"))),
            source={
                "prompt_source": record["prompt_source"],
                "prompt_metadata": about,
                "models": [record["response_a_model"], record["response_b_model"]],  # A and B of the release
                "human_annotations": _json(record, "human_annotations", list),
            },
            reject=_unfit(len(prompt), SOURCES[subset], len(a), len(b)),
        )


def _pictures(record: Record, column: str) -> list[Picture]:
    found = record[column] or []
    if not isinstance(found, list) or not all(isinstance(picture, Picture) for picture in found):
        raise UserError(f"{record.where}: {column} is {str(found)[:80]!r}; a list of images was expected")
    return found


def _unfit(sources: int, wanted: int, a: int, b: int) -> str:
    """Why a pair does not fit the task; "" where it does."""
    if sources != wanted:
        return f"{sources} images in the prompt, not {wanted}"
    return "" if a == b == 1 else "not one image on each side"


def _text(prompt: str) -> str:
    """The prompt without the markers of its images; one inside a sentence is left as words."""
    parts = (part.strip() for part in re.split(r"<image_\d+>", prompt))
    return " [source image] ".join(part for part in parts if part)


def _json(record: Record, column: str, kind: type) -> Any:
    """The cell's JSON, which is of this kind; an empty cell is an empty one."""
    with contextlib.suppress(ValueError, TypeError):
        found = json.loads(record[column]) if record[column] else kind()
        if isinstance(found, kind):
            return found
    raise UserError(f"{record.where}: {column} is {str(record[column])[:80]!r}; a JSON {kind.__name__} was expected")
