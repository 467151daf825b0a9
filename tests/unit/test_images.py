"""Every odd image is handled as the loaders handle it, or rejected with its reason; none stops a conversion."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageOps, features

from mtrl.converters.checks.converted import examine
from mtrl.converters.pipeline import images, store
from mtrl.converters.readers.picture import Picture, Rejected
from mtrl.core.errors import UserError
from mtrl.core.files import sha256_file
from mtrl.demo.releases import blocks, encoded
from tests.unit.releases_fixture import run, table_task

PLAIN = blocks(1)(0)


def bomb() -> bytes:
    """A small PNG that claims 30,000 x 30,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"0" * 10**6)) + chunk(b"IEND", b"")
    )


def grey16() -> bytes:
    return encoded(Image.frombytes("I;16", (8, 8), os.urandom(128)), "PNG")


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(PLAIN.resize((64, 32)), "JPEG", exif=exif.tobytes())


def sideways(kind: str, mark: int | None = None, **options: object) -> bytes:
    """Red left half, blue right half, 64 x 32 as stored; its EXIF says that it stands on its left side."""
    image = Image.new("RGB", (64, 32), "red")
    image.paste("blue", (32, 0, 64, 32))
    if mark is not None:  # makes it another image
        image.paste("white", (6 * mark, 12, 6 * mark + 6, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image, kind, exif=exif.tobytes(), **options)


def heic() -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pip install pillow-heif")
    pillow_heif.register_heif_opener()
    return encoded(PLAIN.resize((64, 48)), "HEIF", quality=90)


def avif(**options: object) -> bytes:
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    return encoded(PLAIN.resize((64, 48)), "AVIF", **options)


def animated(kind: str) -> bytes:
    return encoded(PLAIN, kind, save_all=True, append_images=[blocks(1)(1)])


REJECTED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty file"),
    "text": (b"<html>404</html>", "not an image"),
    "truncated jpeg": (encoded(PLAIN, "JPEG")[:-300], "truncated"),
    "truncated png": (encoded(PLAIN.resize((256, 256), 2), "PNG")[:-300], "truncated"),
    "truncated webp": (encoded(PLAIN, "WEBP", lossless=True)[:-200], "cannot be decoded|truncated|not an image"),
    "bomb": (bomb(), "more than 89478485 pixels"),
    "16-bit grey": (grey16(), "16-bit"),
    "ribbon": (encoded(Image.new("RGB", (1000, 4)), "PNG"), "aspect ratio"),
    "icon": (encoded(PLAIN, "ICO"), "format ICO"),
}
KEPT: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "palette": (lambda: encoded(PLAIN.convert("P"), "PNG"), "png", "mode P"),
    "see-through palette": (lambda: encoded(PLAIN.convert("P"), "PNG", transparency=0), "png", "transparency"),
    "cmyk": (lambda: encoded(PLAIN.convert("CMYK"), "JPEG"), "jpg", "mode CMYK"),
    "rgba": (lambda: encoded(PLAIN.convert("RGBA"), "PNG"), "png", "transparency"),
    "grey with alpha": (lambda: encoded(PLAIN.convert("LA"), "PNG"), "png", "transparency"),
    "bilevel": (lambda: encoded(PLAIN.convert("1"), "PNG"), "png", "mode 1"),
    "exif": (rotated, "jpg", "EXIF"),
    "animated webp": (lambda: animated("WEBP"), "webp", "several frames"),
    "animated gif": (lambda: animated("GIF"), "gif", "several frames"),
    "plain": (lambda: encoded(PLAIN, "WEBP", lossless=True), "webp", ""),
    "progressive": (lambda: encoded(PLAIN, "JPEG", progressive=True), "jpg", ""),
    "tiff": (lambda: encoded(PLAIN, "TIFF"), "tiff", ""),
    "bmp": (lambda: encoded(PLAIN, "BMP"), "bmp", ""),
}


@pytest.mark.parametrize("name", REJECTED)
def test_rejected(name: str) -> None:
    data, reason = REJECTED[name]
    with pytest.raises(Rejected, match=reason):
        images.check(data)


@pytest.mark.parametrize("name", KEPT)
def test_kept(name: str) -> None:
    make, extension, note = KEPT[name]
    found, known = images.check(make())
    assert found == extension
    assert (note in " ".join(known.notes)) if note else not known.notes


def test_exif_is_not_applied(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(rotated())
    loaded = images.load_rgb(tmp_path / "a.jpg")
    assert loaded.size == (64, 32)
    assert ImageOps.exif_transpose(loaded).size == (64, 32)  # vLLM applies what an image still carries


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_orient_stores_and_loads_upright(tmp_path: Path, kind: str) -> None:
    """Upright in the store, in the RL parquet and as a judge's own photograph; the card says so; twice the same
    bytes.
    """
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.img").write_bytes(sideways(kind))
    (raw / "b.png").write_bytes(encoded(PLAIN, "PNG"))
    records = [{"image": name, "label": n} for n, name in enumerate(("a.img", "b.png"))]
    split = {"parts": {"train": 1.0}}
    plain, rows = run(table_task(raw, records, split=split), raw, tmp_path / "data")
    assert plain["images"]["notes"][images.ROTATED] == 1 and plain["orient"] is False
    assert load_size(tmp_path / "data" / rows["train"][0].images[0]) == (64, 32)
    task = table_task(raw, records, split=split, orient=True)
    card, rows = run(task, raw, tmp_path / "data")
    assert "unchanged" not in card and card["orient"] is True and images.ROTATED not in card["images"]["notes"]
    assert card["images"]["notes"] == {"turned upright by its EXIF rotation, stored as JPEG or PNG": 1}
    stored = tmp_path / "data" / rows["train"][0].images[0]
    assert stored.suffix == (".jpg" if kind == "JPEG" else ".png") and stored.stem == sha256_file(stored)
    shown = images.load_rgb(raw / "a.img", orient=True)
    for picture in (images.load_rgb(stored), images.load_rgb(stored, orient=True), shown):
        assert picture.size == (32, 64)
        (red, _, blue), (red2, _, blue2) = picture.getpixel((16, 8)), picture.getpixel((16, 56))
        assert red > 200 > blue and blue2 > 200 > red2  # red is at the top
    worst = max(high for _, high in ImageChops.difference(shown, images.load_rgb(stored)).getextrema())
    assert worst <= (8 if kind == "JPEG" else 0)
    inside = pq.read_table(tmp_path / "data/unsafebench/rl_train.parquet").to_pylist()[0]["images"][0]["bytes"]
    assert inside == stored.read_bytes()
    assert run(task, raw, tmp_path / "again")[1] == rows
    assert "unchanged" in run(task, raw, tmp_path / "data")[0]
    assert [check.text for check in examine(table_task(raw, records), tmp_path / "data") if check.level == "error"] == [
        "unsafebench: its key orient has changed since it was converted"
    ]


def load_size(path: Path) -> tuple[int, int]:
    return images.load_rgb(path).size


def test_sideways_photographs_are_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    records = [{"image": f"{n}.jpg", "label": n % 2} for n in range(4)]
    for n in range(4):
        (raw / f"{n}.jpg").write_bytes(sideways("JPEG", quality=80 + n))
    task = table_task(raw, records)
    run(task, raw, tmp_path / "data")
    found = {check.text: check for check in examine(task, tmp_path / "data")}
    check = found["unsafebench: 4 images: EXIF rotation, which no loader applies"]
    assert check.level == "warning" and "orient: true" in check.then


def test_convert_and_check_warn_of_sideways_photographs(cli, project: Path) -> None:
    (project / "raw/kitchens").mkdir()
    for n in range(10):
        (project / f"raw/kitchens/{n}.jpg").write_bytes(sideways("JPEG", mark=n))
    table = "".join(f"{n}.jpg,{'clean' if n % 2 else 'dirty'}\n" for n in range(10))
    (project / "raw/kitchens/labels.csv").write_text("image,label\n" + table)
    task = project / "recipes/tasks/kitchens.yaml"
    task.write_text(
        "name: kitchens\ntitle: Kitchens\ncapability: safety\n"
        "source: {folder: kitchens, file: labels.csv}\n"
        "label: {column: label, values: {'yes': [clean], 'no': [dirty]}}\n"
        "prompts: {sft: sft/unsafebench.jinja, rl: rl/unsafebench.jinja}\n"
    )
    words = "kitchens: 10 images: EXIF rotation, which no loader applies"
    done = cli("convert", "kitchens", "--raw", "raw")
    assert done.code == 0 and f"warning: {words}; orient: true in recipes/tasks/kitchens.yaml" in done.out
    done = cli("check", "kitchens")
    assert f"warning {words}" in done.out and "next: orient: true" in done.out
    task.write_text(task.read_text() + "orient: true\n")
    assert "its key orient has changed" in cli("check", "kitchens").out
    done = cli("convert", "kitchens", "--raw", "raw")
    assert done.code == 0 and "EXIF" not in done.out
    done = cli("check", "kitchens")
    assert words not in done.out and "10 images: turned upright" in done.out


def test_rotated(tmp_path: Path) -> None:
    for name, data in {
        "a.jpg": sideways("JPEG"),
        "b.tiff": sideways("TIFF"),
        "c.png": encoded(PLAIN, "PNG"),
        "d.txt": b"text",
    }.items():
        (tmp_path / name).write_bytes(data)
    assert [images.rotated(tmp_path / name) for name in ("a.jpg", "b.tiff", "c.png", "d.txt", "e.jpg")] == [
        True,
        False,
        False,
        False,
        False,
    ]
    assert images.load_rgb(tmp_path / "b.tiff").size == (32, 64)  # Pillow itself turns TIFF files


def test_heic_and_avif_are_stored_as_jpeg(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    made = {"a.heic": heic(), "b.avif": avif(), "c.png": encoded(PLAIN, "PNG")}
    made["d.avif"] = sideways("AVIF")  # AVIF holds its rotation itself, and every reader of AVIF applies it
    for name, data in made.items():
        (raw / name).write_bytes(data)
    records = [{"image": name, "label": n % 2} for n, name in enumerate(made)]
    card, rows = run(table_task(raw, records, split={"parts": {"train": 1.0}}), raw, tmp_path / "data")
    assert card["images"]["notes"] == {"AVIF, stored as JPEG": 2, "HEIC, stored as JPEG": 1}
    assert not card["rejects"]
    stored = [tmp_path / "data" / row.images[0] for row in rows["train"]]
    assert [file.suffix for file in stored] == [".jpg", ".jpg", ".png", ".jpg"]
    for file, name in zip(stored, made, strict=True):
        with Image.open(file) as image:
            assert image.format in ("JPEG", "PNG") and file.stem == sha256_file(file)
        difference = ImageChops.difference(images.load_rgb(raw / name), images.load_rgb(file))
        assert max(high for _, high in difference.getextrema()) <= 12
    assert load_size(stored[3]) == (32, 64) and not images.rotated(raw / "d.avif")


@pytest.mark.parametrize(("brand", "words"), [(b"heic", "pip install 'mtrl\\[heic\\]'"), (b"avif", "Pillow 11.3")])
def test_a_format_that_nothing_here_reads_is_named(brand: bytes, words: str) -> None:
    with pytest.raises(Rejected, match=words):
        raise Rejected(images._unread(b"\0\0\0\x18ftyp" + brand + b"\0" * 20))


def test_heic_without_its_extra(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(heic())
    code = "import sys; sys.modules['pillow_heif'] = None; from mtrl.converters.pipeline import images as i; " + (
        f"i.check(open({str(tmp_path / 'a.heic')!r}, 'rb').read())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "Rejected: HEIC, which needs pillow-heif: pip install 'mtrl[heic]'" in done.stderr


def test_whatever_a_decoder_raises_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(PLAIN, "PNG")[:40])
    with pytest.raises(OSError):
        images.load_rgb(tmp_path / "a.png")


def test_a_folder_of_all_of_them(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "sub").mkdir(parents=True)
    nfd = unicodedata.normalize("NFD", "sub/é=1 b.png")
    named = {
        nfd: encoded(PLAIN, "PNG"),
        "wrong.jpg": encoded(blocks(1)(2), "PNG"),
        "bare": encoded(blocks(1)(3), "PNG"),
    }
    named |= {f"good {n}": make() for n, (make, _, _) in enumerate(KEPT.values())}
    named |= {f"bad {n}": data for n, (data, _) in enumerate(REJECTED.values())}
    for name, data in named.items():
        (raw / name).write_bytes(data)
    records = [{"image": unicodedata.normalize("NFC", name), "label": n % 2} for n, name in enumerate(named)]
    card, rows = run(table_task(raw, records), raw, tmp_path / "data")
    assert sum(map(len, rows.values())) == 3 + len(KEPT)
    assert sum(card["rejects"].values()) == len(REJECTED)
    assert card["images"]["notes"]["extension does not say what the file is"] == 1
    for held in rows.values():
        for row in held:
            stored = tmp_path / "data" / row.images[0]
            assert stored.stem == sha256_file(stored)
            assert stored.stat().st_nlink == 1  # a copy: an edit of the release's file must not reach it


def test_names_that_lead_out_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(encoded(PLAIN, "PNG"))
    for name in ("../secret.png", str(tmp_path / "secret.png"), "sub/../../secret.png", "", "."):
        task = table_task(tmp_path / "raw", [{"image": name, "label": 0}])
        with pytest.raises(UserError, match="is not a file name below"):
            run(task, tmp_path / "raw", tmp_path / "data")


def test_a_hub_cache_of_symbolic_links(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "x").write_bytes(encoded(PLAIN, "PNG"))
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.png").symlink_to("../blobs/x")
    _, rows = run(table_task(raw, [{"image": "a.png", "label": 0}]), raw, tmp_path / "data")
    stored = tmp_path / "data" / next(row.images[0] for held in rows.values() for row in held)
    assert stored.is_file() and not stored.is_symlink()


MODES = st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr", "LAB", "HSV"])
KINDS = st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA"])


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(MODES, KINDS, st.integers(1, 40), st.integers(1, 40), st.integers(0, 400), st.binary(max_size=8))
def test_any_mode_format_cut_and_damage_is_kept_or_rejected(
    mode: str, kind: str, width: int, height: int, cut: int, noise: bytes
) -> None:
    try:
        data = encoded(Image.new(mode, (width, height)), kind)
    except (OSError, ValueError, KeyError, SystemError):
        return  # there is no such file
    damaged = data[: max(0, len(data) - cut)] if cut < 200 else data[: cut // 3] + noise + data[cut // 3 + len(noise) :]
    for content in (data, damaged):
        try:
            extension, _ = images.check(content)
        except Rejected as reason:
            assert str(reason)
        else:
            assert extension in images.EXTENSIONS.values()
            with Image.open(io.BytesIO(content)) as image:
                assert image.convert("RGB").mode == "RGB"


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.text(max_size=30), st.booleans()), min_size=1, max_size=6, unique_by=lambda pair: pair[0]))
def test_any_id_and_caption_survives(tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, bool]]) -> None:
    base = tmp_path_factory.mktemp("any")
    if any("\ud800" <= letter <= "\udfff" for text, _ in said for letter in text):
        return
    raw = base / "raw"
    raw.mkdir()
    (raw / "a.png").write_bytes(encoded(PLAIN, "PNG"))
    records = [{"image": "a.png", "label": int(yes), "name": text, "caption": text} for text, yes in said]
    source = {"file": "labels.jsonl", "id": "name", "fields": {"caption": "caption"}}
    card, rows = run(table_task(raw, records, source=source), raw, base / "data")
    got = {row.id: row for held in rows.values() for row in held}
    assert {text: "yes" if yes else "no" for text, yes in said} == {name: row.answer for name, row in got.items()}
    assert all("<image>" not in row.fields["caption"] for row in got.values())
    assert card["rows_in_release"] == len(said)


def test_known_images_are_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(PLAIN, "PNG")
    stored = store.Store(tmp_path).put(Picture("a.png"), data)
    monkeypatch.setattr(images, "check", lambda data: pytest.fail("decoded twice"))
    assert store.Store(tmp_path, {stored.name: stored.decoded}).put(Picture("a.png"), data) == stored
