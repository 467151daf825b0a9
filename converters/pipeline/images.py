"""Decoding images: `check` says what is wrong with one, `load_rgb` loads one the way every upstream loader does.

That is: first frame, converted to RGB, alpha dropped, no EXIF rotation. Images where that matters are noted by `check`,
and what cannot be used raises `Rejected` with the reason. Two kinds are stored re-encoded, since
upstream loaders would read them wrongly or not at all: HEIC and AVIF, and for a task with `orient` those whose EXIF
asks for a rotation, which are then upright.
"""

from __future__ import annotations

import contextlib
import functools
import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple

from mtrl.converters.readers.picture import Rejected, contents
from mtrl.core import hints
from mtrl.core.errors import MtrlError
from mtrl.core.files import open_regular, sha256_bytes

if TYPE_CHECKING:
    from PIL import Image

EXTENSIONS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tiff"}
SAME = {"jpeg": "jpg", "jpe": "jpg", "jfif": "jpg", "tif": "tiff"}
REENCODED = {"AVIF": "avif", "HEIF": "heic"}  # read here and stored as JPEG: a trainer's Pillow may not read them
ENDINGS = {*EXTENSIONS.values(), *SAME, "avif", "heic", "heif", "hif"}  # of files that may be images, in lower case
LOSSY = {"JPEG", "MPO", *REENCODED}
MAX_ASPECT = 200  # Qwen's image processors refuse more
MAX_PIXELS = 89_478_485  # above this Pillow itself warns of a decompression bomb; no release comes near
LARGE = 16_000_000  # pixels: 64 MB decoded; such images are decoded one at a time
ORIENTATION = 0x0112
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}  # EXIF orientation -> what makes the image upright
COPIED = 1 << 26  # bytes that Pillow may copy of an EXIF; cameras write 50 entries and 64 kB: 3 MB
HEAVY = "its EXIF has too many entries"
ROTATED = "EXIF rotation, which no loader applies"
_one_large = threading.Lock()


class Decoded(NamedTuple):
    """What decoding an image found."""

    fingerprint: str = ""
    """For near-duplicates; "" for an image without structure."""
    notes: tuple[str, ...] = ()
    """What loaders ignore, such as transparency."""
    size: tuple[int, int] = (0, 0)
    """Width and height in pixels, as the file says: no EXIF rotation is applied."""


@functools.cache
def _register() -> None:
    """Lets Pillow read HEIC, where the extra `heic` is installed."""
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()


def _open(file: BinaryIO) -> Image.Image:
    from PIL import Image

    _register()
    return Image.open(file)


def check(data: bytes) -> tuple[str, Decoded]:
    """Decodes the image; returns its file extension and what was found. Raises Rejected."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise Rejected("empty file")
    try:
        with _open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Rejected(f"more than {MAX_PIXELS} pixels")
            extension = {**EXTENSIONS, **REENCODED}.get(image.format or "")
            if extension is None:
                raise Rejected(f"format {image.format} is not an image format that all trainers read")
            if max(image.size) > MAX_ASPECT * min(image.size):
                raise Rejected(f"aspect ratio over {MAX_ASPECT}")
            if image.mode.startswith("I") or image.mode == "F":
                raise Rejected("16-bit or floating-point grey, which every loader shows almost white")
            with _one_large if image.width * image.height > LARGE else contextlib.nullcontext():
                if heavy(_exif(image)):
                    raise Rejected(HEAVY)
                notes, size = _notes(image), image.size  # decoding may draft it smaller
                return extension, Decoded(_fingerprint(image), notes, size)
    except UnidentifiedImageError:
        raise Rejected(_unread(data)) from None
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


def _unread(data: bytes) -> str:
    """Why Pillow does not know the file: HEIC and AVIF are named, with what reads them."""
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"):
        return "HEIC, which needs pillow-heif: pip install 'mtrl[heic]'"
    if brand in (b"avif", b"avis"):
        return "AVIF, which needs Pillow 11.3 or later: pip install 'pillow>=11.3'"
    return "not an image"


def heavy(exif: bytes) -> bool:
    """Whether Pillow might copy more than COPIED bytes of an EXIF: the value of each entry may be all of it, so 240 kB
    become 4 GB. Each prefix costs a copy, too."""
    begin = 0
    while exif.startswith(b"Exif\0\0", begin):
        begin += 6
    order: Literal["little", "big"] = "little" if exif[begin : begin + 2] == b"II" else "big"
    at = begin + int.from_bytes(exif[begin + 4 : begin + 8], order)
    entries = min(int.from_bytes(exif[at : at + 2], order), len(exif) // 12)
    return (begin // 6 + entries) * len(exif) > COPIED


def _exif(image: Image.Image) -> bytes:
    """As Pillow parses it, b"" for none."""
    if image.format == "PNG":
        image.load()  # it may come after the pixels
    given = image.info.get("exif")
    if given is None and (text := image.info.get("Raw profile type exif")):
        with contextlib.suppress(ValueError):
            given = bytes.fromhex("".join(text.split("\n")[3:]))
    return given or b""


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The operation that makes the decoded pixels upright; None where they are. Pillow rotates TIFF files by itself."""
    from PIL import Image

    with contextlib.suppress(Exception):  # an image with broken metadata may be whole
        if image.format != "TIFF" and (turn := TURNS.get(image.getexif().get(ORIENTATION, 1))):
            return Image.Transpose[turn]
    return None


def _upright(image: Image.Image, orient: bool) -> Image.Image:
    """HEIC and AVIF are always rotated: there the rotation is a part of the format."""
    turn = _turn(image) if orient or image.format in REENCODED else None
    return image if turn is None else image.transpose(turn)


def rotated(file: Path) -> bool:
    """Whether the EXIF asks for a rotation, which loaders ignore. False for an unreadable file."""
    try:
        with open_regular(file) as opened, _open(opened) as image:
            return image.format not in REENCODED and _turn(image) is not None
    except Exception:  # see `check`, which says what is wrong with the file
        return False


def upright(task: str) -> str:
    """The next step where images are `ROTATED`."""
    return f"orient: true in recipes/tasks/{task}.yaml stores and judges them upright"


def _notes(image: Image.Image) -> tuple[str, ...]:
    notes = []
    if image.format in REENCODED:
        notes.append(f"{REENCODED[image.format].upper()}, stored as JPEG")
    elif _turn(image) is not None:
        notes.append(ROTATED)
    if getattr(image, "n_frames", 1) > 1:
        notes.append("several frames; loaders take the first")
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


def encode(data: bytes) -> tuple[bytes, str]:
    """The image upright and readable by every trainer, and its extension; the same bytes every time.

    JPEG of quality 95 with full colour resolution where the source is lossy itself (JPEG, HEIC, AVIF: a photograph
    as PNG would be eight times as large), else PNG, which loses nothing. Metadata is left out. Raises Rejected.
    """
    buffer = io.BytesIO()
    try:
        with (
            _open(io.BytesIO(data)) as image,
            _one_large if image.width * image.height > LARGE else contextlib.nullcontext(),
        ):
            kind = "JPEG" if image.format in LOSSY else "PNG"
            picture = _upright(image, True).convert("RGB")
            picture.info.clear()
            picture.save(buffer, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    except MemoryError:
        raise Rejected("too large to decode") from None
    except Exception:  # decoders raise what they like, see `check`
        raise Rejected("cannot be decoded") from None
    return buffer.getvalue(), EXTENSIONS[kind]


def read(path: Path) -> bytes:
    """The bytes of an image file. Raises Rejected, OSError, and MtrlError for a stored image that has changed."""
    data = contents(path)
    stored = path.parent.parent.name == "images" and len(path.stem) == 64 and path.stem.startswith(path.parent.name)
    if stored and sha256_bytes(data) != path.stem:
        raise MtrlError(
            f"{path} has changed since it was converted: its name is the sha256 that it had",
            hints.line("check", "all", data=path.parents[2]),
        )
    return data


def load_rgb(path: Path | BinaryIO, orient: bool = False) -> Image.Image:
    """The image as RGB, as upstream loaders see it; with `orient` rotated upright by its EXIF.

    Raises OSError where it is gone or cannot be decoded, MtrlError for a stored image that is not what its name says.
    """
    try:
        data = read(path) if isinstance(path, Path) else path.read()
        with _open(io.BytesIO(data)) as image:
            rgb = _upright(image, orient).convert("RGB")
    except (OSError, MtrlError):
        raise
    except Rejected as reason:
        raise OSError(f"{path}: {reason}") from None
    except Exception as error:  # decoders raise what they like, see `check`
        raise OSError(f"{path} cannot be decoded: {error}") from error
    rgb.info.clear()  # vLLM would rotate the image by the EXIF in it
    return rgb
