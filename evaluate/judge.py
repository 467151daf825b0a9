"""Verdicts on one's own images: every item asked, a pair in both orders, and a row of each, written as they come.

A row's `asked` is the hash of judge, prompt and images: the same command goes on where it was stopped, and a file that
holds other verdicts is refused. JSONL is put into the order of the items at the end; a CSV is written then, from a
JSONL beside it.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mtrl.errors import UserError
from mtrl.evaluate import confidence
from mtrl.evaluate.engine import Answer, Engine, Sampling
from mtrl.evaluate.judge_items import Item
from mtrl.evaluate.requests import Request
from mtrl.evaluate.run import Subject
from mtrl.files import read_jsonl, sha256_file, written
from mtrl.reward_plugins import judge as parser

INVALID = "invalid"
COLUMNS = (
    "id", "image", "image_2", "task", "verdict", "flipped", "label", "correct", "confidence", "reasoning", "response",
    "response_turned", "finish_reason", "asked",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a cell that begins so


def run(
    judge: Subject,
    items: list[Item],
    out: Path | None,
    engine: Callable[[Subject, int], Engine],
    tick: Callable[[int, int], None],
) -> Iterator[dict[str, Any]]:
    """Yields the row of every item, in the order of the items, once all are there. Raises UserError and MtrlError.

    `engine` makes the engine from the judge and the most images an item has; it is not called when nothing is left.
    """
    keys = [_key(judge, item) for item in items]
    kept = _kept(out) if out else None
    done = _done(out, kept, set(keys)) if out and kept else {}
    left = {key: item for key, item in zip(keys, items, strict=True) if key not in done}
    tick(len(done), len(done) + len(left))
    if left:
        asked = engine(judge, max(len(item.images) for item in left.values()))
        stream = kept.open("a", encoding="utf-8") if kept else None
        try:
            for key, row in _ask(judge, left, asked):
                done[key] = row
                if stream:
                    stream.write(json.dumps(row, ensure_ascii=False) + "\n")
                    stream.flush()
                tick(len(done), len(done.keys() | left.keys()))
        finally:
            if stream:
                stream.close()
    rows = [done[key] for key in keys]
    if out and kept:
        _write(out, rows)
        if kept != out:
            kept.unlink()
    yield from rows


def _key(judge: Subject, item: Item) -> str:
    seen = [
        judge.fingerprint,
        judge.style,
        str(judge.max_new_tokens),
        judge.image.model_dump_json(),
        item.id,
        item.task.name,
    ]
    seen += [item.prompt, item.label, *item.names, *(sha256_file(path) for path in item.images)]
    seen += ["orient"] * item.task.orient
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _ask(judge: Subject, left: dict[str, Item], engine: Engine) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, row) of each item, once all its orders are answered."""
    requests = [
        Request(
            key, item.task.name, order, 0, item.prompt, shown, item.label, item.task.choices, orient=item.task.orient
        )
        for key, item in left.items()
        for order, shown in (("given", item.images), ("turned", item.images[::-1]))
        if order == "given" or len(item.images) > 1
    ]
    found: dict[str, dict[str, Answer]] = {key: {} for key in left}
    for answer in engine.answers(requests, Sampling(judge.max_new_tokens, confidence=True)):
        key = answer.request.id
        found[key][answer.request.order] = answer
        if len(found[key]) == len(left[key].images):
            yield key, _row(key, left[key], judge.style, found.pop(key))


def _row(key: str, item: Item, style: str, answers: dict[str, Answer]) -> dict[str, Any]:
    given = answers["given"]
    verdict = parser.parse(given.response, style, item.task.choices)
    sure = confidence.of(given.steps, style, verdict, item.task.choices) if given.steps else None
    row: dict[str, Any] = {"id": item.id, "image": item.names[0]}
    if len(item.names) > 1:
        row["image_2"] = item.names[1]
    row |= {"task": item.task.name, "verdict": verdict or INVALID}
    if turned := answers.get("turned"):
        other = parser.parse(turned.response, style, item.task.choices)
        # asked with the images the other way round, the same judgement is the other number
        row["flipped"] = None if verdict is None or other is None else verdict == other
    if item.label:
        row |= {"label": item.label, "correct": verdict == item.label}
    row |= {"confidence": None if sure is None else round(sure, 6), "reasoning": reasoning(given.response)}
    row["response"] = given.response
    if turned:
        row["response_turned"] = turned.response
    return row | {"finish_reason": given.finish_reason, "asked": key}


def reasoning(response: str) -> str:
    """The text inside the first <think>, closed or not; "" where there is none."""
    return response.partition("<think>")[2].partition("</think>")[0].strip()


def check_out(out: Path) -> None:
    """Raises UserError where verdicts cannot be written to `out`; asked before a model is loaded."""
    if out.suffix not in (".jsonl", ".csv"):
        raise UserError(f"--out {out} is neither .jsonl nor .csv")
    if out.suffix == ".csv" and out.exists():
        raise UserError(f"{out} exists already", "pass another --out, or remove it")
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}", f"mkdir -p {out.parent}")
    if not os.access(out.parent, os.W_OK):
        raise UserError(f"--out {out}: folder {out.parent} may not be written to", "pass another --out")


def _kept(out: Path) -> Path:
    """Where rows go as they come."""
    return out if out.suffix == ".jsonl" else out.with_name(f".{out.name}.part.jsonl")


def _done(out: Path, kept: Path, wanted: set[str]) -> dict[str, dict[str, Any]]:
    """Rows of an earlier start, without a line torn by a kill. Raises UserError where they are not this command's."""
    done = {str(row.get("asked")): row for row in read_jsonl(kept)}
    if strange := done.keys() - wanted:
        raise UserError(
            f"{kept} holds {len(strange)} verdicts that this command would not ask for: another judge, prompt or list",
            f"pass another --out, or remove {kept}",
        )
    if done:
        _write_jsonl(kept, list(done.values()))
    return done


def _write(out: Path, rows: list[dict[str, Any]]) -> None:
    if out.suffix == ".jsonl":
        return _write_jsonl(out, rows)
    columns = [name for name in COLUMNS if any(name in row for row in rows)]
    with written(out) as beside, beside.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, columns, restval="")
        table.writeheader()
        table.writerows({key: _cell(value) for key, value in row.items()} for row in rows)


def _write_jsonl(file: Path, rows: list[dict[str, Any]]) -> None:
    with written(file) as beside:
        beside.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _cell(value: Any) -> Any:
    """A cell that a spreadsheet shows and never runs: what begins like a formula gets an apostrophe before it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
