"""MLLM-as-a-Judge: answers of models about an image. Benchmark/{score,pair,batch}.jsonl and image/*.jpg.

    score   score_id 14, name "gpt4", answer "A snowboarder on a rail.", human "4"             1 to 5, number or text
    pair    pair_id 5, answer1 {name, answer}, answer2 {name, answer}, human "A"               A, B, or C for a tie
    batch   answers [{name, answer}, ...], human "CDAB"                                        the best first
    all     id, instruction, image_path "103.jpg" or "image/200.jpg", original_dataset         (made up in part)

Some rows have human_answer in place of human; -1 is a row without a label. `id` is neither unique nor the image's
number, so rows are named by score_id and pair_id. A batch becomes a row for each two of its answers.

source:
  subset: pair     # score, pair or batch
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Literal

from mtrl.config.tasks import Task
from mtrl.converters.base import Row, answers, below, ids, need_columns, release_folder, settings
from mtrl.converters.readers.tables import Record, read_table
from mtrl.core.schema import Model

LABELS = ("human", "human_answer")
INCOMPLETE = "incomplete"
COLUMNS = {"id", "instruction", "image_path", "original_dataset"}
OWN = {"score": {"score_id", "answer"}, "pair": {"pair_id", "answer1", "answer2"}, "batch": {"answers"}}

KEPT = {"subset": "original_dataset", "id": "id", "ranking": "ranking"}  # name in Sample.source, and key


class Source(Model):
    subset: Literal["score", "pair", "batch"]


def rows(task: Task, raw: Path) -> Iterator[Row]:
    subset = settings(task, Source).subset
    name = f"Benchmark/{subset}.jsonl"
    folder = release_folder(raw, "mllmjudge", name)
    records = [_labelled(record, subset) for record in read_table(folder / name)]
    asked = [part for record in records for part in (_pairs(record) if subset == "batch" else [record])]
    names = ids(asked, "pair" if subset == "batch" else f"{subset}_id")
    numbers = task.numbers(record[task.label.column] for record in asked)
    for record, identifier, answer, number in zip(asked, names, answers(task, asked), numbers, strict=True):
        yield Row(
            id=identifier,
            images=(below(folder / "image", str(record["image_path"]).removeprefix("image/"), record.where),),
            answer=answer,
            file=record.file,
            fields={"question": str(record["instruction"]).strip(), **_answers(record, subset)},
            split="test",
            source={key: record[column] for key, column in KEPT.items() if column in record},
            score=number,
        )


def _labelled(record: Record, subset: str) -> Record:
    """The record with its label in `human`. Raises UserError for one that lacks a key."""
    if LABELS[1] in record:
        record.setdefault(LABELS[0], record[LABELS[1]])
    need_columns(record.where, set(record), COLUMNS | OWN[subset] | {LABELS[0]})
    return record


def _answers(record: Record, subset: str) -> dict[str, str]:
    if subset == "score":
        return {"response": _text(record["answer"])}
    return {"answer_1": _text(record["answer1"]), "answer_2": _text(record["answer2"])}


def _text(answer: Any) -> str:
    return str(answer["answer"] if isinstance(answer, dict) else answer).strip()


def _pairs(record: Record) -> Iterator[Record]:
    """A batch as pairs in the order of its answers, with `human` first or second: the answer that is ranked higher.

    A ranking that does not name every answer once says nothing of them: INCOMPLETE, or -1 where there is none.
    """
    ranking = str(record["human"]).strip()
    letters = ascii_uppercase[: len(record["answers"])]
    whole = sorted(ranking) == sorted(letters)
    for one, other in combinations(range(len(letters)), 2):
        label = ranking if ranking == "-1" else INCOMPLETE
        if whole:
            label = "first" if ranking.index(letters[one]) < ranking.index(letters[other]) else "second"
        cells = {
            **record,
            "pair": f"{record['id']}-{letters[one]}{letters[other]}",
            "answer1": record["answers"][one],
            "answer2": record["answers"][other],
            "ranking": ranking,
            LABELS[0]: label,
        }
        yield Record(cells, record.file, record.number)
