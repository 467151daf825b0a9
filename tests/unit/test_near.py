"""What counts as a near-duplicate, on drawn pictures and, where they are at hand, on real photos and their edits."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from mtrl.converters.pipeline import images, near
from mtrl.demo.releases import blocks, encoded
from tests.unit.releases_fixture import SHARED


def look(image: Image.Image, kind: str = "PNG", **options: int) -> str:
    return images.check(encoded(image, kind, **options))[1].fingerprint


def alike(one: str, other: str) -> bool:
    return one == other or bool(near.pairs([one, other]))


def test_scaled_and_recompressed_are_near_others_are_not() -> None:
    for number in range(20):
        image = blocks(7, 256)(number)
        one = look(image)
        assert alike(one, look(image.resize((200, 200), Image.Resampling.LANCZOS)))
        assert alike(one, look(image, "JPEG", quality=70))
        assert not alike(one, look(blocks(7, 256)(number + 100)))
        assert not alike(one, look(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))


def test_flat_images_have_no_look() -> None:
    assert look(Image.new("RGB", (64, 64), "red")) == ""
    assert near.clusters(["", ""]) == {}


def test_pairs_agree_with_comparing_all() -> None:
    looks = [look(blocks(8, 256)(number)) for number in range(30)]
    looks += [look(blocks(8, 256)(number), "JPEG", quality=60) for number in range(0, 30, 3)]
    found = {frozenset(pair) for pair in near.pairs(looks)}

    def close(one: str, other: str) -> bool:
        a, b = bytes.fromhex(one), bytes.fromhex(other)
        apart = sum((x ^ y).bit_count() for x, y in zip(a[:32], b[:32], strict=True))
        return apart <= near.DISTANCE and all(abs(x - y) <= near.COLOUR for x, y in zip(a[32:], b[32:], strict=True))

    every = {frozenset((a, b)) for a in looks for b in looks if a < b and close(a, b)}
    assert found == every
    assert len(found) >= 5


def test_components_are_transitive() -> None:
    found = near.components([*([number, number + 1] for number in range(50)), [99]])
    assert found[49] == found[0] == 0 and found[50] == 50


def test_real_photos(tmp_path: Path) -> None:
    """Each of 40 real photos is near itself at half the size and at JPEG quality 60, and near none of the others."""
    folder = SHARED / "mjbench_quality_objects" / "images"
    if not folder.exists():
        pytest.skip("needs shared/data")
    files = sorted(file for file in folder.glob("*.jpg") if "edited" not in file.name)[:40]
    originals, found = [], 0
    for file in files:
        data = file.read_bytes()
        originals.append(images.check(data)[1].fingerprint)
        with Image.open(io.BytesIO(data)) as image:
            half = image.convert("RGB").resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
        found += alike(originals[-1], look(half, "JPEG", quality=60))
    assert found == len(files)
    assert not near.pairs(originals)
