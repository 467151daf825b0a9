"""An export from somebody else: what its mtrl.json may say, and whether its files are those that it lists."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtrl.config import recipe
from mtrl.core.errors import UserError
from mtrl.core.files import read_json, sha256_file
from mtrl.demo.walkthrough import tiny
from mtrl.evaluate.judges import subject
from mtrl.evaluate.subject import Subject
from mtrl.models import integrity
from tests.unit.standin import completion, standin


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "x"
    shutil.copytree(tiny(), folder)
    found = recipe.load("sft_unified", "tiny", "cpu").model_dump(mode="json")
    card = {"method": "sft_unified", "style": "sft", "image": found["image"], "max_new_tokens": 16, "tasks": ["a"]}
    files = {file.name: sha256_file(file) for file in folder.iterdir()}
    (folder / "mtrl.json").write_text(json.dumps({**card, "run": "r", "recipe": found, "files": files}))
    return folder


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("run", "../../outside", "run: it should be a name"),
        ("run", "/tmp/outside", "run: it should be a name"),
        ("run", "..", "run: it should be a name"),
        ("run", 7, "run: Input should be a valid string"),
        ("style", "../x", "style: Input should be 'sft' or 'rl'"),
        ("method", "mine", "method: Input should be"),
        ("image", {"min_pixels": 1024, "max_pixels": 10**12}, "image.max_pixels should be at most"),
        ("image", {"min_pixels": 4096, "max_pixels": 1024}, "min_pixels"),
        ("tasks", ["../../a"], "tasks.0"),
        ("max_new_tokens", 10**9, "max_new_tokens"),
        ("files", {"../../.bashrc": "0" * 64}, "inside the export"),
        ("files", {"model.safetensors": "x"}, "files.model.safetensors"),
    ],
)
def test_a_card_has_no_power_but_to_say_how_to_ask(export: Path, key: str, value: Any, says: str) -> None:
    card = read_json(export / "mtrl.json")
    (export / "mtrl.json").write_text(json.dumps({**card, key: value}))
    with pytest.raises(UserError) as error:
        subject(str(export))
    assert says in str(error.value) and str(export / "mtrl.json") in str(error.value)


def test_nothing_is_written_outside_runs(cli, export: Path, project: Path) -> None:
    card = read_json(export / "mtrl.json")
    (export / "mtrl.json").write_text(json.dumps({**card, "run": "../../outside"}))
    done = cli("eval", "--ckpt", export, "--tasks", "demo_quality", "--limit", 1)
    assert done.code == 2 and "should be a name" in done.err
    assert not (project.parent / "outside").exists()


def overwrite(file: Path, keep: bool = False) -> None:
    """Other weights of the same size; with `keep` under the same times, as far as a user can set them."""
    data, before = bytearray(file.read_bytes()), file.stat()
    data[-1] ^= 1
    file.write_bytes(data)
    if keep:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "overwritten": (lambda x: overwrite(x / "model.safetensors", keep=True), "has been changed since it was exported"),
    "another chat template": (lambda x: (x / "chat_template.jinja").write_text("{{ x }}"), "chat_template.jinja"),
    "added": (lambda x: shutil.copy(x / "model.safetensors", x / "z.safetensors"), "z.safetensors is not listed"),
    "a pickle": (lambda x: (x / "pytorch_model.bin").write_bytes(b""), "pytorch_model.bin is not listed"),
    "gone": (lambda x: (x / "tokenizer.json").unlink(), "which mtrl.json lists, cannot be read"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_files_are_those_that_were_exported(export: Path, how: str) -> None:
    subject(str(export)).check()
    spoil, says = SPOILED[how]
    spoil(export)
    with pytest.raises(UserError, match=says) as error:
        subject(str(export)).check()
    assert "export the run again" in error.value.then


def test_what_was_hashed_is_not_hashed_again(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity, "FRESH", -1.0)
    hashed: list[str] = []
    true = integrity._sha256

    def counted(file: Path, read: Callable[[int], None]) -> str:
        hashed.append(file.name)
        return true(file, read)

    monkeypatch.setattr(integrity, "_sha256", counted)
    judge, seen = subject(str(export)), []
    judge.check(lambda done, total: seen.append((done, total)))
    assert "model.safetensors" in hashed and seen[-1][0] <= seen[-1][1]
    hashed.clear()
    judge.check()
    subject(str(export)).check()  # by another command
    assert hashed == []
    os.utime(export / "model.safetensors")
    judge.check()
    assert hashed == ["model.safetensors"]
    moved = export.rename(export.with_name("y"))
    subject(str(moved)).check()
    assert len(hashed) > 5


def test_fresh_files_are_hashed_every_time(export: Path) -> None:
    """The clock of a file system is coarse: what changed just now may change again and look the same."""
    judge = subject(str(export))
    (export / "model.safetensors").touch()
    judge.check()
    overwrite(export / "model.safetensors", keep=True)
    with pytest.raises(UserError, match="has been changed"):
        judge.check()


def test_a_judge_is_watched_while_it_is_asked(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity, "EVERY", 0.0)
    for made in (lambda: subject(str(export)), lambda: foreign(export)):
        answers = integrity.watched(range(3), made().check)
        assert next(answers) == 0
        time.sleep(0.01)
        overwrite(export / "model.safetensors")
        with pytest.raises(UserError, match="has been changed since"):
            list(answers)
        overwrite(export / "model.safetensors")


def foreign(export: Path) -> Subject:
    (export / "mtrl.json").unlink()
    return subject(str(export))


def test_the_small_files_of_a_foreign_model_are_part_of_it(export: Path) -> None:
    before = foreign(export).fingerprint
    (export / "chat_template.jinja").write_text("{{ messages }}")
    assert subject(str(export)).fingerprint != before


def test_a_pickle_is_no_checkpoint(cli, export: Path) -> None:
    (export / "mtrl.json").unlink()
    (export / "model.safetensors").rename(export / "pytorch_model.bin")
    done = cli("eval", "--ckpt", export, "--tasks", "demo_quality")
    assert done.code == 2 and "no safetensors weights" in done.err and ".bin, can run code" in done.err


def test_an_endpoint_is_asked_by_an_export_whose_weights_are_elsewhere(cli, export: Path, project: Path) -> None:
    (export / "model.safetensors").write_bytes(b"")
    with standin(lambda number, body: completion("yes")) as server:
        done = cli(
            "eval",
            "--ckpt",
            export,
            "--endpoint",
            server.url,
            "--served-model",
            "m",
            "--tasks",
            "demo_quality",
            "--limit",
            2,
        )
    assert done.code == 0, done.err
