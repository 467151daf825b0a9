"""Killed, stopped and starved: what real trainers and mtrl leave behind, and that the same command goes on
from there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mtrl.backends import checkpoint_folders
from mtrl.core.files import read_json, read_jsonl, sha256_file
from mtrl.core.rundir import Run
from tests.conftest import mtrl

pytestmark = pytest.mark.e2e

SFT = ["sft", "sft_unified", "--model", "tiny", "--hardware", "cpu", "--set", "tasks=demo_quality"]
SFT += ["--set", "sft.epochs=2.5", "--set", "sft.validate_every=8", "--name", "s"]
RL = ["rl", "rl_multitask", "--model", "tiny", "--hardware", "cpu", "--set", "tasks=demo_quality"]
RL += ["--set", "upstream.grpo.max_steps=8", "--set", "rl.validate_every=3", "--name", "r"]


def begin(home: Path, arguments: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mtrl", *arguments]
    return subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, process: subprocess.Popen[str] | None, seconds: int = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)


def checkpoints(run: Run) -> tuple[list[int], str]:
    """The steps of the run's checkpoints, and the hash of the last one's weights."""
    kept = checkpoint_folders.steps(run)
    return list(kept), sha256_file(kept[max(kept)] / "model.safetensors") if kept else ""


@pytest.mark.parametrize(("arguments", "name"), [(SFT, "s"), (RL, "r")], ids=["llamafactory", "trl"])
def test_resume_after_kill_9(project: Path, arguments: list[str], name: str) -> None:
    run = Run(Path("runs") / name)
    process = begin(project, arguments)
    wait_for(lambda: list(run.checkpoints.glob("checkpoint-*/trainer_state.json")), process)
    trainer = json.loads((run.path / "status.json").read_text())["pid"]
    process.kill()
    process.wait()
    # the trainer lives on and holds the run: a second start is refused, not mixed in
    refused = mtrl(*arguments, cwd=project)
    if Run(Path("runs") / name).locked():
        assert refused.code == 2 and f"is running (trainer {trainer})" in refused.err
    os.killpg(trainer, signal.SIGKILL)
    wait_for(lambda: not run.locked(), None, 30)
    assert run.status.state == "interrupted"
    torn = run.checkpoints / "checkpoint-999"  # what a kill in the middle of a save leaves
    torn.mkdir()
    (torn / "config.json").write_text("{}")
    process = begin(project, arguments)
    wait_for(lambda: run.status.attempts == 2, process)
    process.kill()
    process.wait()
    wait_for(lambda: not run.locked(), None)  # this time the trainer is left alone, and comes to its end
    ends, weights = checkpoints(run)
    done = mtrl(*arguments, cwd=project)
    assert done.code == 0 and "is done" in done.out, done.err
    assert checkpoints(run) == (ends, weights) and "steps are trained" in run.status.reason
    assert "resuming" in run.log.read_text(errors="replace").lower()  # both trainers say from which checkpoint
    steps = [row["step"] for row in read_jsonl(run.path / "metrics.jsonl")]
    assert steps == sorted(set(steps)) and run.status.state == "done" and run.status.attempts == 2
    assert not torn.exists() and list(run.checkpoints.glob("torn-checkpoint-999*"))
    again = mtrl(*arguments, cwd=project)
    assert again.code == 0 and "is done" in again.out
    exported = mtrl("export", name, "--out", f"exports/{name}", cwd=project)
    assert exported.code == 0, exported.err


# nothing is learnt at this rate, so validation does not improve: a best one, then as many as `patience` without a
# better
STILL = {
    "llamafactory": [
        *SFT[:8],
        "--set",
        "sft.learning_rate=1e-9",
        "--set",
        "sft.validate_every=2",
        "--set",
        "sft.patience=2",
    ],
    "trl": [*RL[:8], "--set", "rl.learning_rate=1e-9", "--set", "rl.validate_every=1", "--set", "rl.patience=2"],
}


@pytest.mark.long
@pytest.mark.parametrize("trainer", STILL)
def test_killed_anywhere_a_run_ends_as_if_it_had_not_been(project: Path, trainer: str) -> None:
    """Early stopping counts on over restarts, and a stopped run stays stopped: the same steps, the same weights."""
    arguments = STILL[trainer]
    whole = mtrl(*arguments, "--name", "whole", cwd=project)
    assert whole.code == 0, whole.err
    expected = checkpoints(Run(Path("runs/whole")))
    state = read_json(checkpoint_folders.steps(Run(Path("runs/whole")))[expected[0][-1]] / "trainer_state.json")
    scores = [row["eval_accuracy"] for row in state["log_history"] if "eval_accuracy" in row]
    assert len(scores) - 1 - scores.index(max(scores)) == 2 and state["global_step"] < state["max_steps"]
    run = Run(Path("runs/killed"))
    for number in range(30):
        process = begin(project, [*arguments, "--name", "killed"])
        before = len(checkpoint_folders.steps(run))
        if number % 3 == 2:  # mtrl alone, and the trainer comes to its end
            wait_for(lambda: run.locked() and run.status.pid, process)
        else:  # both: just after the next checkpoint, or a moment later, which at last is in the final save
            while len(checkpoint_folders.steps(run)) == before and process.poll() is None:
                time.sleep(0.1)
            time.sleep(0.1 * number)
        process.kill()
        process.wait()
        if number % 3 != 2 and run.locked():
            os.killpg(json.loads((run.path / "status.json").read_text())["pid"], signal.SIGKILL)
        wait_for(lambda: not run.locked(), None)
        if expected[0][-1] in checkpoint_folders.steps(run):
            break
    done = mtrl(*arguments, "--name", "killed", cwd=project)
    assert done.code == 0 and run.status.state == "done", done.err
    assert checkpoints(run) == expected and "stopped early" in run.status.reason


def test_ctrl_c_stops_the_whole_group_and_says_what_is_next(project: Path) -> None:
    run = Run(Path("runs/s"))
    process = begin(project, SFT)
    wait_for(lambda: run.log.exists() and "trainable params" in run.log.read_text(errors="replace"), process)
    trainer = run.status.pid
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "The same command continues from here" in err and "Traceback" not in err
    assert not run.locked() and run.status.state == "interrupted"
    with pytest.raises(ProcessLookupError):
        os.killpg(trainer, 0)


def test_ctrl_c_in_the_demo_stops_its_trainer_too(tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to the whole group: the demo, the mtrl it started, but not that one's trainer."""
    command = [sys.executable, "-m", "mtrl", "demo", "--out", str(tmp_path / "d")]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    run = Run(tmp_path / "d" / "runs" / "sft_unified")
    wait_for(lambda: run.log.exists() and "trainable params" in run.log.read_text(errors="replace"), process)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not run.locked() and run.status.state == "interrupted"


def test_a_failed_job_says_its_last_words(project: Path) -> None:
    done = mtrl(*SFT, "--set", "upstream.metric_for_best_model=eval_nonsense", cwd=project)
    assert done.code == 1 and "eval_nonsense" in done.err and "log.txt" in done.err and "Traceback" not in done.err
    assert Run(Path("runs/s")).status.state == "failed"


@pytest.mark.parametrize("blocks", [1, 40])
def test_a_full_disk_is_said_plainly_and_leaves_nothing_half(project: Path, blocks: int) -> None:
    """The file size limit of the shell stands for the disk: writes fail in the same way."""
    command = f"ulimit -f {blocks}; exec {sys.executable} -m mtrl convert demo_quality --raw raw --out full"
    done = subprocess.run(["bash", "-c", command], cwd=project, capture_output=True, text=True)
    assert done.returncode == 1 and "writing to full failed" in done.stderr and "make room" in done.stderr
    assert not Path("full/demo_quality/card.json").exists() and not list(Path("full").rglob("*.tmp"))
    assert mtrl("convert", "demo_quality", "--raw", "raw", "--out", "full", cwd=project).code == 0
    assert mtrl("check", "demo_quality", "--data", "full", cwd=project).code == 0


def test_eval_killed_and_started_again_asks_nothing_twice(project: Path) -> None:
    from mtrl.demo.walkthrough import tiny

    arguments = ["eval", "--ckpt", str(tiny()), "--tasks", "demo_quality,demo_safety,demo_pairs", "--out", "e"]
    process = begin(project, arguments)
    file = Path("e/predictions.jsonl")
    wait_for(lambda: file.exists() and file.stat().st_size > 0, process)
    process.kill()
    process.wait()
    before = read_jsonl(file)
    assert 0 < len(before) < 800
    done = mtrl(*arguments, cwd=project)
    assert done.code == 0, done.err
    rows = read_jsonl(file)
    assert rows[: len(before)] == before and len(rows) == 800
    assert len({(row["task"], row["id"], row["order"]) for row in rows}) == 800
    assert mtrl(*arguments, cwd=project).code == 0
    refused = mtrl(*arguments, "--style", "rl", cwd=project)
    assert refused.code == 2 and "different now: style" in refused.err
