"""`mtrl judge`: every item asked, a pair in both orders, and one verdict for each item.

`Verdict.asked` is the hash of judge, prompt and images: the same command continues where it was interrupted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from mtrl.config.kinds import INVALID, OTHER, Pair
from mtrl.config.samples import Order
from mtrl.core.files import sha256_file
from mtrl.evaluate.engines.base import Answer, Engine, Sampling
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.image_items import Bad, Item
from mtrl.evaluate.subject import Subject
from mtrl.evaluate.verdict import Verdict
from mtrl.evaluate.verdict_file import VerdictFile
from mtrl.models.integrity import watched
from mtrl.reward_plugins import judge as parser


def run(
    judge: Subject,
    items: list[Item | Bad],
    out: Path | None,
    engine: Callable[[Subject, int], Engine],
    tick: Callable[[int, int], None],
    page: Callable[[Path, Subject, list[Item | Bad], list[Verdict | Bad]], Path],
) -> list[Verdict | Bad]:
    """The verdict on each item, in the order of the items; a bad item stays as it is. Raises UserError and MtrlError.

    `engine` makes the engine from the judge and the most images an item has; it is not called when nothing is left.
    `page` writes the verdicts as an HTML page, where `out` is one. `tick` gets (answered, all).
    """
    known = {path: sha256_file(path) for item in items if isinstance(item, Item) for path in item.given.images}
    keys = {index: _key(judge, item, known) for index, item in enumerate(items) if isinstance(item, Item)}
    wanted = {keys[index]: item for index, item in enumerate(items) if isinstance(item, Item)}
    with VerdictFile(out, set(wanted)) if out else contextlib.nullcontext() as file:
        done = dict(file.verdicts) if file else {}
        left = {key: item for key, item in wanted.items() if key not in done}
        tick(len(done), len(wanted))
        if left:
            asked = engine(judge, max(item.task.images for item in left.values()))
            for verdict in _ask(judge, left, asked, known):
                done[verdict.asked] = verdict
                if file:
                    file.append(verdict)
                tick(len(done), len(wanted))
        judged = [item if isinstance(item, Bad) else done[keys[index]] for index, item in enumerate(items)]
        if file:
            file.finish(judged, lambda target: page(target, judge, items, judged))
    return judged


def _key(judge: Subject, item: Item, known: dict[Path, str]) -> str:
    """`known` has the sha256 of each image."""
    seen = [judge.fingerprint, judge.style, str(judge.max_new_tokens), judge.image.model_dump_json()]
    given = item.given
    seen += [item.id, item.task.name, given.prompt, given.label, *given.names, *(known[path] for path in given.images)]
    seen += ["orient"] * item.task.orient
    seen += item.task.choices[2:]
    if item.task.pair not in (None, Pair(images=[1, 2])):  # else the key is as an older mtrl made it
        seen.append(str(item.task.pair))
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _ask(judge: Subject, left: dict[str, Item], engine: Engine, known: dict[Path, str]) -> Iterator[Verdict]:
    """The verdict on each item, once all its orders are answered."""
    requests = []
    for key, item in left.items():
        task = item.task
        requests += [
            Request(key, task.name, order, 0, s.prompt, s.images, s.label, task.choices, orient=task.orient)
            for order, s in item.orders.items()
        ]
    found: dict[str, dict[Order, Answer]] = {key: {} for key in left}
    for answer in watched(engine.answers(requests, Sampling(judge.max_new_tokens, confidence=True)), judge.check):
        key = answer.request.id
        found[key][answer.request.order] = answer
        if len(found[key]) == len(left[key].orders):
            content = " ".join(known[path] for path in left[key].given.images)
            yield _verdict(key, left[key], judge.style, found.pop(key), content)


def _verdict(key: str, item: Item, style: str, answers: dict[Order, Answer], content: str) -> Verdict:
    given, swapped = answers["given"], answers.get("turned")
    verdict = parser.parse(given.response, style, item.task.choices)
    flipped = None
    if swapped:  # with its sides swapped, the same judgement of a pair is the other number
        other = parser.parse(swapped.response, style, item.task.choices)
        flipped = None if verdict is None or other is None else verdict != OTHER[other]
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
        probabilities=sure if len(item.task.choices) > 2 else None,
        response=given.response,
        response_turned=swapped.response if swapped else None,
        finish_reason=given.finish_reason,
        content=content,
        asked=key,
    )
