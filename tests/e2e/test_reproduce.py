"""`mtrl reproduce`: real trainings, exports and scores with the tiny model, killed on the way, failed, and brought
back.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mtrl.config.published import layout, table_tasks
from mtrl.core.files import read_jsonl
from mtrl.core.rundir import Run
from tests.conftest import ROOT, mtrl
from tests.e2e.test_faults import wait_for

pytestmark = pytest.mark.e2e

PRESETS = ["--model", "tiny", "--hardware", "cpu"]
# enough steps to run, and the room that the paper's prompts need in the tiny model's tokens
BRIEF = ["max_rows_per_task=8", "sft.max_length=1024", "sft.epochs=2", "sft.validate_every=2", "sft.batch_size=8"]
BRIEF += ["rl.max_prompt_length=1024", "rl.n=2", "rl.epochs=1", "rl.validate_every=1", "rl.max_response_length=8"]
SETS = [word for text in BRIEF for word in ("--set", text)]
TABLE2 = ["reproduce", "table2", *PRESETS, *SETS]


def kill(process: subprocess.Popen[str]) -> None:
    """kill -9 of everything: the driver, the mtrl it runs and that one's trainer, as when a machine goes down."""
    everyone = psutil.Process(process.pid)
    for one in [everyone, *everyone.children(recursive=True)]:
        one.kill()
    process.communicate()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small releases in the real layouts; the three AGIN tasks get a rule that sixty rows can meet."""
    from mtrl.demo import releases

    monkeypatch.chdir(tmp_path)
    releases.everything(tmp_path / "raw")
    Path("recipes/tasks").mkdir(parents=True)
    for name in ("agin_nat", "agin_tech", "agin_rat"):
        text = (ROOT / "recipes" / "tasks" / f"{name}.yaml").read_text()
        Path(f"recipes/tasks/{name}.yaml").write_text(re.sub(r"lowest \d+", "lowest 30", text))
    return tmp_path


def test_one_cell_stopped_in_training_and_killed_in_evaluation(project: Path) -> None:
    """Ctrl-C ends the trainer and gives 130; after a kill -9 the same command goes on where it was, and asks nothing
    twice.
    """
    cell = "sft_single:demo_quality"
    command = ["reproduce", "table2", *PRESETS, "--only", cell, "--keep", "best"]
    command += ["--set", "max_rows_per_task=64", "--set", "sft.epochs=1", "--set", "sft.validate_every=2"]

    def begin() -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "mtrl", *command]
        return subprocess.Popen(words, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    run = Run(Path("runs/sft_single-demo_quality-tiny-cpu"))
    process = begin()
    wait_for(lambda: run.log.exists() and run.status.state == "running", process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "The same command continues from here" in out and "Traceback" not in out
    assert not run.locked() and run.status.state == "interrupted"

    process = begin()
    answers = run.path / "eval/predictions.jsonl"
    wait_for(lambda: answers.exists() and answers.stat().st_size > 0, process)
    kill(process)
    before, quick = read_jsonl(answers), (run.path / "eval/metrics.json").exists()  # a busy machine may kill too late
    wait_for(lambda: not run.locked("reproduce.lock"), None, 30)

    done = mtrl(*command, cwd=project)
    assert done.code == 0, done.out + done.err
    assert ": train" not in done.out and done.out.count(f"{cell}: eval") == (0 if quick else 1)
    rows = read_jsonl(answers)
    assert rows[: len(before)] == before and len(rows) == 200
    assert not run.checkpoints.exists() and Path(f"exports/{run.name}/mtrl.json").exists()  # --keep best
    again = mtrl(*command, cwd=project)
    assert again.code == 0 and f"{cell}: " not in again.out


@pytest.mark.long
def test_the_whole_matrix_killed_twice(home: Path) -> None:
    """Table 2: 14 trainings and 15 checkpoints over the six tasks; then Table 3 from what is there."""

    def begin() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "mtrl", *TABLE2, "--raw", "raw"]
        return subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    process = begin()
    first = Run(Path("runs/sft_single-agin_nat-tiny-cpu"))
    wait_for(lambda: first.log.exists() and "trainable params" in first.log.read_text(errors="replace"), process)
    kill(process)
    wait_for(lambda: not first.locked(), None, 30)
    assert first.status.state == "interrupted"
    scored = Path("runs/eval-tiny/metrics.json").stat().st_mtime_ns

    process = begin()
    answers = Path("runs/sft_unified-tiny-cpu/eval/predictions.jsonl")
    wait_for(lambda: answers.exists() and answers.stat().st_size > 0, process, 3600)
    kill(process)
    before = read_jsonl(answers)

    done = mtrl(*TABLE2, "--raw", "raw", cwd=home, timeout=3600)
    assert done.code == 0, done.out[-3000:] + done.err[-3000:]
    assert first.status.attempts == 2 and Path("runs/eval-tiny/metrics.json").stat().st_mtime_ns == scored
    assert read_jsonl(answers)[: len(before)] == before  # nothing is asked twice
    assert len(list(Path("exports").iterdir())) == 14
    assert len(list(Path("runs").glob("*/eval/metrics.json"))) == 14
    shown = mtrl("tables", "2", cwd=home).out
    assert "not run yet" not in shown
    for text in (shown, done.out.split("Macro-F1 on the test split")[1]):
        values = re.findall(r"(?<!paper )\b\d+\.\d\d \[", text)
        assert len(values) == len(layout()["table2"]["rows"]) * len(table_tasks(2)) == 30

    again = mtrl(*TABLE2, cwd=home)
    assert again.code == 0 and ": train" not in again.out and ": eval" not in again.out
    third = mtrl("reproduce", "table3", *PRESETS, *SETS, "--raw", "raw", cwd=home)
    assert third.code == 0, third.err
    assert ": train" not in third.out and third.out.count(": eval") == 3
    assert "not run yet" not in mtrl("tables", "3", cwd=home).out
