"""The image store: release bytes verbatim, once each, under images/ab/<sha256>.<ext> below the data folder.

Every image is decoded once here, so that none can stop a training at row 30,000. What cannot be used is a `Rejected`
with its reason, counted by the caller. Loading for inference goes through `load_rgb`, the same way every upstream
loader goes: first frame, converted to RGB, alpha dropped, no EXIF rotation; images where that matters are noted.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from mtrl.converters.rows import Picture, Rejected
from mtrl.files import sha256_bytes, written

if TYPE_CHECKING:
    from PIL import Image

EXTENSIONS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tiff"}
SAME = {"jpeg": "jpg", "jpe": "jpg", "jfif": "jpg", "tif": "tiff"}
MAX_ASPECT = 200  # Qwen's image processors refuse more
MAX_PIXELS = 89_478_485  # from here on Pillow itself speaks of a decompression bomb; no release comes near
LARGE = 16_000_000  # pixels: 64 MB decoded; such images are decoded one at a time
ORIENTATION = 0x0112
_one_large = threading.Lock()


class Known(NamedTuple):
    """What one decoding found: a fingerprint for near-duplicates ("" if too flat for one), and what loaders pass over."""

    print: str = ""
    notes: tuple[str, ...] = ()


class Stored(NamedTuple):
    name: str  # relative to the data folder
    known: Known


def check(data: bytes) -> tuple[str, Known]:
    """Decodes the image; returns its file extension and what was found. Raises Rejected."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise Rejected("empty file")
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Rejected(f"more than {MAX_PIXELS} pixels")
            extension = EXTENSIONS.get(image.format or "")
            if extension is None:
                raise Rejected(f"format {image.format} is not an image format that all trainers read")
            if max(image.size) > MAX_ASPECT * min(image.size):
                raise Rejected(f"aspect ratio over {MAX_ASPECT}")
            if image.mode.startswith("I") or image.mode == "F":
                raise Rejected("16-bit or floating-point grey, which every loader shows almost white")
            notes = _notes(image)
            with _one_large if image.width * image.height > LARGE else contextlib.nullcontext():
                return extension, Known(_fingerprint(image), notes)
    except UnidentifiedImageError:
        raise Rejected("not an image") from None
    except Image.DecompressionBombError:
        raise Rejected(f"more than {MAX_PIXELS} pixels") from None
    except Rejected:
        raise
    except MemoryError:
        raise Rejected("too large to decode") from None
    except (
        Exception
    ) as error:  # decoders raise OSError, ValueError, SyntaxError, EOFError, struct.error, IndexError, ...
        raise Rejected("truncated" if "truncated" in str(error) else "cannot be decoded") from None


def _notes(image: Image.Image) -> tuple[str, ...]:
    notes = []
    with contextlib.suppress(Exception):  # broken metadata is no broken image
        if image.getexif().get(ORIENTATION, 1) not in (0, 1):
            notes.append("EXIF rotation, which no loader applies")
    if getattr(image, "n_frames", 1) > 1:
        notes.append("several frames, of which loaders take the first")
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        notes.append("transparency, which loaders drop")
    elif image.mode not in ("RGB", "L"):
        notes.append(f"mode {image.mode}, which loaders convert to RGB")
    return tuple(notes)


def _fingerprint(image: Image.Image) -> str:
    """Decodes every pixel's data; returns 256 signs of horizontal change and the mean colour, in hex.

    A JPEG is decoded at an eighth of its size: that reads the whole file, as a full decode would, and skips arithmetic.
    """
    import numpy as np
    from PIL import Image

    image.draft("RGB", (136, 128))  # JPEG only; the scale is the smallest that still is as large as this
    image.load()
    if image.mode not in ("RGB", "L"):
        image = image.convert("RGB")
    small = image.resize((17, 16), Image.Resampling.BOX).convert("RGB")
    pixels = np.asarray(small, dtype=np.int16)
    light = pixels.sum(axis=2)
    signs = light[:, 1:] - light[:, :-1] > 9  # a dead zone, so that noise in flat parts has no sign
    if not 16 <= signs.sum() <= 240:
        return ""
    mean = pixels.mean(axis=(0, 1)).round().astype(np.uint8)
    return bytes(np.packbits(signs).tobytes() + mean.tobytes()).hex()


def store(picture: Picture, data: bytes, data_folder: Path, known: dict[str, Known]) -> Stored:
    """Checks and stores one picture's bytes. `known` spares decoding what is stored already. Raises Rejected, OSError."""
    digest = sha256_bytes(data)
    for extension in set(EXTENSIONS.values()):
        name = f"images/{digest[:2]}/{digest}.{extension}"
        if name in known and _whole(data_folder / name, data):
            return Stored(name, known[name])
    extension, found = check(data)
    name = f"images/{digest[:2]}/{digest}.{extension}"
    target = data_folder / name
    if not _whole(target, data):
        with written(target) as beside:
            linked = False
            if picture.path is not None:
                with contextlib.suppress(OSError):  # another file system, or one without links: copied instead
                    os.link(picture.path.resolve(), beside)  # resolved: a hub cache holds symbolic links
                    linked = True
            if not linked:
                beside.write_bytes(data)
    return Stored(name, found)


def _whole(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data)
    except OSError:
        return False


def wrong_extension(picture: Picture, stored: Stored) -> bool:
    """Whether the release calls the file something else than it is (loaders look at the bytes, so it is only noted)."""
    claimed = Path(picture.name).suffix.lower().removeprefix(".")
    known = set(EXTENSIONS.values()) | set(SAME)
    return claimed in known and SAME.get(claimed, claimed) != stored.name.rpartition(".")[2]


def load_rgb(path: Path | BinaryIO) -> Image.Image:
    """The stored image as RGB, as upstream loaders see it. Raises OSError where it is gone or cannot be decoded."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            rgb = image.convert("RGB")
    except OSError:
        raise
    except Exception as error:  # decoders raise what they like, see `check`
        raise OSError(f"{path} cannot be decoded: {error}") from error
    rgb.info.clear()  # or vLLM would turn the image by the EXIF that came along
    return rgb
