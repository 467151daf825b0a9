"""`make gpu-check CPU=1`: its steps with a small model, a kill -9 in the middle, and a second call that goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mtrl.core import schema
from mtrl.core.rundir import Run
from mtrl.demo import gpu_report
from mtrl.demo.gpu_report import Report

COMMAND = [sys.executable, "-m", "mtrl.demo.gpu_check", "--cpu", "--out", "check"]
DONE = ["doctor", "data", "model"]
DONE += [f"{name}{part}" for name in ("sft-tiny", "sft-lora", "grpo-trl") for part in ("", " export", " score")]
DONE += ["served"]

pytestmark = [pytest.mark.e2e, pytest.mark.long]


def test_the_cpu_form(tmp_path: Path) -> None:
    begun = subprocess.run([*COMMAND, "--minutes", "0.5"], cwd=tmp_path, capture_output=True, text=True)
    assert begun.returncode == 0 and "the time of the check is over" in begun.stdout, begun.stdout + begun.stderr
    done = subprocess.run([*COMMAND, "--minutes", "25"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    home = tmp_path / "check"
    report = schema.read(Report, home / gpu_report.JSON)
    assert [found.name for found in report.found if found.state == "done"] == DONE
    for name in ("sft-lora", "grpo-trl"):
        found = report.of(name)
        assert found and ("killed at step" in found.note or name == "sft-lora")  # it may have met the first limit
        assert found.measured.step and found.measured.memory and found.planned.step is None
        assert Run(home / "runs" / name).status.attempts >= 2
    notes = {found.name: found.note for found in report.found if found.state == gpu_report.NOT_CHECKED}
    assert notes["sft-full"] == notes["grpo-easyr1"] == notes["grpo-verl"] == "needs a GPU"
    assert done.stdout.count("\n| ") > len(DONE) and str(Path("check") / gpu_report.TABLE) in done.stdout
    again = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0 and schema.read(Report, home / gpu_report.JSON) == report
