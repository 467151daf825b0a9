"""Paths on a disk of one node, found before a launch over several."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtrl.config import recipe
from mtrl.core.rundir import Run
from mtrl.preflight import shared

MOUNTS = r"""/dev/vda / ext4 rw 0 0
nas:/export /mnt/all nfs4 rw 0 0
/dev/vdb /mnt/all/scratch xfs rw 0 0
lustre /mnt/our\040data lustre rw 0 0
/dev/vdc /mnt/twice ext4 rw 0 0
nas:/twice /mnt/twice nfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/runs", "ext4"),
        ("/mnt/all/runs", "nfs4"),
        ("/mnt/allure", "ext4"),
        ("/mnt/all/scratch/x", "xfs"),
        ("/mnt/our data/x", "lustre"),
        ("/mnt/twice/x", "nfs"),
    ],
)
def test_the_file_system_of_a_path(path: str, kind: str) -> None:
    assert shared.filesystem(Path(path), MOUNTS) == kind


def test_several_nodes_are_warned_of_local_disks_and_one_node_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mounts"
    monkeypatch.setattr(shared, "MOUNTS", table)
    two = recipe.load("rl_multitask", hardware="16x80gb")
    table.write_text("/dev/vda / ext4 rw 0 0\nnas:/d /mnt/d nfs rw 0 0\n")
    python = tmp_path / "easyr1/bin/python"
    python.parent.mkdir(parents=True)
    python.touch()
    monkeypatch.setenv("MTRL_PYTHON_EASYR1", str(python))
    (warning,) = shared.check(two, Run(Path("runs/x")), Path("/mnt/d/data"))
    assert warning.level == "warning" and f"run directory {Path('runs/x').absolute()} (ext4)" in warning.text
    assert f"trainer's environment {tmp_path / 'easyr1'} (ext4)" in warning.text
    assert "/mnt/d/data" not in warning.text and "2 nodes" in warning.text
    table.write_text("nas:/ / nfs rw 0 0\n")
    assert [found.level for found in shared.check(two, Run(Path("runs/x")), Path("data"))] == ["ok"]
    assert not list(shared.check(recipe.load("rl_multitask", hardware="8x80gb"), Run(Path("runs/x")), Path("data")))
