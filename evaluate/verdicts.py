"""Verdicts on one's own images: every item asked, a pair in both orders, and one row for each.

A row's `asked` is the hash of judge, prompt and images: the same command goes on where it was stopped (judge_out.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mtrl.config.tasks import INVALID
from mtrl.core.files import sha256_file
from mtrl.evaluate.engines import confidence
from mtrl.evaluate.engines.base import Answer, Engine, Sampling
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.items import Bad, Item
from mtrl.evaluate.judge_out import Out
from mtrl.evaluate.run import Subject
from mtrl.models.integrity import watched
from mtrl.reward_plugins import judge as parser

SKIPPED = "skipped"  # stands in place of the verdict on an item that was not asked


def run(
    judge: Subject,
    items: list[Item | Bad],
    out: Path | None,
    engine: Callable[[Subject, int], Engine],
    tick: Callable[[int, int], None],
    page: Callable[[Path, Subject, list[Item | Bad], list[dict[str, Any]]], Path],
) -> list[dict[str, Any]]:
    """The row of every item, in the order of the items. Raises UserError and MtrlError.

    `engine` makes the engine from the judge and the most images an item has; it is not called when nothing is left.
    `page` writes the rows as an HTML page, where `out` is one.
    """
    bad = {index: _skipped(item) for index, item in enumerate(items) if isinstance(item, Bad)}
    sound = {index: item for index, item in enumerate(items) if isinstance(item, Item)}
    keys = {index: _key(judge, item) for index, item in sound.items()}
    wanted = {keys[index]: item for index, item in sound.items()}
    with Out(out, set(wanted)) if out else contextlib.nullcontext() as file:
        done = dict(file.rows) if file else {}
        left = {key: item for key, item in wanted.items() if key not in done}
        tick(len(done), len(wanted))
        if left:
            asked = engine(judge, max(len(item.images) for item in left.values()))
            for key, row in _ask(judge, left, asked):
                done[key] = row
                if file:
                    file.append(row)
                tick(len(done), len(wanted))
        rows = [bad[index] if index in bad else done[keys[index]] for index in range(len(items))]
        if file:
            file.finish(rows, lambda target: page(target, judge, items, rows))
    return rows


def _skipped(item: Bad) -> dict[str, Any]:
    row: dict[str, Any] = {"id": item.id, "image": item.names[0] if item.names else ""}
    if len(item.names) > 1:
        row["image_2"] = item.names[1]
    row |= {"task": item.task, "verdict": SKIPPED, "skipped": item.reason}
    return row | {"asked": hashlib.sha256(json.dumps(row).encode()).hexdigest()}


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
    for answer in watched(engine.answers(requests, Sampling(judge.max_new_tokens, confidence=True)), judge.check):
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
