"""predictions.jsonl: one line per request. Read with the eval.json next to it, which says what was asked."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mtrl.config import task_files
from mtrl.config.samples import Key
from mtrl.core.errors import UserError
from mtrl.core.files import json_lines, write_text
from mtrl.core.schema import validate
from mtrl.evaluate.engines.base import Answer
from mtrl.evaluate.identity import IDENTITY, WORDS, Identity, Purpose, read_identity
from mtrl.evaluate.metrics import from_scores
from mtrl.evaluate.metrics.prediction import Prediction
from mtrl.reward_plugins import judge

FILE = "predictions.jsonl"
OPTIONAL = ("variant", "probabilities", "group", "score", "annotators")  # keys that only some tasks have
SUM = 0.001  # how far recorded probabilities, which are rounded, may be from 1 in all
SCORE_FIRST = "score a judge first: mtrl eval --ckpt PATH"


class Answers(NamedTuple):
    """One task's answers, as metrics take them."""

    rows: list[Prediction]
    choices: tuple[str, ...]


class Evaluation(NamedTuple):
    """What an evaluation folder holds."""

    identity: Identity
    """Which judge was asked what."""
    rows: list[Prediction]
    """Its answers, by task and then by key: engines answer in any order, and no number may depend on it."""
    home: Path | None
    """The folder with the tasks and prompts that were asked; None where it was not kept."""

    def of_task(self, name: str) -> Answers:
        """A task's rows; where its pairs are decided from single answers, one row per pair."""
        asked, rows = self.identity.tasks[name], [row for row in self.rows if row.task == name]
        if asked.pointwise is None:
            return Answers(rows, asked.choices)
        return Answers(from_scores.decided(rows, asked.choices, asked.pointwise), judge.PAIRWISE)


def load(folder: Path, file: str = FILE, purpose: Purpose = "eval") -> Evaluation:
    """Raises UserError where there is no evaluation (or sift, or probe), or a line is not one of its predictions."""
    if not (folder / IDENTITY).exists():
        raise _missing(folder, purpose)
    identity = read_identity(folder)
    identity.check_purpose(purpose, folder)
    rows = {row.key: row for row in rows_of(folder / file, identity)}
    place = {name: number for number, name in enumerate(identity.tasks)}
    ordered = [rows[key] for key in sorted(rows, key=lambda key: (place[key.task], key))]
    home = folder / task_files.FOLDER
    return Evaluation(identity, ordered, home if home.is_dir() else None)


def _missing(folder: Path, purpose: Purpose) -> UserError:
    what = f"{folder} is not {WORDS[purpose]}"
    if (inner := folder / purpose / IDENTITY).exists():
        return UserError(f"{what}: that is in {inner.parent}", f"pass {shlex.quote(str(inner.parent))}")
    why = "does not exist" if not folder.exists() else f"has no {IDENTITY}" if folder.is_dir() else "is a file"
    write = SCORE_FIRST if purpose == "eval" else f"mtrl {purpose} --ckpt PATH --tasks NAME writes one"
    return UserError(f"{what}: it {why}", write)


def rows_of(file: Path, identity: Identity) -> Iterator[Prediction]:
    """The rows of a predictions file, without a torn last line. Raises UserError for one that was not asked."""
    then = "pass the file that mtrl eval wrote; or remove the line, and the same mtrl eval asks it again"
    for number, line in json_lines(file, then, torn=True, strict=False) if file.exists() else ():
        where = f"{file}, line {number}"
        sure = line.get("confidence") if isinstance(line, dict) else None
        if isinstance(sure, float) and not math.isfinite(sure):
            line["confidence"] = None  # older versions of mtrl wrote NaN for what an endpoint made up
        row = validate(Prediction, line, f"{where} is not a prediction", then)
        asked = identity.tasks.get(row.task)
        if asked is None:
            raise UserError(f"{where} answers task {row.task!r}, which {IDENTITY} does not have", then)
        if row.prompt_sha256 not in (None, asked.prompt_sha256):
            raise UserError(f"{where} answers another prompt of task {row.task} than the one in {IDENTITY}", then)
        if row.vote >= identity.sampling.votes:
            raise UserError(f"{where} is vote {row.vote}; {IDENTITY} has {identity.sampling.votes} votes, from 0", then)
        if row.variant and not identity.probe:
            raise UserError(f"{where} is of a probe ({row.variant}), and {IDENTITY} is not", then)
        words = {*asked.choices}
        if {row.label, *row.annotators.values()} - words or {row.verdict, row.lenient} - {*words, None}:
            raise UserError(f"{where} has a label or verdict that is not {judge.said(asked.choices)}", then)
        if row.probabilities and row.probabilities.keys() != set(asked.choices):
            raise UserError(f"{where} has probabilities of other verdicts than {judge.said(asked.choices)}", then)
        if row.probabilities and abs(sum(row.probabilities.values()) - 1) > SUM:
            raise UserError(f"{where} has probabilities that do not add up to 1", then)
        yield row


def of_answer(answer: Answer, style: str, prompt_sha256: str) -> Prediction:
    """What is kept of an answer."""
    request = answer.request
    verdict = judge.parse(answer.response, style, request.choices)
    sure = answer.probabilities(style, verdict)
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
        variant=request.variant,
        confidence=sure[verdict] if sure and verdict else None,
        probabilities=sure if len(request.choices) > 2 else None,
        group=request.group,
        score=request.score,
        annotators=request.annotators,
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
        **{name: value for name in OPTIONAL if (value := getattr(row, name)) not in (None, "", {})},
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
    """Writes each row's verdicts and confidence into its line; whatever else is in the file stays as it is."""
    lines = {_key(line): line for _, line in json_lines(file, torn=True, strict=False)}
    read = {row.key: _read_of(row) for row in rows}
    changed = ({**line, **read[key]} for key, line in lines.items())
    write_text(file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in changed))


def _key(line: dict[str, Any]) -> Key:
    return Key(line["task"], line["id"], line["order"], line["vote"], line.get("variant", ""))
