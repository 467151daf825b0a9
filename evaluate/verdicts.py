"""`mtrl judge`: every item asked, a pair in both orders, and one verdict for each item.

With thresholds (decision.json), a verdict below its task's is undecided, and a larger judge may be asked about it.
`Verdict.asked` is the hash of judge, prompt, images and threshold: the same command continues where it was interrupted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mtrl.config.kinds import INVALID, OTHER, UNDECIDED, Pair
from mtrl.config.samples import Order
from mtrl.core.files import sha256_file
from mtrl.evaluate.decision import Decision
from mtrl.evaluate.engines.base import Answer, Engine, Sampling
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.image_items import Bad, Item
from mtrl.evaluate.subject import Subject
from mtrl.evaluate.verdict import Verdict
from mtrl.evaluate.verdict_file import VerdictFile
from mtrl.models.integrity import watched
from mtrl.reward_plugins import judge as parser


@dataclass(frozen=True)
class Larger:
    """The judge that is asked about what the first one leaves undecided."""

    judge: Subject
    engine: Callable[[Subject, int], Engine]


def run(
    judge: Subject,
    items: list[Item | Bad],
    out: Path | None,
    engine: Callable[[Subject, int], Engine],
    tick: Callable[[int, int], None],
    page: Callable[[Path, Subject, list[Item | Bad], list[Verdict | Bad]], Path],
    thresholds: Mapping[str, Decision],
    larger: Larger | None,
) -> list[Verdict | Bad]:
    """The verdict on each item, in the order of the items; a bad item stays as it is. Raises UserError and MtrlError.

    `engine` makes the engine from the judge and the most images an item has; it is not called when nothing is left.
    `page` writes the verdicts as an HTML page, where `out` is one. `tick` gets (answered, all). `thresholds` has that
    of every task, or is empty; with `larger`, that judge is asked about what is undecided.
    """
    by = [larger.judge.checkpoint] if larger else []
    decided_by = {task: [decision.model_dump_json(), *by] for task, decision in thresholds.items()}
    known = {path: sha256_file(path) for item in items if isinstance(item, Item) for path in item.given.images}
    keys = {
        index: key_of(judge, item, known, decided_by.get(item.task.name, ()))
        for index, item in enumerate(items)
        if isinstance(item, Item)
    }
    wanted = {keys[index]: item for index, item in enumerate(items) if isinstance(item, Item)}
    with VerdictFile(out, set(wanted)) if out else contextlib.nullcontext() as file:
        done = dict(file.verdicts) if file else {}
        left = {key: item for key, item in wanted.items() if key not in done}
        tick(len(done), len(wanted))
        if left:
            asked = engine(judge, max(item.task.images for item in left.values()))
            for verdict in _ask(judge, left, asked, known):
                done[verdict.asked] = decided(verdict, thresholds.get(verdict.task), judge.checkpoint)
                if file:
                    file.append(done[verdict.asked])
                tick(len(done), len(wanted))
        unsure = {k: wanted[k] for k, v in done.items() if v.verdict == UNDECIDED and v.escalated is None}
        if larger and unsure:
            asked = larger.engine(larger.judge, max(item.task.images for item in unsure.values()))
            for number, verdict in enumerate(_ask(larger.judge, unsure, asked, known), start=1):
                done[verdict.asked] = _escalated(done[verdict.asked], verdict, larger.judge.checkpoint)
                if file:
                    file.append(done[verdict.asked])
                tick(number, len(unsure))
        judged = [item if isinstance(item, Bad) else done[keys[index]] for index, item in enumerate(items)]
        if file:
            file.finish(judged, lambda target: page(target, judge, items, judged))
    return judged


def decided(said: Verdict, decision: Decision | None, judge: str) -> Verdict:
    """The verdict, or UNDECIDED where it is below the threshold; `judge` is the checkpoint whose verdict it is."""
    if decision is None:
        return said
    sure = decision.decides(said.confidence, said.confidence_turned, said.flipped)
    return replace(said, verdict=said.verdict if sure else UNDECIDED, raw=said.verdict, judged_by=judge if sure else "")


def _escalated(first: Verdict, second: Verdict, judge: str) -> Verdict:
    """It stays undecided where the larger judge's answer is invalid, or its two orders contradict each other."""
    sure = second.verdict != INVALID and (second.response_turned is None or second.flipped is False)
    return replace(
        first,
        verdict=second.verdict if sure else UNDECIDED,
        escalated=second.verdict,
        judged_by=judge if sure else "",
        response_escalated=second.response,
    )


def key_of(judge: Subject, item: Item, known: Mapping[Path, str], decided_by: Sequence[str] = ()) -> str:
    """The hash of all that the item's verdict depends on. `known` has the sha256 of each image; `decided_by` is further
    text that the verdict depends on, such as the threshold."""
    seen = [judge.fingerprint, judge.style, str(judge.max_new_tokens), judge.image.model_dump_json()]
    given = item.given
    seen += [item.id, item.task.name, given.prompt, given.label, *given.names, *(known[path] for path in given.images)]
    seen += ["orient"] * item.task.orient
    first = item.task.choices[:2]
    seen += item.task.choices[2 if first in (parser.POINTWISE, parser.PAIRWISE) else 0 :]  # as an older mtrl did
    if item.task.pair not in (None, Pair(images=[1, 2])):  # the same
        seen.append(str(item.task.pair))
    seen += decided_by
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _ask(judge: Subject, left: dict[str, Item], engine: Engine, known: Mapping[Path, str]) -> Iterator[Verdict]:
    """The verdict on each item, once all its orders are answered."""
    requests = [request for key, item in left.items() for request in requests_of(key, item)]
    found: dict[str, dict[Order, Answer]] = {key: {} for key in left}
    for answer in watched(engine.answers(requests, Sampling(judge.max_new_tokens, confidence=True)), judge.check):
        key = answer.request.id
        found[key][answer.request.order] = answer
        if len(found[key]) == len(left[key].orders):
            content = " ".join(known[path] for path in left[key].given.images)
            yield verdict_of(key, left[key], judge.style, found.pop(key), content)


def requests_of(key: str, item: Item) -> list[Request]:
    """What is asked about an item: one request, of a pair one in each order. Their id is `key`."""
    task = item.task
    return [
        Request(key, task.name, order, 0, s.prompt, s.images, s.label, task.choices, orient=task.orient)
        for order, s in item.orders.items()
    ]


def verdict_of(key: str, item: Item, style: str, answers: Mapping[Order, Answer], content: str) -> Verdict:
    """The verdict that the answers to `requests_of` mean. `content` is as in Verdict."""
    given, swapped = answers["given"], answers.get("turned")
    verdict = parser.parse(given.response, style, item.task.choices)
    flipped = turned = shares = None
    if swapped:  # with its sides swapped, the same judgement of a pair is the other number
        other = parser.parse(swapped.response, style, item.task.choices)
        flipped = None if verdict is None or other is None else verdict != OTHER[other]
        shares = swapped.probabilities(style, other)
        turned = shares[other] if shares and other else None
    sure = given.probabilities(style, verdict)
    names = item.given.names
    return Verdict(
        id=item.id,
        image=names[0],
        **{f"image_{place}": name for place, name in enumerate(names[1:], start=2)},
        task=item.task.name,
        verdict=verdict or INVALID,
        flipped=flipped,
        label=item.given.label,
        cluster=item.cluster,
        confidence=sure[verdict] if sure and verdict else None,
        confidence_turned=turned,
        probabilities=sure if len(item.task.choices) > 2 else None,
        probabilities_turned=shares if len(item.task.choices) > 2 else None,
        response=given.response,
        response_turned=swapped.response if swapped else None,
        finish_reason=given.finish_reason,
        content=content,
        asked=key,
    )
