"""What a probe asks: some rows of each task as they are, and once more for each change, as one stream of requests.

Everything follows from the data and the seed: the rows, the changes and the changed images. These are made as they are
needed, in a folder below the probe's own, and deleted when they are answered; nothing is written to the data.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from mtrl.config import prompting, samples
from mtrl.config.samples import Key, Sample
from mtrl.config.tasks import Task
from mtrl.converters.pipeline.images import load_rgb
from mtrl.core.errors import UserError
from mtrl.evaluate import requests
from mtrl.evaluate.engines.base import Engine
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.identity import Probed
from mtrl.evaluate.metrics import groups
from mtrl.evaluate.probing import exchange, perturbations, pictures
from mtrl.evaluate.probing.perturbations import Changed, Perturbation, Row

FOLDER = ".images"  # of changed images, while they are asked about
PIXELS, MOST = 400_000_000, 1024  # of the changed images of one part, and its requests: about a gigabyte of files


@dataclass(frozen=True)
class Drawing:
    """A changed image."""

    source: Path
    orient: bool
    """Whether the source is rotated by its EXIF, as the task says."""
    change: pictures.Change
    level: int
    chance: str
    """The seed of the change."""
    quality: int | None
    """Of a JPEG; None for a PNG, which loses nothing."""
    pixels: int
    """Of the source."""

    def write(self, target: Path) -> None:
        """Raises OSError, MtrlError."""
        image = self.change(load_rgb(self.source, self.orient), self.level, Random(self.chance))
        if self.quality is None:
            image.save(target, "PNG", compress_level=1)
        else:
            image.save(target, "JPEG", quality=self.quality)


class Plan:
    """Which rows of a split are changed how."""

    def __init__(self, data: Path, split: str, out: Path, rows: int, seed: int, only: Sequence[str] | None) -> None:
        """At most `rows` rows of each task, drawn by `seed`. `only`: the perturbations, by name; None for all that a
        task can have. `out` is the probe's folder. Raises UserError for a name that is none."""
        known = perturbations.ALL
        if unknown := [name for name in only or () if name not in known]:
            raise UserError(f"{unknown[0]!r} is no perturbation", f"choose from: {', '.join(known)}")
        names = [name for name in known if only is None or name in only]
        self.probed = Probed(rows=rows, seed=seed, only=names, made_by=pictures.made_by())
        self.drawn: dict[str, dict[str, Sample]] = {}
        """By task and id, the rows that are asked, in file order."""
        self.left_out: dict[str, dict[str, str]] = {}
        """By task: perturbations that it cannot have, and why."""
        self.asked: dict[Key, Request] = {}
        self._data, self._split, self._images, self._named = data, split, out / FOLDER, only is not None
        self._drawings: dict[Path, Drawing] = {}

    def requests(self, tasks: Mapping[str, Task], style: str) -> dict[str, list[Request]]:
        """Of each task, all rows as they are, then change by change. Raises UserError for a perturbation that was named
        and that no task can have."""
        found = {name: self._of_task(task, style) for name, task in tasks.items()}
        self.asked = {request.key: request for its in found.values() for request in its}
        for name in self.probed.only if self._named else ():
            why = {task: unfit[name] for task, unfit in self.left_out.items() if name in unfit}
            if len(why) == len(tasks):
                said = "; ".join(f"task {task}: {reason}" for task, reason in why.items())
                raise UserError(f"no task can be probed by {name}: {said}", f"leave {name} out of --only")
        return found

    def check(self, engine: Engine, asked: Iterable[Request]) -> None:
        """Raises UserError where the engine cannot ask this."""
        if not engine.continues and any(request.prefix for request in asked):
            others = [name for name in self.probed.only if any(name not in unfit for unfit in self.left_out.values())]
            others.remove("prefill")
            raise UserError(
                "this endpoint cannot continue an answer that has begun, as prefill needs it: only vLLM's server can",
                f"leave prefill out: --only {','.join(others)}" if others else "name other changes (--only)",
            )

    def _of_task(self, task: Task, style: str) -> list[Request]:
        rows = self._rows(task)
        requests.check_unchanged(task, self._data, self._split, rows)
        render = prompting.renderer(task, style)
        clusters = groups.of_split(self._data, task.name, self._split, task.split.texts)
        chosen = [perturbations.ALL[name] for name in self.probed.only]
        unfit = {one.name: why for one in chosen if (why := one.unfit(task, style))}
        others = exchange.exchanged(rows, clusters, Random(f"{self.probed.seed} {task.name} other"))
        found = []
        for sample in rows:
            requests.check_kind(task, sample, self._data)
            prompt = render(sample)
            plain = Changed(sample, prompt)
            found.append(self._request(task, plain, clusters[sample.id]))
            for one in chosen:
                if one.name in unfit:
                    continue
                for level, variant in enumerate(one.variants):
                    chance = f"{self.probed.seed} {task.name} {sample.id} {one.name}"
                    row = Row(task, style, sample, prompt, render, rows, others, Random(chance))
                    if changed := one.change(row, level):
                        asked = self._request(task, changed, clusters[sample.id], variant)
                        found.append(self._with_drawings(asked, changed, one, level, chance))
        there = {request.variant for request in found}
        for one in chosen:
            if one.name not in unfit and not there & {*one.variants} and rows:
                unfit[one.name] = NONE.get(one.name, "no row can be changed so")
        self.drawn[task.name], self.left_out[task.name] = {row.id: row for row in rows}, unfit
        place = {variant: number for number, variant in enumerate(["", *perturbations.LEVELS])}
        return sorted(found, key=lambda request: place[request.variant])

    def parts(self, asked: Iterable[Request]) -> Generator[list[Request], None, None]:
        """The requests in parts. The changed images of a part exist until the next is taken. Close it at the end."""
        shutil.rmtree(self._images, ignore_errors=True)  # a killed probe may have left some
        try:
            for part in self._cut(asked):
                files = [file for request in part for file in request.images if file in self._drawings]
                self._images.mkdir(parents=True, exist_ok=True)
                with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # Pillow works outside Python's lock
                    list(pool.map(lambda file: self._drawings[file].write(file), files))
                yield part
                shutil.rmtree(self._images)
        finally:
            shutil.rmtree(self._images, ignore_errors=True)

    def _rows(self, task: Task) -> list[Sample]:
        """Those with the lowest hashes of seed, task and id."""

        def place(sample: Sample) -> bytes:
            return hashlib.sha256(f"{self.probed.seed} {task.name} {sample.id}".encode()).digest()

        every = list(samples.read(self._data, task.name, self._split))
        first = {sample.id for sample in sorted(every, key=place)[: self.probed.rows]}
        return [sample for sample in every if sample.id in first]

    def _request(self, task: Task, changed: Changed, cluster: str, variant: str = "") -> Request:
        cluster = changed.cluster or cluster
        asked = requests.of_sample(changed.sample, task, changed.order, changed.prompt, self._data, cluster)
        return replace(asked, variant=variant, prefix=changed.prefix)

    def _with_drawings(self, asked: Request, changed: Changed, one: Perturbation, level: int, chance: str) -> Request:
        """The request about images that are drawn before it is asked."""
        if not (draw := changed.draw):
            return asked
        images = list(asked.images)
        for place in changed.places:
            quality = pictures.JPEG[level] if one.name == "jpeg" else None
            name = hashlib.sha256(f"{asked.task} {asked.id} {asked.variant} {place}".encode()).hexdigest()[:32]
            file = self._images / f"{name}.{'jpg' if quality else 'png'}"
            wide, high = changed.sample.sizes[place] if changed.sample.sizes else (1024, 1024)
            self._drawings[file] = Drawing(images[place], asked.orient, draw, level, chance, quality, wide * high)
            images[place] = file
        return replace(asked, images=tuple(images))

    def _cut(self, asked: Iterable[Request]) -> Iterator[list[Request]]:
        part, pixels = list[Request](), 0
        for request in asked:
            part.append(request)
            pixels += sum(self._drawings[file].pixels for file in request.images if file in self._drawings)
            if len(part) == MOST or pixels >= PIXELS:
                yield part
                part, pixels = [], 0
        if part:
            yield part


NONE = {  # why no row can be changed so
    "other": "all rows have the same label, or are of one cluster",
    "caption": "no row is labelled yes, or no caption has a word to change",
}
