"""One item of a request to its verdict: the same prompt, parser and threshold as `mtrl judge`, and a cache in front.

A pair is asked in both orders, at once. A verdict is kept under the hash of all that it depends on: the judge, the
prompt, the images' content, the threshold, the versions of mtrl, vLLM, transformers and Pillow, and how many GPUs share
the model.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from mtrl import __version__
from mtrl.converters.readers.picture import Rejected
from mtrl.core.errors import UserError, nearest
from mtrl.evaluate import image_items, verdicts
from mtrl.evaluate.decision import Decision
from mtrl.evaluate.engines import image_url
from mtrl.evaluate.engines.base import Sampling
from mtrl.evaluate.image_items import Asked, Item, Wrong
from mtrl.evaluate.image_sources import Row, text
from mtrl.evaluate.serving.asking import SECONDS, Asking
from mtrl.evaluate.serving.cache import Cache
from mtrl.evaluate.serving.problem import Problem, quoted
from mtrl.evaluate.serving.uploads import Upload
from mtrl.evaluate.subject import Subject
from mtrl.evaluate.verdict import Verdict

Found = TypeVar("Found")


@dataclass(frozen=True)
class Ready:
    """An item whose verdict can be had at once, or asked for."""

    key: str
    """In the cache."""
    item: Item
    content: str
    """As in Verdict."""
    decision: Decision | None
    """Its task's threshold."""
    kept: Verdict | None
    """The verdict in the cache."""
    sent: dict[Path, str]
    """The URL of each image; none where the verdict is kept."""


@dataclass(frozen=True)
class Answering:
    """A judge that is served."""

    judge: Subject
    tasks: Mapping[str, Asked]
    """By name: what it is asked, with the prompts as they were at the start."""
    asking: Asking
    cache: Cache
    engine: str
    """The model server's name and version, "" where it is not known."""
    thresholds: Mapping[str, Decision]
    """The threshold of every task; empty: none is used."""

    def task(self, name: Any) -> Asked:
        """Raises Problem (404) for a task that is not served."""
        if not isinstance(name, str) or name not in self.tasks:
            known = nearest(name[:80], self.tasks) if isinstance(name, str) else f" Known: {', '.join(self.tasks)}."
            raise Problem(404, "unknown_task", f"task {quoted(name)} is not served here.{known}")
        return self.tasks[name]

    def ready(self, name: Any, images: Sequence[Upload], fields: Mapping[str, str]) -> Ready:
        """One item: with its verdict from the cache, or with its images encoded for the model server, which takes time:
        for a thread. Raises Problem."""
        item = item_of(self.task(name), images, fields)
        content = {path: image.sha256 for path, image in zip(item.given.images, images, strict=True)}
        decision = self.thresholds[name] if self.thresholds else None
        by = [*versions(), self.engine, *([decision.model_dump_json()] if decision else [])]
        key = verdicts.key_of(self.judge, item, content, by)
        found = Ready(key, item, " ".join(content.values()), decision, self.cache.get(key), {})
        if found.kept:
            return found
        if problem := self.asking.server.problem():
            raise self.asking.unavailable(problem)
        ranged, side, orient = self.judge.image.model_dump(), self.judge.side, item.task.orient
        try:
            for path, image in zip(item.given.images, images, strict=True):
                found.sent[path] = image_url.url(image.content, ranged, side, orient, image.checked)
        except Rejected as why:
            raise Problem(422, "bad_image", str(why)) from None
        return found

    async def judged(self, ready: Ready) -> tuple[Verdict, bool]:
        """The verdict on one item, and whether it was in the cache. If the model server rejects the request, the
        verdict's finish_reason is "rejected: why", and it is not cached. Raises Problem."""
        if ready.kept:
            return ready.kept, True
        verdict = verdicts.decided(await self._ask(ready), ready.decision, self.judge.checkpoint)
        if not verdict.rejected:
            self.cache.put(ready.key, verdict)
        return verdict, False

    async def all_judged(self, items: Iterable[Ready]) -> list[tuple[Verdict, bool]]:
        """`judged` of each, at once. The first one that fails ends the others."""
        return await _together(self.judged, ((item,) for item in items))

    async def _ask(self, ready: Ready) -> Verdict:
        sampling, key, item = Sampling(self.judge.max_new_tokens, confidence=True), ready.key, ready.item
        requests = verdicts.requests_of(key, item)
        wanted = [(request, [ready.sent[path] for path in request.images], sampling) for request in requests]
        try:
            async with asyncio.timeout(SECONDS):
                answers = await _together(self.asking.ask, wanted)
        except TimeoutError:
            raise Problem(504, "timeout", f"the model gave no answer in {SECONDS:g} s") from None
        rejected = next((one for one in answers if one.finish_reason.startswith("rejected")), None)
        by_order = {one.request.order: one for one in answers}
        verdict = verdicts.verdict_of(key, item, self.judge.style, by_order, ready.content)
        if rejected:
            return replace(verdict, finish_reason=rejected.finish_reason)
        return verdict


@cache
def versions() -> tuple[str, ...]:
    """Of mtrl, and of what turns an item into the model's input, as far as it is installed. Reading them takes
    milliseconds, so once per process."""
    found = [f"mtrl {__version__}"]
    for name in ("transformers", "Pillow"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return tuple(found)


async def _together(ask: Callable[..., Coroutine[Any, Any, Found]], each: Iterable[tuple[Any, ...]]) -> list[Found]:
    """`ask` of each, at once. The first one that fails ends the others, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            under_way = [group.create_task(ask(*given)) for given in each]
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return [one.result() for one in under_way]


def loaded(judge: Subject, names: Iterable[str]) -> dict[str, Asked]:
    """The tasks as the judge is to be asked them, by name. Raises UserError."""
    return {name: image_items.asked(judge.task(name), judge.style) for name in names}


def item_of(asked: Asked, images: Sequence[Upload], fields: Mapping[str, str]) -> Item:
    """The same images in the same places are the same item, whatever the client calls them. Raises Problem (400, 422)
    where images or fields are not those of the task."""
    task = asked.task
    if len(images) != task.images:
        raise Problem(
            422, "wrong_images", f"task {task.name} takes {task.images} image(s) per item, and {len(images)} are given"
        )
    if strange := fields.keys() - set(asked.fields):
        known = nearest(min(strange)[:80], asked.fields) if asked.fields else " Its prompt has no fields."
        raise Problem(400, "unknown_field", f"task {task.name} has no field {quoted(min(strange))}.{known}")
    clean = {name: text(value) for name, value in fields.items()}
    if missing := [name for name in asked.fields if not clean.get(name)]:
        raise Problem(422, "missing_field", f"task {task.name} needs the field {missing[0]}: a text that is not empty")
    names = tuple(str(place) for place in range(1, task.images + 1))
    try:
        return image_items.of_row(Row("the request", Path(), names, {}), "", asked, clean)
    except (Wrong, UserError) as why:
        raise Problem(422, "bad_item", str(why)) from None
