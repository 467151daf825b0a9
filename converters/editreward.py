"""EditReward-Bench of TIGER-Lab (EditScore has another set of this name): which of two edits is better? {2,3,4}pair/.

    id               "f00_1"        what is before the first "_" names the group: the edits of one source image
    instruction      "make the sky red"
    source_image, candidate_1, candidate_2    {bytes, path}
    comparison_type  BvsC           the letters of candidate_1 and candidate_2 in their group; of two edits A and B
    ranking          C>B            so candidate_2 is better; among two edits also A=B        (the row here is made up)
    model_1, model_2, score_1, score_2

A group of K edits is K (K - 1) / 2 rows. The official number of K = 3 and 4 is the share of groups whose rows are all
right; of K = 2 the share of right rows.

source:
  ways: 3               # K: 2, 3 or 4
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, ids, release_folder, settings, table
from mtrl.converters.readers.tables import Record
from mtrl.core.errors import UserError
from mtrl.core.schema import Model

IMAGES = ("source_image", "candidate_1", "candidate_2")
ABOUT = ("model_1", "model_2", "score_1", "score_2", "comparison_type")
COLUMNS = {"id", "instruction", *IMAGES, *ABOUT}


class Source(Model):
    ways: Literal[2, 3, 4]


def rows(task: Task, raw: Path) -> Iterator[Row]:
    ways = settings(task, Source).ways
    name = f"{ways}pair"
    folder = release_folder(raw, "editreward", name) / name
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise UserError(f"{folder} has no parquet files", f"mtrl fetch {task.name} --out raw")
    records = [record for file in files for record in table(file, COLUMNS | {task.label.column}, "test")]
    letters = [["A", "B"] if ways == 2 else str(record["comparison_type"]).split("vs") for record in records]
    better = [(_better(r, task.label.column, two), r.where) for r, two in zip(records, letters, strict=True)]
    for record, name, answer in zip(records, ids(records, "id"), task.verdicts(better), strict=True):
        identifier = str(record["id"])
        yield Row(
            id=name,
            images=tuple(record[column] for column in IMAGES),
            answer=answer,
            file=record.file,
            fields={"instruction": str(record["instruction"] or "").strip()},
            split=record.split,
            group=identifier.split("_")[0] if "_" in identifier else identifier[:10],  # as the official script
            source={column: record[column] for column in (*ABOUT, task.label.column)},
        )


def _better(record: Record, column: str, letters: list[str]) -> str:
    """candidate_1, candidate_2 or tie; `letters` are those of the candidates. Raises UserError for other letters."""
    ranking = str(record[column] or "")
    said = re.fullmatch(r"([A-D]) *([>=]) *([A-D])", ranking.strip())
    if not said or said[1] == said[3] or sorted(letters) != sorted((said[1], said[3])):
        raise UserError(
            f"{record.where}: {column} is {ranking[:80]!r}, and the row compares {' with '.join(letters)[:80]}; the "
            'same two letters were expected, as in "C>B" of B with C',
            f"look at {record.file}: is it the release's own?",
        )
    return "tie" if said[2] == "=" else f"candidate_{letters.index(said[1]) + 1}"
