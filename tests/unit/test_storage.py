"""Damaged archives, folders that cannot be written to, paths through files, file systems without links, and
the umask.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtrl.converters.readers.archive import Archive
from mtrl.converters.readers.picture import Rejected
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import symlink
from mtrl.demo import releases
from mtrl.evaluate.identity import AskedWith, Identity
from mtrl.evaluate.recording import Recording
from mtrl.runs import export
from tests.unit.releases_fixture import run, table_task
from tests.unit.test_export import a_run

IDENTITY = Identity(path="m", method="zero_shot", style="sft", sampling=AskedWith(votes=1), tasks={})

METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}


@pytest.mark.parametrize("method", METHODS)
def test_a_damaged_member_costs_its_row_only(tmp_path: Path, method: str) -> None:
    """Every byte of the member is damaged once, its header included; the other member is read every time."""
    content, file = os.urandom(60) * 4, tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w", METHODS[method]) as archive:
        archive.writestr("bad.png", content)
        begin, end = 0, archive.fp.tell()  # type: ignore[union-attr]
        archive.writestr("good.png", content)
    whole, rejected = file.read_bytes(), 0
    for place in range(begin, end):
        for value in (0x00, 0xFF, whole[place] ^ 1):
            file.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            archive_now = Archive(file)
            assert archive_now.picture("good.png").read() == content
            try:
                assert archive_now.picture("bad.png").read() == content
            except Rejected as reason:
                assert str(reason) == "damaged in a.zip"
                rejected += 1
    assert rejected > 100


def test_a_member_is_found_by_the_end_of_its_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("all/images/one/0.png", "all/images/two/0.png"):
            archive.writestr(name, name)
    found = Archive(tmp_path / "a.zip")
    for name in ("two/0.png", "images/two/0.png", "all/images/two/0.png"):
        assert found.picture(name).read() == b"all/images/two/0.png"
    for name, said in (("0.png", "several different members"), ("wo/0.png", "not in a.zip")):
        with pytest.raises(Rejected, match=said):
            found.picture(name).read()


def test_what_is_no_zip_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "text.zip").write_text("text")
    for name in ("pipe.zip", "text.zip", "missing.zip"):
        with pytest.raises(UserError, match="is not a complete zip file"):
            Archive(tmp_path / name)


def release(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.png").write_bytes(releases.encoded(releases.blocks(1)(0), "PNG"))
    table_task(folder, [{"image": "a.png", "label": 0}])


def test_a_path_through_a_file_is_the_users_mistake(cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "data", "a\0b"):
        done = cli("convert", "unsafebench", "--raw", tmp_path, "--out", out)
        assert done.code == 2 and "--out" in done.err and "Traceback" not in done.err
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(UserError, match="is a file, and a folder is needed"):
        Recording(tmp_path / "file" / "e", IDENTITY)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder on a read-only file system, which binds root too; without such a mount a folder without write
    permission.
    """
    folder = tmp_path / "ro"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro", "none", str(folder)], capture_output=True
        ).returncode
    )
    if not mounted:
        folder.chmod(0o555)
        if os.access(folder, os.W_OK):
            pytest.skip("root writes everywhere, and a read-only mount is not permitted here")
    yield folder
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)
    else:
        folder.chmod(0o755)


def test_a_read_only_folder_is_said(cli, tmp_path: Path, read_only: Path) -> None:
    release(tmp_path / "raw")
    for out in (read_only, read_only / "data"):
        done = cli("convert", "unsafebench", "--raw", tmp_path / "raw", "--out", out)
        assert done.code == 2 and f"folder {read_only} may not be written to" in done.err
        assert "make room" not in done.err and "Traceback" not in done.err
    task = table_task(tmp_path / "raw", [{"image": "a.png", "label": 0}])
    with pytest.raises(MtrlError, match=r"writing to .* failed") as error:
        run(task, tmp_path / "raw", read_only / "data")
    assert error.value.then == "choose a folder that you may write to, or change its permissions"
    with pytest.raises(UserError, match="may not be written to"):
        Recording(read_only / "e", IDENTITY)


def test_file_systems_without_links_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    release(tmp_path / "raw")
    task = table_task(tmp_path / "raw", [{"image": "a.png", "label": 0}])
    monkeypatch.setattr(os, "link", none)
    monkeypatch.setattr(os, "symlink", none)
    with pytest.raises(UserError, match="cannot have hard links") as error:
        run(task, tmp_path / "raw", tmp_path / "data", links=True)
    assert "--hard-links" in error.value.then
    run(task, tmp_path / "raw", tmp_path / "data")  # needs no links
    with pytest.raises(UserError, match="has no symbolic links"):
        symlink(tmp_path / "raw", tmp_path / "link")


def test_no_file_is_wider_than_the_umask_allows(project: Path) -> None:
    """A conversion, a prepared run and an export, all under umask 077."""
    code = "import os, sys; os.umask(0o077); from mtrl.cli import main; main(sys.argv[1:])"
    commands = (
        ["convert", "demo_quality", "--raw", "raw", "--out", "out"],
        [
            "sft",
            "sft_unified",
            "--model",
            "tiny",
            "--hardware",
            "cpu",
            "--set",
            "tasks=demo_quality",
            "--data",
            "out",
            "--runs",
            "out/runs",
            "--dry-run",
        ],
    )
    for command in commands:
        done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    before = os.umask(0o077)
    try:
        made = a_run(project / "out", "rl_multitask", [5])
        export.export(made, "last", project / "out" / "x")
    finally:
        os.umask(before)
    assert os.access(project / "out/x", os.R_OK)
    wide = [
        str(path)
        for path in sorted(Path("out").rglob("*"))
        if path.lstat().st_mode & 0o077 and not path.is_symlink() and "checkpoint-" not in str(path)
    ]
    assert not wide
