"""What tests share: the command line in process, a small project folder, and the demo's data converted once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"  # two torch processes with two threads each on two cores stand still
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["COLUMNS"] = "160"
os.environ.update(RAY_worker_niceness="0")  # Ray's own 15 would starve replicas next to another test
settings.register_profile("mtrl", deadline=None)  # wall time says nothing: other tests share the processor
settings.load_profile("mtrl")

ROOT = Path(__file__).parents[1]
WORKSPACE = ROOT / "mtrl" / "demo" / "workspace"
SHARED = ROOT.parent / "shared" / "data"
DEMO = ("demo_quality", "demo_alignment", "demo_safety")


@dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]):
    """Runs `mtrl ARGUMENTS` in this process and returns its exit status and output."""
    from mtrl.cli import main

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(int(end.value.code or 0), captured.out, captured.err)

    return run


def mtrl(*arguments: object, cwd: Path, timeout: int = 1200) -> Result:
    """Runs `mtrl ARGUMENTS` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "mtrl", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=timeout
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with the demo's release, tasks and prompts, converted. Shared: do not write to it."""
    from mtrl.demo import world

    home = tmp_path_factory.mktemp("converted")
    shutil.copytree(WORKSPACE, home, dirs_exist_ok=True)
    world.generate(home / "raw")
    done = mtrl("convert", *DEMO, "demo_pairs", "--raw", "raw", cwd=home)
    assert done.code == 0, done.err
    return home


@pytest.fixture
def project(converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the converted project that a test may write to; the working directory."""
    home = tmp_path / "project"
    shutil.copytree(converted, home)
    monkeypatch.chdir(home)
    return home
