"""Building an environment: what is said where a requirement cannot be had."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_a_requirement_that_cannot_be_had_is_no_traceback(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "mtrl" / "envs", tmp_path / "mtrl" / "envs")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file in (tmp_path / "mtrl" / "envs").glob("easyr1-*.txt"):
        file.write_text("/nowhere/none-1.0-py3-none-any.whl\n")
    command = [sys.executable, tmp_path / "mtrl" / "envs" / "build.py", "easyr1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "/nowhere/none-1.0-py3-none-any.whl" in done.stderr  # pip's own words
    assert ".venv-easyr1 is not complete: pip install" in done.stderr and "make setup-easyr1 goes on" in done.stderr
    assert not (tmp_path / ".venv-easyr1" / "mtrl-stamp").exists()
