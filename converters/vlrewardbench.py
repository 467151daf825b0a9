"""VL-RewardBench: which of two answers about an image is better? data/test-*.parquet of the pinned revision.

    id             RLAIF-V-1234         not unique; its prefix says which third of the benchmark the row is in
    query, image   "What is on the table?", {bytes, path}
    response       ["A cup.", "Two cups and a spoon."]
    human_ranking  [0, 1]               the rank of each response: 0 is better
    models, judge, rationale, query_source, ground_truth       (the row here is made up)

Nearly all rankings are [0, 1], so the order shown is drawn by id. How many are not differs by revision. The official
score is of three groups, source["subset"]: general, hallucination and reasoning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, answers, ids, release_folder, settings, table
from mtrl.core.schema import Model

FILE = "data/test-00000-of-00001.parquet"
COLUMNS = {"id", "query", "image", "response", "human_ranking", "query_source", "models"}
SUBSETS = {
    **dict.fromkeys(("RLAIF", "RLHF", "hallucination"), "hallucination"),
    **dict.fromkeys(("mathverse", "mmmu"), "reasoning"),
}  # by the id up to its first - or _; every other id is "general"


class Source(Model):
    """No settings."""


def rows(task: Task, raw: Path) -> Iterator[Row]:
    settings(task, Source)
    file = release_folder(raw, "vlrewardbench", FILE) / FILE
    records = table(file, COLUMNS | {task.label.column})
    for record, name, answer in zip(records, ids(records, "id"), answers(task, records), strict=True):
        texts = [str(text or "").strip() for text in record["response"] or ()]
        first, second = texts if len(texts) == 2 else ("", "")
        yield Row(
            id=name,
            images=(record["image"],),
            answer=answer,
            file=file,
            fields={
                "question": str(record["query"] or "").replace("<image>\n", "").strip(),  # as the authors' own code
                "answer_1": first,
                "answer_2": second,
            },
            split="test",
            source={
                "subset": SUBSETS.get(re.split("[-_]", str(record["id"]))[0], "general"),
                "query_source": record["query_source"],
                "models": record["models"],
            },
            reject="" if len(texts) == 2 else "not two responses",
        )
