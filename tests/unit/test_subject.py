"""What mtrl eval knows of a checkpoint before it asks: from mtrl.json, or for a foreign model from the zero-shot
recipe.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mtrl.config import recipe
from mtrl.core.files import sha256_file
from mtrl.demo.walkthrough import tiny
from mtrl.evaluate.judges import served, subject


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    shutil.copytree(tiny(), tmp_path / "x")
    found = recipe.load("sft_unified", "tiny", "cpu").model_dump(mode="json")
    card = {
        "method": "sft_unified",
        "style": "sft",
        "image": {"min_pixels": 1024, "max_pixels": 2048},
        "max_new_tokens": 16,
    }
    files = {file.name: sha256_file(file) for file in (tmp_path / "x").iterdir()}
    (tmp_path / "x" / "mtrl.json").write_text(
        json.dumps({**card, "tasks": ["a"], "run": "r", "recipe": found, "files": files})
    )
    return tmp_path / "x"


def test_an_export_says_how_it_wants_to_be_asked(exported: Path) -> None:
    found = subject(str(exported))
    assert (found.method, found.style, found.max_new_tokens, found.image.max_pixels) == ("sft_unified", "sft", 16, 2048)
    assert found.told_by.endswith("mtrl.json")


def test_another_style_gets_the_room_of_the_rl_recipe(exported: Path) -> None:
    assert (
        subject(str(exported), "rl").max_new_tokens == recipe.load("rl_multitask", "tiny", "cpu").rl.max_response_length
    )


def test_a_foreign_model_is_asked_as_the_zero_shot_row() -> None:
    found = subject(str(tiny()))
    assert (found.method, found.style, found.max_new_tokens) == ("zero_shot", "sft", 16)
    assert found.image == recipe.load("zero_shot", "tiny", "cpu").image  # its preset narrows the range
    assert found.told_by == "recipes/zero_shot.yaml"
    hub = subject("Qwen/Qwen3-VL-8B-Instruct", "rl")
    assert (hub.fingerprint, hub.max_new_tokens, hub.image.max_pixels) == ("Qwen/Qwen3-VL-8B-Instruct", 2048, 4_194_304)


def test_changed_weights_are_another_judge(exported: Path) -> None:
    (exported / "mtrl.json").unlink()
    before = subject(str(exported)).fingerprint
    (exported / "config.json").write_text((exported / "config.json").read_text() + " ")
    assert subject(str(exported)).fingerprint != before


def test_what_is_served_is_asked_as_its_folder_says(exported: Path) -> None:
    alone, told = served("some/model"), served("mine", str(exported))
    assert (alone.checkpoint, alone.fingerprint, alone.method, alone.style) == (
        "some/model",
        "some/model",
        "zero_shot",
        "sft",
    )
    assert alone.image == recipe.load("zero_shot").image and alone.side == 32
    assert (told.checkpoint, told.fingerprint, told.method) == ("mine", "mine", "sft_unified")
    assert told.image.max_pixels == 2048 and told.told_by.endswith("mtrl.json")
    assert served("Qwen/Qwen2.5-VL-7B-Instruct").side == 28  # another patch


@pytest.mark.parametrize(("style", "warned"), [("rl", True), ("sft", False)])
def test_a_sift_in_another_style_than_the_training_is_warned_of(
    exported: Path, cli, tmp_path: Path, style: str, warned: bool
) -> None:
    done = cli("sift", "--ckpt", exported, "--tasks", "seetrue", "--style", style, "--data", tmp_path / "none")
    assert done.code == 2  # nothing is converted
    assert ("the judge was trained in the style sft: in the style rl it may be wrong" in done.out) is warned
