"""What a probe asks: some rows of each task as they are, and once more for each change, as one stream of requests.

Everything follows from the data and the seed: the rows, the changes and the changed images. Where a change changes
nothing in a row, nothing is asked, and the row is counted as unchanged. Nothing is written to the data.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from mtrl import __version__
from mtrl.config import prompting, samples
from mtrl.config.samples import Key, Sample
from mtrl.config.tasks import Task
from mtrl.core.errors import UserError
from mtrl.core.files import sha256_bytes
from mtrl.evaluate import requests
from mtrl.evaluate.engines.base import Engine
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.identity import Probed
from mtrl.evaluate.metrics import groups
from mtrl.evaluate.probing import drawings, exchange, perturbations, pictures, words
from mtrl.evaluate.probing.drawings import Drawing, Drawings
from mtrl.evaluate.probing.perturbations import Changed, Perturbation, Row

FOLDER = ".images"  # of changed images, while they are asked about
UNFIT = {  # why a perturbation may change no row
    "other": "all rows have the same label, or are of one cluster",
    "caption": "no row is labelled yes, or no caption has a word to change",
}


def made_by() -> str:
    """Versions, and a hash of the code that draws and changes. Another one may change the same rows in another way."""
    import PIL

    code = hashlib.sha256()
    for module in (sys.modules[__name__], drawings, exchange, groups, perturbations, pictures, words):
        code.update(Path(module.__file__ or "").read_bytes())
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"mtrl {__version__} ({code.hexdigest()[:12]}), Pillow {PIL.__version__}, Python {python}"


class Plan:
    """Which rows of a split are changed how."""

    def __init__(self, data: Path, split: str, out: Path, rows: int, seed: int, only: Sequence[str] | None) -> None:
        """At most `rows` rows of each task, drawn by `seed`. `only`: the perturbations, by name; None for all that fit
        a task. `out` is the probe's folder. Raises UserError for an unknown name."""
        known = perturbations.ALL
        if unknown := [name for name in only or () if name not in known]:
            raise UserError(f"{unknown[0]!r} is no perturbation", f"choose from: {', '.join(known)}")
        names = [name for name in known if only is None or name in only]
        self.probed = Probed(rows=rows, seed=seed, only=names, made_by=made_by())
        self.drawn: dict[str, dict[str, Sample]] = {}
        """By task and id, the rows that are asked, in file order."""
        self.left_out: dict[str, dict[str, str]] = {}
        """By task: perturbations that do not fit it, and why."""
        self.unchanged: dict[str, dict[str, list[str]]] = {}
        """By task and variant: the ids of the rows that it does not change."""
        self.asked: dict[Key, Request] = {}
        self.sha256: dict[str, str] = {}
        """By task, the hash of all that is asked: texts, images and their changes, labels and clusters."""
        self.drawings = Drawings(out / FOLDER)
        self._data, self._split, self._named = data, split, only is not None

    def requests(
        self, tasks: Mapping[str, Task], style: str, tick: Callable[[int, int, str], None]
    ) -> dict[str, list[Request]]:
        """The requests of each task: all rows unchanged, then change by change. Changes are drawn to see where they
        change nothing, and nothing is asked there: `tick` gets (rows done, all of a task, in words). Raises UserError
        for a perturbation in `only` that fits no task."""
        found = {name: self._of_task(task, style, tick) for name, task in tasks.items()}
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

    def _of_task(self, task: Task, style: str, tick: Callable[[int, int, str], None]) -> list[Request]:
        rows = self._rows(task)
        requests.check_unchanged(task, self._data, self._split, rows)
        render = prompting.renderer(task, style)
        clusters = groups.of_split(self._data, task.name, self._split, task.split.texts)
        unfit = {name: why for name in self.probed.only if (why := perturbations.ALL[name].unfit(task, style))}
        fit = [perturbations.ALL[name] for name in self.probed.only if name not in unfit]
        others = exchange.exchanged(rows, clusters, Random(f"{self.probed.seed} {task.name} other"))
        found = list[tuple[Request, list[Request]]]()
        for sample in rows:
            requests.check_kind(task, sample, self._data)
            row = Row(task, style, sample, render(sample), render, rows, others, Random())
            plain = self._request(task, Changed(sample, row.prompt), clusters[sample.id])
            found.append((plain, list(self._changes(row, fit, clusters[sample.id]))))
        there = {request.variant for _, changes in found for request in changes}
        unfit |= {
            one.name: UNFIT.get(one.name, "no row can be changed so") for one in fit if not there & {*one.variants}
        }
        self.drawn[task.name], self.left_out[task.name] = {row.id: row for row in rows}, unfit
        place = {variant: number for number, variant in enumerate(["", *perturbations.LEVELS])}
        asked = sorted(
            (one for plain, changes in found for one in (plain, *changes)), key=lambda one: place[one.variant]
        )
        same, unchanged = self.drawings.unchanged(found, tick), dict[str, list[str]]()
        for one in asked:
            if one.key in same:
                unchanged.setdefault(one.variant, []).append(one.id)
        self.unchanged[task.name] = unchanged
        asked = [one for one in asked if one.key not in same]
        about = [(*one.key, one.prompt, one.prefix, one.label, one.cluster, one.orient) for one in asked]
        shown = [list(map(self.drawings.about, one.images)) for one in asked]
        self.sha256[task.name] = sha256_bytes(json.dumps([about, shown]).encode())
        return asked

    def _changes(self, row: Row, fit: Sequence[Perturbation], cluster: str) -> Iterator[Request]:
        """What is asked in the row's place."""
        for one in fit:
            chance = f"{self.probed.seed} {row.task.name} {row.sample.id} {one.name}"
            for level, variant in enumerate(one.variants):
                if changed := one.change(replace(row, chance=Random(chance)), level):
                    asked = self._request(row.task, changed, cluster, variant)
                    yield self._with_drawings(asked, changed, one, level, chance)

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
        quality = pictures.JPEG[level] if one.name == "jpeg" else None
        drawn = {}
        for place in changed.places:
            wide, high = changed.sample.sizes[place] if changed.sample.sizes else (1024, 1024)
            drawn[place] = Drawing(asked.images[place], asked.orient, draw, level, chance, quality, wide * high)
        return self.drawings.replaced(asked, drawn)
