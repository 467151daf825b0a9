from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from mtrl.converters.readers.archive import Archive
from mtrl.converters.readers.picture import Rejected
from mtrl.core.errors import UserError
from mtrl.demo import releases_texts as releases
from mtrl.demo.releases import blocks
from tests.unit.releases_fixture import run, task_with


def test_a_score_is_the_mean_rounded_with_halves_up(tmp_path: Path) -> None:
    releases.evalmuse(tmp_path / "raw")
    card, rows = run(task_with("evalmuse_alignment"), tmp_path / "raw", tmp_path / "data")
    found = {row.id: row for held in rows.values() for row in held}
    half, null = found["SDXL-Turbo/00000.png"], found["SD_v1.5/00000.png"]
    assert (half.score, half.answer) == (3.5, "4") and half.source["ratings"] == [3, 4, 3, 4, 3, 4]
    assert (null.score, null.answer) == (3.5, "4")  # a rating that is null does not count
    assert found["SDXL-Turbo/00002.png"].score == pytest.approx(11 / 3)
    assert card["left_out"] == {"label.drop": 1} and card["rejects"] == {"not in images.zip": 1}
    assert "SDXL-Turbo/00001.png" not in found and "SD_v1.5/00001.png" not in found


def test_no_prompt_is_in_two_splits(tmp_path: Path) -> None:
    releases.evalmuse(tmp_path / "raw", prompts=30)
    for name in ("evalmuse_alignment", "evalmuse_elements"):
        _, rows = run(task_with(name), tmp_path / "raw", tmp_path / "data")
        groups = [{row.group for row in held} for held in rows.values()]
        assert all(groups) and sum(map(len, groups)) == len(set.union(*groups)) >= 29


def test_an_element_is_there_if_half_of_the_raters_say_so(tmp_path: Path) -> None:
    releases.evalmuse(tmp_path / "raw")
    card, rows = run(task_with("evalmuse_elements"), tmp_path / "raw", tmp_path / "data")
    found = {row.id: row for held in rows.values() for row in held}
    half, none = found["SDXL-Turbo/00000.png red (color)"], found["SD_v1.5/00000.png red (color)"]
    assert (half.score, half.answer) == (0.5, "yes")
    assert (none.score, none.answer) == (0.0, "no")  # element_score is a JSON text here, and one rating null
    assert half.fields == {"caption": "a puffin on a red boat, picture 0", "element": "red (color)"}
    assert found["SD_v1.5/00002.png puffin (animal)"].answer == "yes"
    assert card["left_out"] == {"label.drop": 1} and card["rejects"] == {"not in images.zip": 2}


def test_images_of_two_models_have_one_name(tmp_path: Path) -> None:
    folder = releases.evalmuse(tmp_path / "raw")
    archive = Archive(folder / "images.zip")
    one, other = (archive.picture(f"{model}/00000.png").read() for model in ("SDXL-Turbo", "SD_v1.5"))
    assert one != other and one == releases.encoded(blocks(14)(0), "PNG")
    with pytest.raises(Rejected, match="several different members"):
        archive.picture("00000.png").read()
    with pytest.raises(Rejected, match="not in"):
        archive.picture("Turbo/00000.png").read()


def test_a_zip_in_parts_is_one_command_away(tmp_path: Path) -> None:
    folder = releases.evalmuse(tmp_path / "raw")
    whole = (folder / "images.zip").read_bytes()
    for letter, part in zip("ab", (whole[:500], whole[500:]), strict=True):
        (folder / f"images.zip.part-a{letter}").write_bytes(part)
    (folder / "images.zip").unlink()
    with pytest.raises(UserError, match=r"no images\.zip in .*in parts") as error:
        run(task_with("evalmuse_alignment"), tmp_path / "raw", tmp_path / "data")
    assert error.value.then.startswith("cat ")
    import subprocess

    subprocess.run(error.value.then, shell=True, check=True)
    assert zipfile.ZipFile(folder / "images.zip").testzip() is None
    run(task_with("evalmuse_alignment"), tmp_path / "raw", tmp_path / "data")
