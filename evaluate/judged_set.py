"""A set of judged images: what `mtrl judge` wrote as .csv or .jsonl, or an evaluation, as rows by task.

Rows that share an image (by content where it is recorded, else by name) or a value of the cluster column are not
independent, and have one cluster. Of an evaluation, only the given order counts, and clusters are its own.
"""

from __future__ import annotations

import fcntl
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mtrl.config.kinds import SKIPPED, UNDECIDED
from mtrl.converters.pipeline.near import components
from mtrl.converters.readers.tables import Record, read_table
from mtrl.core.csv_files import of_cell
from mtrl.core.errors import UserError
from mtrl.core.files import open_regular
from mtrl.evaluate import predictions
from mtrl.evaluate.identity import IDENTITY
from mtrl.evaluate.image_sources import text
from mtrl.evaluate.metrics.prediction import voted

IMAGES = ("image", "image_2", "image_3", "image_4")
CLUSTER = "cluster"
WANTED = "pass what mtrl judge --out wrote (.csv or .jsonl), or the folder of an evaluation"
GOES_ON = "run the same mtrl judge again: it continues"


@dataclass(frozen=True)
class Judged:
    """One image of the set, or one item of several images, and what the judge said."""

    task: str
    id: str
    names: tuple[str, ...]
    """What the file calls its images; () in an evaluation."""
    verdict: str
    """One of the task's verdicts, or a word in place of one, such as INVALID."""
    label: str
    """The right verdict as the file has it, "" where it has none."""
    cluster: str
    """Rows of a task with the same one are not independent."""


@dataclass(frozen=True)
class JudgedSet:
    path: Path
    tasks: dict[str, list[Judged]]
    """Rows by task, in the order of their ids: no number may depend on the order of the file."""
    skipped: Counter[str] = field(default_factory=Counter)
    """By task, the number of rows that were not judged. They are not in `tasks`."""
    asked: dict[str, tuple[str, str]] | None = None
    """By task, the judge's fingerprint and the prompt's sha256; None where the file does not say."""
    choices: dict[str, tuple[str, ...]] | None = None
    """Each task's verdicts; None where the file does not say."""
    escalated: frozenset[str] = frozenset()
    """Tasks with verdicts of a larger judge."""
    home: Path | None = None
    """The folder with the tasks as they were asked (task_files.py); None where the set has none."""


def read(path: Path, column: str | None = None) -> JudgedSet:
    """`column` holds the clusters of a file; default: `cluster`, if it has one. Raises UserError."""
    if not path.is_dir():
        return _of_file(path, column)
    if not (path / IDENTITY).exists() and (path / "eval" / IDENTITY).exists():
        path = path / "eval"
    if column:
        raise UserError(f"--cluster is for a .csv or .jsonl; {path} has clusters of its own", "leave out --cluster")
    found = predictions.load(path)
    rows: dict[str, list[Judged]] = {}
    tasks = found.identity.tasks
    for name, asked in tasks.items():
        if sum(row.task == name for row in found.rows) < asked.requests:
            raise UserError(
                f"{path}: task {name} is not finished: {asked.requests:,} answers were asked for, and it has fewer",
                "run the same mtrl eval again: it continues",
            )
        given = [one for one in voted(found.of_task(name).rows) if one.order == "given"]
        rows[name] = [Judged(name, one.id, (), one.verdict, one.label, one.unit) for one in given]
    return JudgedSet(
        path,
        rows,
        asked={name: (found.identity.checkpoint, one.prompt_sha256) for name, one in tasks.items()},
        choices={name: found.of_task(name).choices for name in tasks},
        home=found.home,
    )


def _of_file(path: Path, column: str | None) -> JudgedSet:
    _check_written(path)
    every: dict[str, list[Record]] = {}
    known: dict[tuple[str, str], Record] = {}
    skipped: Counter[str] = Counter()
    for record in read_table(path):
        if any(not text(record.get(name)) for name in ("id", "task", "verdict", "asked")):
            raise UserError(
                f"{record.where} is not a row of mtrl judge, which has id, task, verdict and asked",
                WANTED,
            )
        if record["verdict"] == SKIPPED:
            skipped[text(record["task"])] += 1
            continue
        key = (text(record["task"]), cell(record, "id"))
        if key in known and known[key].get("escalated") != record.get("escalated"):  # not yet put into one row
            raise UserError(f"{path}: mtrl judge was interrupted while it asked the larger judge", GOES_ON)
        if key in known:
            raise UserError(
                f"{known[key].where} and {record.where} are both {key[1]!r} of task {key[0]}: a label would be of both",
                "judge the table again with another id in each row",
            )
        known[key] = record
        every.setdefault(key[0], []).append(record)
    if not every:
        raise UserError(f"{path} has no verdicts", "mtrl judge IMAGES --tasks NAME --ckpt PATH --out verdicts.csv")
    columns = dict.fromkeys(name for records in every.values() for record in records for name in record)
    if column and column not in columns:
        raise UserError(f"{path} has no column {column!r}", f"pass --cluster with one of these: {', '.join(columns)}")
    tasks = {}
    for name, records in every.items():
        records.sort(key=lambda record: cell(record, "id"))
        first = components(_shared(record, column or CLUSTER) for record in records)
        ids = [cell(record, "id") for record in records]
        tasks[name] = [
            Judged(name, own, image_names(record), _verdict(record), text(record.get("label")), ids[joined])
            for own, record, joined in zip(ids, records, first, strict=True)
        ]
    larger = (name for name, records in every.items() if any(text(one.get("escalated")) for one in records))
    return JudgedSet(path, tasks, skipped, escalated=frozenset(larger))


def _check_written(path: Path) -> None:
    """Raises UserError where `mtrl judge` is writing to the file, or was interrupted within a line."""
    if not path.exists():
        raise UserError(f"{path} does not exist", WANTED)
    if path.suffix not in (".csv", ".jsonl"):
        raise UserError(f"{path} is neither .csv nor .jsonl nor a folder", WANTED)
    try:
        with open_regular(path) as file:
            if path.suffix == ".jsonl" and file.seek(0, 2):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                file.seek(-1, 2)
                if file.read(1) != b"\n":
                    raise UserError(f"the last line of {path} is not complete: mtrl judge was interrupted", GOES_ON)
    except BlockingIOError:
        raise UserError(f"mtrl judge is writing to {path}", "wait for it") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def _shared(record: Record, column: str) -> Iterator[tuple[str, str]]:
    """What rows that are not independent have in common."""
    if value := cell(record, column):
        yield "cluster", value
    if content := text(record.get("content")):
        yield from (("image", one) for one in content.split())
    else:
        yield from (("name", name) for name in image_names(record))


def _verdict(record: Record) -> str:
    """The verdict; of an undecided row what the judge itself said, which an estimate can use."""
    verdict = text(record["verdict"])
    return text(record.get("raw")) or verdict if verdict == UNDECIDED else verdict


def image_names(record: Record) -> tuple[str, ...]:
    """What a row calls its images."""
    return tuple(name for name in (cell(record, column) for column in IMAGES) if name)


def cell(record: Record, column: str) -> str:
    """The text of a cell as it was before a .csv was written, "" where there is none."""
    value = text(record.get(column))
    return of_cell(value) if record.file.suffix == ".csv" else value
