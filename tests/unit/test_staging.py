"""A folder is written whole or not at all; what a killed writer left goes, what a live one writes stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mtrl.core import staging
from mtrl.core.errors import UserError

WRITER = """
import sys, time
from pathlib import Path
from mtrl.core import staging
with staging.folder(Path(sys.argv[1])) as here:
    (here / "weights").write_bytes(b"x" * 1000)
    print("writing", flush=True)
    time.sleep(60)
"""


def writer(target: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "writing\n"
    return process


def hidden(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.glob(".*"))


def test_the_next_writer_removes_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    killed, alive = writer(tmp_path / "a"), writer(tmp_path / "b")
    try:
        killed.kill()
        killed.wait()
        (tmp_path / ".somebody.else").mkdir()
        assert len(hidden(tmp_path)) == 3
        with pytest.raises(UserError, match="another command is writing"), staging.folder(tmp_path / "b"):
            pass
        with staging.folder(tmp_path / "c") as here:
            (here / "x").write_text("whole")
        assert [name[:3] for name in hidden(tmp_path)] == [".b.", ".so"]
        assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["x"]
    finally:
        alive.kill()
        alive.wait()
    with staging.folder(tmp_path / "b"):
        pass
    assert hidden(tmp_path) == [".somebody.else"] and (tmp_path / "b").is_dir()


def test_who_comes_second_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="was just written by another command"),
        staging.folder(tmp_path / "x") as here,
    ):
        (here / "mine").write_text("")
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "theirs").write_text("")
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["theirs"] and hidden(tmp_path) == []


def test_a_folder_without_its_lock_is_about_to_get_its_name(tmp_path: Path) -> None:
    here = tmp_path / f".x.0123{staging.SUFFIX}"
    here.mkdir()
    (here / "weights").write_text("")
    assert staging.sweep(tmp_path) == set() and (here / "weights").exists() and not (here / staging.LOCK).exists()
    empty = tmp_path / f".y.0123{staging.SUFFIX}"
    empty.mkdir()
    assert staging.sweep(tmp_path) == set() and not empty.exists()
