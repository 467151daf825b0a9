"""The changed images of a probe. They are made as they are needed, in a folder of its own, and deleted when answered.

A change may leave an image as it is, such as other colours a grey one: `unchanged` compares the pixels.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from mtrl.config.samples import Key
from mtrl.converters.pipeline.images import load_rgb
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.probing import pictures

if TYPE_CHECKING:
    from PIL.Image import Image

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

    def of(self, source: Image) -> Image:
        """As a judge sees it."""
        from PIL import Image as images

        if self.quality is None:
            return self._changed(source)
        stored = io.BytesIO()
        self._changed(source).save(stored, "JPEG", quality=self.quality)
        return images.open(stored).convert("RGB")

    def write(self, target: Path) -> None:
        """Raises OSError, MtrlError."""
        image = self._changed(load_rgb(self.source, self.orient))
        if self.quality is None:
            image.save(target, "PNG", compress_level=1)
        else:
            image.save(target, "JPEG", quality=self.quality)

    def _changed(self, source: Image) -> Image:
        return self.change(source, self.level, Random(self.chance))


class Drawings:
    """All of a probe, by file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._of: dict[Path, Drawing] = {}

    def replaced(self, asked: Request, drawn: dict[int, Drawing]) -> Request:
        """The request with these drawings in place of its images, by their place from 0."""
        images = list(asked.images)
        for place, drawing in drawn.items():
            name = hashlib.sha256(f"{asked.task} {asked.id} {asked.variant} {place}".encode()).hexdigest()[:32]
            images[place] = self._folder / f"{name}.{'jpg' if drawing.quality else 'png'}"
            self._of[images[place]] = drawing
        return replace(asked, images=tuple(images))

    def about(self, file: Path) -> str:
        """Which image it is: a stored one's name is the sha256 of its content."""
        if not (drawing := self._of.get(file)):
            return file.name
        change = drawing.change.__name__, drawing.level, drawing.chance, drawing.quality
        return " ".join(map(str, (drawing.source.name, *change)))

    def unchanged(
        self, rows: Sequence[tuple[Request, list[Request]]], tick: Callable[[int, int, str], None]
    ) -> set[Key]:
        """The changed requests that ask the same as their row does unchanged. `rows` has both, row by row. `tick` gets
        (rows done, all, in words). Raises OSError, MtrlError."""
        found = set[Key]()
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # Pillow works outside Python's lock
            for done, same in enumerate(pool.map(lambda row: self._unchanged(*row), rows), start=1):
                found.update(same)
                tick(done, len(rows), "rows: their changes are drawn, to see which change anything")
        return found

    def parts(self, asked: Iterable[Request]) -> Generator[list[Request], None, None]:
        """The requests in parts. The changed images of a part exist until the next is taken. Close it at the end."""
        shutil.rmtree(self._folder, ignore_errors=True)  # a killed probe may have left some
        try:
            for part in self._cut(asked):
                files = [file for request in part for file in request.images if file in self._of]
                self._folder.mkdir(parents=True, exist_ok=True)
                with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
                    list(pool.map(lambda file: self._of[file].write(file), files))
                yield part
                shutil.rmtree(self._folder)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _unchanged(self, plain: Request, changed: list[Request]) -> list[Key]:
        sources: dict[Path, Image] = {}

        def pixels(file: Path) -> Image:
            drawing = self._of.get(file)
            source = drawing.source if drawing else file
            if source not in sources:
                sources[source] = load_rgb(source, plain.orient)
            return drawing.of(sources[source]) if drawing else sources[source]

        def same(changed: Request) -> bool:
            if (changed.prompt, changed.prefix) != (plain.prompt, plain.prefix):
                return False
            both = zip(plain.images, changed.images, strict=True)
            return all(one == other or _equal(pixels(one), pixels(other)) for one, other in both)

        return [one.key for one in changed if same(one)]

    def _cut(self, asked: Iterable[Request]) -> Iterator[list[Request]]:
        part, pixels = list[Request](), 0
        for request in asked:
            part.append(request)
            pixels += sum(self._of[file].pixels for file in request.images if file in self._of)
            if len(part) == MOST or pixels >= PIXELS:
                yield part
                part, pixels = [], 0
        if part:
            yield part


def _equal(one: Image, other: Image) -> bool:
    from PIL import ImageChops

    return one.size == other.size and ImageChops.difference(one, other).getbbox() is None
