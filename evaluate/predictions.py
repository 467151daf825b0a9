"""predictions.jsonl: one line a request, written as answers arrive; and the identity of the evaluation beside it.

Killed anywhere and started again, nothing is asked twice and nothing is lost: a torn last line is dropped, and what is
not in the file is asked. Another checkpoint, prompt, data or sampling in the same folder is refused, never mixed in.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mtrl import task_files
from mtrl.errors import MtrlError, UserError, remedy
from mtrl.evaluate import confidence
from mtrl.evaluate.engine import Answer
from mtrl.evaluate.requests import Key
from mtrl.files import check_folder, read_json, read_jsonl, write_json
from mtrl.locks import take
from mtrl.reward_plugins import judge

FILE, IDENTITY = "predictions.jsonl", "eval.json"
TASK_KEYS = ("split", "prompt_sha256", "samples_sha256", "limit", "requests", "choices")
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
NEEDED = ("id", "task", "order", "vote", "response", "verdict", "lenient", "label")


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
        check_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.file = folder, folder / FILE
        self._stream = self.file.open("a+", encoding="utf-8")
        if not take(self._stream.fileno()):
            raise UserError(f"another mtrl eval is writing to {folder}", "wait for it, or pass another --out")
        self._identify(identity)
        self._drop_torn_line()
        self.rows = {key_of(row): row for row in read_jsonl(self.file)}
        self._answered: dict[str, float] = {}  # by task, of this process

    def _identify(self, identity: dict[str, Any]) -> None:
        file = self.folder / IDENTITY
        before = read_json(file) if file.exists() else {}
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
        write_json(file, identity)

    def note(self, **about: Any) -> None:
        """Adds to what is recorded of the evaluation; never compared."""
        write_json(self.folder / IDENTITY, {**read_json(self.folder / IDENTITY), **about})

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
            self.note(answered={**read_json(self.folder / IDENTITY).get("answered", {}), **self._answered})

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
    rows = read_jsonl(folder / file)
    for number, row in enumerate(rows, start=1):
        if lacking := [key for key in NEEDED if key not in row]:
            raise UserError(
                f"{folder / file}, object {number} is no prediction: it has no {', '.join(lacking)}",
                "name the file that mtrl eval wrote",
            )
    identity = read_json(folder / IDENTITY, "score a judge first, by mtrl eval with --ckpt")
    if odd := [name for name, about in identity["tasks"].items() if not set(TASK_KEYS) <= set(about)]:
        raise UserError(
            f"{folder / IDENTITY} is of another version of mtrl: task {odd[0]} lacks one of {', '.join(TASK_KEYS)}",
            "score it again by mtrl eval, with another --out",
        )
    home = folder / task_files.FOLDER
    identity["home"] = home if home.is_dir() else None  # where what was asked is kept
    return identity, list({key_of(row): row for row in rows}.values())
