"""A JPEG's markers, read before Pillow reads them: a small file may ask for hours of decoding, or for gigabytes.

Each scan decodes all pixels once more, and needs 13 bytes: 16 MiB of them at 8,192 x 8,192 px take two days. Pillow
parses the EXIF, and the index of several pictures (MPF), when it opens a file: see `images.heavy`.
"""

from __future__ import annotations

import re

from mtrl.converters.pipeline import images

SCANS = 100  # ours; encoders write one, or about ten
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # no stuffed byte, and no restart
_SOS, _EOI, _EXIF, _MPF = 0xDA, 0xD9, b"Exif\0\0", b"MPF\0"
_LONG = {*range(0xC0, 0xC8), *range(0xC9, 0xD0), *range(0xDA, 0xF0), 0xFE}  # markers with a length, of what follows


def problem(content: bytes) -> str:
    """Why a JPEG is not decoded, "" where it is, and where this is no JPEG."""
    exif, at, scans = bytearray(), 0, 0
    while content.startswith(b"\xff\xd8\xff") and (found := _MARKER.search(content, at)):
        at, kind = found.end(), content[found.end() - 1]
        if kind == _EOI and scans:
            break
        if kind not in _LONG:
            continue
        end = at + int.from_bytes(content[at : at + 2])
        scans += kind == _SOS
        if content.startswith(_EXIF, at + 2):
            exif += content[at + 2 + len(_EXIF) : end]  # Pillow joins them, too
        elif content.startswith(_MPF, at + 2) and images.heavy(content[at + 2 + len(_MPF) : end]):
            return "its index of pictures has too many entries"
        if scans > SCANS:
            return f"more than {SCANS} scans"
        at = end
    return images.HEAVY if images.heavy(bytes(exif)) else ""
