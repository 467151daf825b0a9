"""predictions.jsonl: one line a request, written as answers arrive; and the identity of the evaluation beside it.

Killed anywhere and started again, nothing is asked twice and nothing is lost: a torn last line is dropped, and what is
not in the file is asked. Another checkpoint, prompt, data or sampling in the same folder is refused, never mixed in.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mtrl.config import task_files
from mtrl.config.samples import Key
from mtrl.core.errors import MtrlError, UserError, remedy
from mtrl.core.files import check_folder, json_lines, write_text
from mtrl.core.locks import take
from mtrl.core.schema import validate
from mtrl.evaluate.engines.base import Answer
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.identity import IDENTITY, Identity, read_identity
from mtrl.evaluate.metrics.prediction import Prediction
from mtrl.reward_plugins import judge

FILE = "predictions.jsonl"
# tasks are compared one by one; the others follow from the checkpoint
UNCOMPARED = ("tasks", "path", "run", "trained", "name", "model", "step", "prompts")
UNCOMPARED_OF_TASK = ("requests", "conversion_limit")  # they follow from the limit and the samples


class Evaluation(NamedTuple):
    """What an evaluation folder holds."""

    identity: Identity
    """Which judge was asked what."""
    rows: list[Prediction]
    """Its answers, in the order of their first line in the file."""
    home: Path | None
    """The folder with the tasks and prompts that were asked; None where it was not kept."""


def load(folder: Path, file: str = FILE) -> Evaluation:
    """Raises UserError where there is no evaluation, or a line is not one of its predictions."""
    if not (folder / IDENTITY).exists():
        raise UserError(
            f"{folder} holds no evaluation: there is no {IDENTITY}",
            "score a judge first, by mtrl eval with --ckpt",
        )
    identity = read_identity(folder)
    rows = {row.key: row for row in _rows(folder / file, identity)}
    home = folder / task_files.FOLDER
    return Evaluation(identity, list(rows.values()), home if home.is_dir() else None)


def _rows(file: Path, identity: Identity) -> Iterator[Prediction]:
    """The rows of a predictions file, without a torn last line. Raises UserError for one that was not asked."""
    then = "name the file that mtrl eval wrote, or remove the line, and mtrl eval asks it again"
    for number, line in json_lines(file, then, torn=True, strict=False) if file.exists() else ():
        where = f"{file}, line {number}"
        sure = line.get("confidence") if isinstance(line, dict) else None
        if isinstance(sure, float) and not math.isfinite(sure):
            line["confidence"] = None  # older versions of mtrl wrote NaN for what an endpoint made up
        row = validate(Prediction, line, f"{where} is no prediction", then)
        asked = identity.tasks.get(row.task)
        if asked is None:
            raise UserError(f"{where} answers task {row.task!r}, which {IDENTITY} does not have", then)
        if row.prompt_sha256 not in (None, asked.prompt_sha256):
            raise UserError(f"{where} answers another prompt of task {row.task} than the one in {IDENTITY}", then)
        if row.vote >= identity.sampling.votes:
            raise UserError(f"{where} is vote {row.vote}; {IDENTITY} has {identity.sampling.votes} votes, from 0", then)
        if row.label not in asked.choices or {row.verdict, row.lenient} - {*asked.choices, None}:
            raise UserError(f"{where} has a label or verdict that is neither {' nor '.join(asked.choices)}", then)
        yield row


def of_answer(answer: Answer, style: str, prompt_sha256: str) -> Prediction:
    """What is kept of an answer."""
    request = answer.request
    verdict = judge.parse(answer.response, style, request.choices)
    return Prediction(
        id=request.id,
        task=request.task,
        cluster=request.cluster,
        order=request.order,
        vote=request.vote,
        prompt_sha256=prompt_sha256,
        response=answer.response,
        verdict=verdict,
        lenient=judge.parse_lenient(answer.response, style, request.choices),
        label=request.label,
        confidence=answer.confidence(style, verdict),
        tokens=answer.tokens,
        finish_reason=answer.finish_reason,
        latency=round(answer.latency, 4),
    )


def as_line(row: Prediction) -> str:
    """As in predictions.jsonl."""
    content = {
        "id": row.id,
        "task": row.task,
        "cluster": row.cluster,
        "order": row.order,
        "vote": row.vote,
        "prompt_sha256": row.prompt_sha256,
        "response": row.response,
        **_read_of(row),
        "tokens": row.tokens,
        "finish_reason": row.finish_reason,
        "latency": row.latency,
    }
    return json.dumps(content, ensure_ascii=False) + "\n"


def _read_of(row: Prediction) -> dict[str, Any]:
    """The part of a line that follows from the response."""
    return {
        "verdict": row.verdict,
        "lenient": row.lenient,
        "label": row.label,
        "correct": row.correct,
        "confidence": row.confidence,
    }


def rewrite(file: Path, rows: Iterable[Prediction]) -> None:
    """Writes each row's verdicts and confidence into its line; whatever else a line holds stays as it is."""
    lines = {_key(line): line for _, line in json_lines(file, torn=True, strict=False)}
    changed = ({**lines[row.key], **_read_of(row)} for row in rows)
    write_text(file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in changed))


def _key(line: dict[str, Any]) -> Key:
    return Key(line["task"], line["id"], line["order"], line["vote"])


class Store:
    """The predictions of one evaluation folder, held by one process at a time. Use as a context manager."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        """Raises UserError where the folder holds another evaluation, or another process writes to it."""
        check_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.file = folder, folder / FILE
        self._stream = self.file.open("a+", encoding="utf-8")
        try:
            if not take(self._stream.fileno()):
                raise UserError(f"another mtrl eval is writing to {folder}", "wait for it, or pass another --out")
            self.identity = self._identified(identity)
            self.identity.write(folder)
            self._drop_torn_line()
            self.rows = {row.key: row for row in _rows(self.file, self.identity)}
        except BaseException:
            self._stream.close()
            raise
        self._answered: dict[str, float] = {}  # by task, of this process

    def _identified(self, new: Identity) -> Identity:
        """`new` with what the folder has already. Raises UserError where that is another evaluation."""
        file = self.folder / IDENTITY
        if not file.exists():
            if self.file.stat().st_size:
                raise UserError(
                    f"{self.file} has answers, but {IDENTITY}, which says whose they are, is missing",
                    f"restore {IDENTITY}, rename {FILE}, or pass another --out",
                )
            return new
        old = read_identity(self.folder)
        before, now = old.recorded, new.recorded
        differing = [key for key in now if key not in UNCOMPARED and before.get(key) != now[key]]
        differing += [
            f"task {name}: {key}"
            for name, task in now["tasks"].items()
            for key in task
            if name in old.tasks and key not in UNCOMPARED_OF_TASK and before["tasks"][name].get(key) != task[key]
        ]
        if differing:
            raise UserError(
                f"{self.folder} holds another evaluation; different now: {', '.join(differing)}",
                f"pass another --out, or remove {self.folder}",
            )
        return Identity.model_validate({**before, **now, "tasks": {**before["tasks"], **now["tasks"]}})

    def check(self, asked: Iterable[Request]) -> None:
        """Raises UserError where an answer to a task of `asked` is to nothing that is asked of it."""
        wanted = {request.key: request.label for request in asked}
        names = {key[0] for key in wanted}
        for key, row in self.rows.items():
            if row.task in names and wanted.get(key) != row.label:
                what = f"sample {row.id!r} of task {row.task}, order {row.order}, vote {row.vote}"
                known = f"with label {row.label}, which is {wanted[key]} here" if key in wanted else "not asked here"
                raise UserError(
                    f"{self.file} has an answer to {what}, {known}", "remove its line, or pass another --out"
                )

    def note(self, **about: Any) -> None:
        """Adds to what is recorded of the evaluation; it is never compared."""
        self.identity = self.identity.model_copy(update=about)
        self.identity.write(self.folder)

    def _drop_torn_line(self) -> None:
        """Takes away what a kill left of a last line, before anything is read: its request is asked again."""
        data = self.file.read_bytes()
        if data and not data.endswith(b"\n"):
            self._stream.truncate(data.rfind(b"\n") + 1)

    def append(self, rows: Iterable[Prediction]) -> Iterator[Prediction]:
        """Writes each row as it comes, and passes it on. Raises MtrlError where the disk is full."""
        for row in rows:
            try:
                self._stream.write(as_line(row))
                self._stream.flush()
            except OSError as error:
                raise MtrlError(
                    f"writing {self.file} failed: {error.strerror}", remedy(error, "run the same command: it goes on")
                ) from error
            self.rows[row.key] = row
            first = row.task not in self._answered
            self._answered[row.task] = round(time.time(), 1)
            if first:  # so that it is known even if this process is killed
                self._note_answered()
            yield row

    def _note_answered(self) -> None:
        """eval.json's `answered`: when each task's last answer was generated. Reading answers again does not change it."""
        if self._answered:
            self.note(answered={**self.identity.answered, **self._answered})

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._note_answered()
        with contextlib.suppress(OSError):  # on a full disk, closing tries to write again; `append` has said so
            self._stream.close()
