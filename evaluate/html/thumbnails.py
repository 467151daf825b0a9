"""Thumbnails for a page: base64 JPEGs, one per image however many cards show it, made by one thread per core.

All of them together take at most about ROOM, so their size depends on their number and content.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOM = 36_000_000  # bytes of base64: with the text of 10,000 answers a page stays under 60 MB
SIDES = (256, 192, 128, 96, 64, 48)  # pixels of the longer side
FEW = 1000  # images that take a second or two: no progress is shown
OWN = (".heic", ".heif", ".hif", ".avif")
PROBES = 16  # images that are tried to estimate the size of all


def make(
    data: Path,
    names: Sequence[str],
    side: int,
    tick: Callable[[int, int], None],
    upright: Collection[str] = (),
) -> Iterator[tuple[str, str]]:
    """(name, base64 JPEG) for each name of an image below `data`, in order; "" where it is missing or broken.

    Those in `upright` are rotated by their EXIF, as they were for the judge.
    """
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))  # Pillow decodes outside the interpreter's lock
    try:
        made = pool.map(lambda name: _encode(data / name, side, name in upright), names)
        for done, (name, encoded) in enumerate(zip(names, made, strict=True), start=1):
            if len(names) > FEW or done == len(names):
                tick(done, len(names))
            yield name, encoded
    finally:
        pool.shutdown(cancel_futures=True)


def side_for(files: Sequence[Path], room: int = ROOM) -> int:
    """The largest side at which all files, estimated from a few of them, take at most `room` bytes."""
    probes = files[:: max(1, len(files) // PROBES)][:PROBES]
    for side in SIDES:
        if sum(len(_encode(file, side)) for file in probes) * len(files) <= room * len(probes):
            return side
    return SIDES[-1]


def _encode(file: Path, side: int, upright: bool = False) -> str:
    from PIL import Image

    from mtrl.converters.pipeline import images
    from mtrl.converters.readers.picture import contents

    try:
        own = upright or file.suffix.lower() in OWN  # Pillow alone does not read or rotate these
        with images.load_rgb(file, upright) if own else Image.open(io.BytesIO(contents(file))) as image:
            image.draft("RGB", (side, side))  # a JPEG is decoded at a fraction of its size that is still enough
            small = image if image.mode in ("RGB", "L") else image.convert("RGB")  # as load_rgb: alpha is dropped
            small.thumbnail((side, side))
            out = io.BytesIO()
            small.save(out, "JPEG", quality=75, optimize=True)
    except Exception:  # decoders raise nearly anything; images were decoded at conversion, so it broke since
        return ""
    return base64.b64encode(out.getvalue()).decode()
