"""Building an environment: for which device, what is said where a requirement cannot be had, and what is patched."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtrl.backends import envs
from mtrl.backends.envs import build
from tests.conftest import ROOT, mtrl


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What build.py reads, with requirements that every new environment fulfils."""
    shutil.copytree(ROOT / "mtrl" / "backends" / "envs", tmp_path / "mtrl" / "backends" / "envs")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file in (tmp_path / "mtrl" / "backends" / "envs").glob("*.txt"):
        file.write_text(f"# {file.name}\npip\n")
    return tmp_path


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, checkout / "mtrl" / "backends" / "envs" / "build.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_requirement_that_cannot_be_had_is_no_traceback(checkout: Path) -> None:
    for file in (checkout / "mtrl" / "backends" / "envs").glob("easyr1-*.txt"):
        file.write_text("/nowhere/none-1.0-py3-none-any.whl\n")
    done = run(checkout, "easyr1")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "/nowhere/none-1.0-py3-none-any.whl" in done.stderr  # pip's own words
    assert ".venv-easyr1 is not complete: pip install" in done.stderr
    assert "next: make setup-easyr1 goes on from there" in done.stderr
    assert len((checkout / ".venv-easyr1" / "mtrl-stamp").read_text().split()[-1]) < 64  # no hash: not complete


def test_an_environment_keeps_its_device_until_another_is_asked_for(checkout: Path) -> None:
    stamp = checkout / ".venv-verl" / "mtrl-stamp"
    assert "installing verl-gpu.txt" in run(checkout, "verl", "--device", "gpu").stdout  # on a login node, say
    assert re.fullmatch("gpu [0-9a-f]{64}", stamp.read_text())
    assert run(checkout, "verl").stdout == ".venv-verl: up to date (verl-gpu.txt)\n"
    marker = checkout / ".venv-verl" / "marker"
    marker.touch()
    (checkout / "mtrl" / "backends" / "envs" / "verl-gpu.txt").write_text("pip\nsetuptools\n")
    completed = run(checkout, "verl").stdout
    assert "device gpu (its own device)" in completed and "installing verl-gpu.txt" in completed
    assert marker.exists()  # other requirements: completed, not built again
    changed = run(checkout, "verl", "--device", "cpu").stdout
    assert ".venv-verl was built for gpu. It is removed and built again for cpu." in changed
    assert not marker.exists() and re.fullmatch("cpu [0-9a-f]{64}", stamp.read_text())


def test_another_device_is_an_error(checkout: Path) -> None:
    done = run(checkout, "verl", "--device", "tpu")
    assert done.returncode == 2 and "choose from" in done.stderr and not (checkout / ".venv-verl").exists()


@pytest.mark.parametrize("name", ["main", "llamafactory", "verl"])
def test_operators_are_declared_only_where_torchvisions_own_do_not_load(name: str) -> None:
    python = envs.interpreter(name)
    own = build.works(str(python), build.OWN_OPERATORS)
    assert envs.declares_operators(python) is not own
    assert build.works(str(python), "import torchvision")


def test_doctor_shows_where_operators_are_declared(tmp_path: Path) -> None:
    shown = {
        row.split("│")[1].strip(): row
        for row in mtrl("doctor", cwd=tmp_path).out.splitlines()
        if " torchvision " in row
    }
    for name in ("main", "llamafactory", "verl"):
        assert ("declared by mtrl" in shown[name]) is envs.declares_operators(envs.interpreter(name))


def test_make_passes_the_device_on() -> None:
    for target, name in (("setup-main", "main"), ("setup-easyr1", "easyr1")):
        shown = subprocess.run(["make", "-n", target, "DEVICE=gpu"], cwd=ROOT, capture_output=True, text=True).stdout
        assert f"build.py --device gpu {name}" in shown


def test_what_is_compiled_wants_its_compiler_before_anything_is_installed(checkout: Path) -> None:
    assert build.COMPILED in (ROOT / "mtrl/backends/envs/verl-gpu.last.txt").read_text()
    (checkout / "mtrl/backends/envs/verl-gpu.last.txt").write_text(f"# flash-attn, {build.COMPILED}.\npip\n")
    command = [sys.executable, checkout / "mtrl/backends/envs/build.py", "verl", "--device", "gpu"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": ""}, timeout=60)
    assert done.returncode == 1 and "nvcc is not here" in done.stderr and "make setup-verl DEVICE=gpu" in done.stderr
    assert not (checkout / ".venv-verl").exists()
