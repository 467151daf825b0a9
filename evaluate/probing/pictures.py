"""Changes of an image, by Pillow. Each takes an RGB image, its level (from 0) and a source of chance, and returns an
RGB image of the same size: so the judge gets as many pixels as before.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

Change = Callable[["Image", int, Random], "Image"]

GREY = (128, 128, 128)
BLUR = (0.005, 0.01, 0.02)  # Gaussian radius, as a share of the shorter side
JPEG = (50, 20, 5)  # quality
KEPT = (0.95, 0.85, 0.7)  # of each side, in the middle
SMALLER = (2, 4, 8)  # how often each side is divided
DEGREES = (2, 5, 15)
HUE = (60, 120, 180)  # degrees of the colour circle
HEIGHT = (0.06, 0.12)  # of the text, as a share of the image's height
SMALLEST = 8  # pixels of the text's height
TEXT = "APPROVED"


def blank(image: Image, level: int, chance: Random) -> Image:
    """The same grey for all, so that nothing of the image is left but its size."""
    from PIL import Image as images

    return images.new("RGB", image.size, GREY)


def blur(image: Image, level: int, chance: Random) -> Image:
    from PIL import ImageFilter

    return image.filter(ImageFilter.GaussianBlur(BLUR[level] * min(image.size)))


def same(image: Image, level: int, chance: Random) -> Image:
    """Not changed here: the change is in how it is stored (JPEG)."""
    return image


def crop(image: Image, level: int, chance: Random) -> Image:
    """The middle, scaled back to the size."""
    wide, high = image.size
    left, top = (1 - KEPT[level]) / 2 * wide, (1 - KEPT[level]) / 2 * high
    return image.resize(image.size, _bicubic(), (left, top, wide - left, high - top))


def resize(image: Image, level: int, chance: Random) -> Image:
    """Made smaller, and scaled back to the size."""
    small = (max(1, image.width // SMALLER[level]), max(1, image.height // SMALLER[level]))
    return image.resize(small, _bicubic()).resize(image.size, _bicubic())


def rotate(image: Image, level: int, chance: Random) -> Image:
    """To the left or to the right; the corners get the mean colour of the image's border."""
    from PIL import Image as images

    sign = chance.choice((-1, 1))
    return image.rotate(sign * DEGREES[level], images.Resampling.BICUBIC, fillcolor=_border(image))


def hue(image: Image, level: int, chance: Random) -> Image:
    """Every colour another one, further on the colour circle; brightness and saturation stay."""
    from PIL import Image as images

    shift = round(HUE[level] / 360 * 256)
    h, s, v = image.convert("HSV").split()
    return images.merge("HSV", (h.point([(value + shift) % 256 for value in range(256)]), s, v)).convert("RGB")


def grey(image: Image, level: int, chance: Random) -> Image:
    return image.convert("L").convert("RGB")


def written(image: Image, level: int, chance: Random) -> Image:
    """TEXT at the lower left, white with a black edge."""
    from PIL import ImageDraw, ImageFont

    size = max(SMALLEST, round(HEIGHT[level] * image.height))
    changed, edge = image.copy(), max(1, size // 12)
    pen, font = ImageDraw.Draw(changed), ImageFont.load_default(size)
    at = (size // 2, image.height - size // 2)
    pen.text(at, TEXT, (255, 255, 255), font, anchor="lb", stroke_width=edge, stroke_fill=(0, 0, 0))
    return changed


def _bicubic() -> int:
    from PIL import Image as images

    return images.Resampling.BICUBIC


def _border(image: Image) -> tuple[int, ...]:
    """The mean colour of the outermost pixels."""
    from PIL import Image as images
    from PIL import ImageStat

    edge = images.new("L", image.size, 255)
    if min(image.size) > 2:
        edge.paste(0, (1, 1, image.width - 1, image.height - 1))
    return tuple(round(mean) for mean in ImageStat.Stat(image, edge).mean)
