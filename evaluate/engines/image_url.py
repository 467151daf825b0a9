"""Images as an endpoint gets them: data: URLs, such that the judge sees what it saw in training.

An image is sent as stored, byte for byte, with two exceptions. One outside the judge's range of sizes is sent at the
size that the judge would see: the range holds whatever the server's own is, as long as that is wider, and the prompt's
tokens are the same as with offline vLLM. One that servers read differently than training did (EXIF rotation,
transparency, several frames) is sent as the RGB that training saw. Both are sent as PNG.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path

from mtrl.converters.pipeline import images
from mtrl.converters.pipeline.images import Decoded
from mtrl.models import budget

AS_STORED = ("jpg", "png", "webp")  # formats that every endpoint reads


def data_url(path: Path, image: dict[str, int], side: int, orient: bool = False) -> str:
    """The URL of an image file, as `url`. Raises Rejected and OSError."""
    return url(images.read(path), image, side, orient)


def url(
    data: bytes, image: dict[str, int], side: int, orient: bool = False, checked: tuple[str, Decoded] | None = None
) -> str:
    """The URL of an image file's content. With `orient` it is rotated by its EXIF. `image` {min_pixels, max_pixels} and
    `side`: see budget.fitted. `checked` is what `images.check` found in it, where that was called. Raises Rejected.
    """
    from PIL import Image

    extension, known = checked or images.check(data)
    picture = images.load_rgb(io.BytesIO(data), orient) if known.notes or extension not in AS_STORED else None
    size = picture.size if picture else known.size
    wide, high, bounded = budget.fitted(*size, image, side)
    resize = bounded and size != (wide, high)
    if resize or picture:
        picture = picture or images.load_rgb(io.BytesIO(data))
        if resize:
            picture = picture.resize((wide, high), Image.Resampling.BICUBIC)  # what Qwen's processors resize by
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        data, extension = buffer.getvalue(), "png"
    kind = {"jpg": "jpeg"}.get(extension, extension)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
