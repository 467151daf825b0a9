"""The image store: release bytes verbatim, once each, under images/ab/<sha256>.<ext> below the data folder.

Every image is decoded once here, so that none can stop a training at row 30,000. What cannot be used is a `Rejected`
with its reason, counted by the caller. Loading for inference goes through `load_rgb`, the same way every upstream
loader goes: first frame, converted to RGB, no EXIF rotation.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mtrl.converters.rows import Picture

from mtrl.files import sha256_bytes, written

if TYPE_CHECKING:
    from PIL import Image

EXTENSIONS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tiff"}
MAX_ASPECT = 200  # Qwen's image processors refuse more
MAX_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs, at which it raises


class Rejected(Exception):
    """An image that no trainer could use; str() is the reason, short enough to count by."""


def check(data: bytes) -> str:
    """Decodes the image and returns its file extension. Raises Rejected."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise Rejected("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns from half its limit on, and on odd metadata
            with Image.open(io.BytesIO(data)) as image:
                extension = EXTENSIONS.get(image.format or "")
                if extension is None:
                    raise Rejected(f"format {image.format} is not an image format that all trainers read")
                if image.width * image.height > MAX_PIXELS:
                    raise Rejected(f"more than {MAX_PIXELS} pixels")
                if max(image.size) > MAX_ASPECT * min(image.size):
                    raise Rejected(f"aspect ratio over {MAX_ASPECT}")
                image.convert("RGB")
                return extension
    except UnidentifiedImageError:
        raise Rejected("not an image") from None
    except Image.DecompressionBombError:
        raise Rejected(f"more than {MAX_PIXELS} pixels") from None
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise Rejected("truncated" if "truncated" in str(error) else "cannot be decoded") from None


def store(picture: Picture, data_folder: Path) -> str:
    """Checks and stores one picture; returns its path relative to the data folder. Raises Rejected, and OSError."""
    data = picture.read()
    extension = check(data)
    digest = sha256_bytes(data)
    relative = f"images/{digest[:2]}/{digest}.{extension}"
    target = data_folder / relative
    if not target.exists():
        with written(target) as beside:
            linked = False
            if picture.path is not None:
                with contextlib.suppress(OSError):  # another file system, or one without links: copied instead
                    os.link(picture.path, beside)
                    linked = True
            if not linked:
                beside.write_bytes(data)
    return relative


def load_rgb(path: Path) -> Image.Image:
    """The stored image as RGB, as upstream loaders see it. Raises OSError where it is gone."""
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("RGB")
