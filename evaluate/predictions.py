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
from typing import Annotated, Any, Literal

from pydantic import Field

from mtrl.config import task_files, tasks
from mtrl.config.recipe_types import METHODS
from mtrl.core import targets
from mtrl.core.errors import MtrlError, UserError, remedy
from mtrl.core.files import json_lines, read_object, write_json
from mtrl.core.locks import take
from mtrl.core.schema import Stored, validate
from mtrl.evaluate.engines import confidence
from mtrl.evaluate.engines.base import Answer
from mtrl.evaluate.engines.request import Key, Request
from mtrl.reward_plugins import judge

FILE, IDENTITY = "predictions.jsonl", "eval.json"
UNCOMPARED = (
    "tasks",
    "path",
    "run",
    "trained",
    "name",
    "model",
    "step",
    "prompts",
)  # tasks one by one; the others follow from the checkpoint
OTHER = "score it again by mtrl eval, with another --out; another version of mtrl may have written it"


class _Sampling(Stored):
    votes: int = Field(ge=1)
    max_tokens: int = 0
    temperature: float = 0.0
    confidence: bool = False


class _Asked(Stored):
    """What eval.json says of one task."""

    split: Literal["train", "val", "test"]
    prompt_sha256: str
    samples_sha256: str
    limit: int | None
    conversion_limit: int | None = None
    requests: int = Field(ge=1)
    choices: list[str] = Field(min_length=2, max_length=2)


class Identity(Stored):
    """eval.json, as far as it is read."""

    checkpoint: str = ""
    path: str
    name: str | None = None
    model: str | None = None
    step: int | None = None
    run: str | None = None
    trained: list[str] = []
    prompts: str = ""
    method: Literal[*METHODS]  # type: ignore[valid-type]
    style: Literal["sft", "rl"]
    image: dict[str, int] | None = None
    sampling: _Sampling
    tasks: dict[Annotated[str, Field(pattern=f"^{tasks.NAME}$")], _Asked]
    answered: dict[str, float] = {}
    engine: dict[str, Any] = {}


class _Row(Stored):
    """A line of predictions.jsonl, as far as it is read."""

    id: str
    task: str
    order: Literal["given", "turned"]
    vote: int = Field(ge=0)
    response: str
    verdict: str | None
    lenient: str | None
    label: str
    cluster: str = ""
    confidence: float | None = Field(None, ge=0, le=1)
    tokens: int = 0
    finish_reason: str = ""
    latency: float = 0.0


def read_identity(folder: Path) -> dict[str, Any]:
    """eval.json. Raises UserError where it is damaged."""
    file = folder / IDENTITY
    found = read_object(file, OTHER)
    validate(Identity, found, str(file), OTHER)
    return found


def _rows(file: Path, identity: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of a predictions file, without a torn last line. Raises UserError for one that `identity` did not ask for."""
    asked, votes = identity["tasks"], identity["sampling"]["votes"]
    then = "name the file that mtrl eval wrote, or remove the line, and mtrl eval asks it again"
    for number, row in json_lines(file, then, torn=True, strict=False) if file.exists() else ():
        where = f"{file}, line {number}"
        sure = row.get("confidence") if isinstance(row, dict) else None
        if isinstance(sure, float) and not math.isfinite(sure):
            row["confidence"] = None  # older versions of mtrl wrote NaN for what an endpoint made up
        validate(_Row, row, f"{where} is no prediction", then)
        if row["task"] not in asked:
            raise UserError(f"{where} answers task {row['task']!r}, which {IDENTITY} does not hold", then)
        choices = asked[row["task"]]["choices"]
        if row.get("prompt_sha256", prompt := asked[row["task"]]["prompt_sha256"]) != prompt:
            raise UserError(
                f"{where} answers another prompt of task {row['task']} than {IDENTITY} says was asked", then
            )
        if row["vote"] >= votes:
            raise UserError(f"{where} is vote {row['vote']}, and {IDENTITY} says that {votes} were asked, from 0", then)
        if row["label"] not in choices or {row["verdict"], row["lenient"]} - {*choices, None}:
            raise UserError(f"{where} has a label or verdict that is neither {' nor '.join(choices)}", then)
        yield row


def key_of(row: dict[str, Any]) -> Key:
    return (row["task"], row["id"], row["order"], row["vote"])


def row_of(answer: Answer, style: str, prompt_sha256: str) -> dict[str, Any]:
    """What is kept of an answer. `verdict` is the strict parse, null where invalid; `lenient` stands beside it."""
    request = answer.request
    verdict = judge.parse(answer.response, style, request.choices)
    sure = confidence.of(answer.steps, style, verdict, request.choices) if answer.steps else None
    return {
        "id": request.id,
        "task": request.task,
        "cluster": request.cluster,
        "order": request.order,
        "vote": request.vote,
        "prompt_sha256": prompt_sha256,
        "response": answer.response,
        "verdict": verdict,
        "lenient": verdict or judge.parse_lenient(answer.response, style, request.choices),
        "label": request.label,
        "correct": verdict == request.label,
        "confidence": None if sure is None else round(sure, 6),
        "tokens": answer.tokens,
        "finish_reason": answer.finish_reason,
        "latency": round(answer.latency, 4),
    }


class Store:
    """The predictions of one evaluation folder, held by one process at a time. Use as a context manager."""

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        """Raises UserError where the folder holds another evaluation, or another process writes to it."""
        targets.check_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.file = folder, folder / FILE
        self._stream = self.file.open("a+", encoding="utf-8")
        try:
            if not take(self._stream.fileno()):
                raise UserError(f"another mtrl eval is writing to {folder}", "wait for it, or pass another --out")
            self._identify(identity)
            self._drop_torn_line()
            self.rows = {key_of(row): row for row in _rows(self.file, read_identity(folder))}
        except BaseException:
            self._stream.close()
            raise
        self._answered: dict[str, float] = {}  # by task, of this process

    def _identify(self, identity: dict[str, Any]) -> None:
        file = self.folder / IDENTITY
        before = read_identity(self.folder) if file.exists() else {}
        if before:
            old, new = before["tasks"], identity["tasks"]
            # where weights lie is not what they are; how many requests there are, and of how many rows, follows from the rest
            differing = [k for k in identity if k not in UNCOMPARED and before.get(k) != identity[k]]
            differing += [
                f"task {name}: {k}"
                for name in new
                if name in old
                for k in new[name]
                if k not in ("requests", "conversion_limit") and old[name].get(k) != new[name][k]
            ]
            if differing:
                raise UserError(
                    f"{self.folder} holds another evaluation; different now: {', '.join(differing)}",
                    f"pass another --out, or remove {self.folder}",
                )
            identity = {**before, **identity, "tasks": {**old, **new}}
        elif self.file.stat().st_size:
            raise UserError(
                f"{self.file} holds answers, and {IDENTITY}, which says whose they are, is missing",
                f"bring {IDENTITY} back, rename {FILE}, or pass another --out",
            )
        write_json(file, identity)

    def check(self, asked: Iterable[Request]) -> None:
        """Raises UserError where an answer to a task of `asked` is to nothing that is asked of it."""
        wanted = {request.key: request.label for request in asked}
        names = {key[0] for key in wanted}
        for key, row in self.rows.items():
            if row["task"] in names and wanted.get(key) != row["label"]:
                what = f"sample {row['id']!r} of task {row['task']}, order {row['order']}, vote {row['vote']}"
                known = f"with label {row['label']}, which is {wanted[key]} here" if key in wanted else "not asked here"
                raise UserError(
                    f"{self.file} has an answer to {what}, {known}", "remove its line, or pass another --out"
                )

    def note(self, **about: Any) -> None:
        """Adds to what is recorded of the evaluation; never compared."""
        write_json(self.folder / IDENTITY, {**read_identity(self.folder), **about})

    def _drop_torn_line(self) -> None:
        """Takes away what a kill left of a last line, before anything is read: its request is asked again."""
        data = self.file.read_bytes()
        if data and not data.endswith(b"\n"):
            self._stream.truncate(data.rfind(b"\n") + 1)

    def append(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Writes each row as it comes, and passes it on. Raises MtrlError where the disk is full."""
        for row in rows:
            try:
                self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")
                self._stream.flush()
            except OSError as error:
                raise MtrlError(
                    f"writing {self.file} failed: {error.strerror}", remedy(error, "run the same command: it goes on")
                ) from error
            self.rows[key_of(row)] = row
            first = row["task"] not in self._answered
            self._answered[row["task"]] = round(time.time(), 1)
            if first:  # so that it is known even if this process is killed
                self._note_answered()
            yield row

    def _note_answered(self) -> None:
        """eval.json's `answered`: when each task's last answer was generated. Reading answers again does not change it."""
        if self._answered:
            self.note(answered={**read_identity(self.folder).get("answered", {}), **self._answered})

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._note_answered()
        with contextlib.suppress(OSError):  # on a full disk, closing tries to write again; `append` has said so
            self._stream.close()


def load(folder: Path, file: str = FILE) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(identity, rows) of an evaluation folder; its `home` is where the tasks and prompts that were asked are. Raises UserError where there is none, or where lines are of another kind."""
    if not (folder / IDENTITY).exists():
        raise UserError(
            f"{folder} holds no evaluation: there is no {IDENTITY}", "score a judge first, by mtrl eval with --ckpt"
        )
    identity = read_identity(folder)
    rows = {key_of(row): row for row in _rows(folder / file, identity)}
    home = folder / task_files.FOLDER
    identity["home"] = home if home.is_dir() else None  # where what was asked is kept
    return identity, list(rows.values())
