"""Choosing a checkpoint by what it is for: its verdicts on the validation split, scored by the evaluation code.

Upstream's own choice is another one: LLaMA-Factory's eval_accuracy is of tokens with the answer shown, EasyR1's tracker
keeps the best overall reward. Each kept checkpoint is exported, asked by `mtrl eval --split val` and removed again;
runs/<name>/select.json, written last, holds the scores and the best step, which `mtrl export --step best` then takes.
One select of a run at a time holds its lock, and removes the models that a killed one left.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtrl.backends import checkpoint_folders
from mtrl.config import samples
from mtrl.core import child, hints, staging
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import sha256_file, write_json
from mtrl.core.locks import take
from mtrl.core.rundir import SELECTED, Run
from mtrl.evaluate.metrics.task import TaskMetrics
from mtrl.evaluate.scores import read
from mtrl.runs.export import export
from mtrl.runs.steps import best_of, require_done


def select(run: Run, data: Path, by: str, say: Callable[[str], None], unfinished: bool = False) -> dict[str, Any]:
    """Scores every complete checkpoint by `by` ("accuracy" or "macro_f1"), the mean over the run's tasks, and keeps the best.

    Of equals the later wins. What is scored already is not asked again. Raises UserError where there is no checkpoint.
    """
    steps = checkpoint_folders.steps(run)
    if not steps:
        raise UserError(f"run {run.name} has no complete checkpoint", hints.line("status", run.name))
    again = hints.line("select", run.asked_as, by=None if by == "accuracy" else by, unfinished=unfinished)
    if not unfinished:
        require_done(run, f"{again} --unfinished")
    tasks = run.recipe["tasks"]
    scores: dict[int, float] = {}
    home = run.path / "select"
    home.mkdir(exist_ok=True)
    with (home / staging.LOCK).open("a") as lock:
        if not take(lock.fileno()):
            raise UserError(f"another mtrl select of run {run.name} is running", hints.line("status", run.name))
        for folder in home.glob("step-*"):
            staging.sweep(folder)
            shutil.rmtree(folder / "model", ignore_errors=True)
        for number in steps:
            result = _scored(run, number, home / f"step-{number}", tasks, data, say, again, lock.fileno())
            scores[number] = sum(getattr(result[task], by) for task in tasks) / len(tasks)
            say(f"step {number}: {by} {100 * scores[number]:.2f} on val")
    chosen = {
        "by": by,
        "split": "val",
        "scores": {str(n): score for n, score in scores.items()},
        "best": best_of(scores),
    }
    write_json(run.path / SELECTED, chosen)
    return chosen


def _scored(
    run: Run,
    number: int,
    folder: Path,
    tasks: list[str],
    data: Path,
    say: Callable[[str], None],
    again: str,
    lock: int,
) -> dict[str, TaskMetrics]:
    """The metrics of one step on val. A process of its own each: vLLM gives memory back when its process ends.

    It inherits `lock`: if this command is killed, its model is in use for as long as it lives.
    """
    metrics, model = folder / "metrics.json", folder / "model"
    if metrics.exists():
        if current(metrics, tasks, data):
            return read(metrics).tasks
        say(f"step {number}: its scores are of other samples than {data} holds now; it is asked again")
        shutil.rmtree(folder)
    export(run, str(number), model, unfinished=True)
    say(f"step {number}: asking it")
    command = ["eval", "--ckpt", str(model), "--tasks", ",".join(tasks), "--split", "val", "--out", str(folder)]
    if child.run_mtrl([*command, "--data", str(data)], stdout=subprocess.DEVNULL, locks=(lock,)):
        raise MtrlError(
            f"scoring step {number} failed, for the reason above; what is scored is kept",
            again,
        )
    shutil.rmtree(model)
    return read(metrics).tasks


def current(metrics: Path, tasks: list[str], data: Path) -> bool:
    """Whether the scores are of every task, and of the val samples that are converted now. Raises UserError."""
    found = read(metrics).tasks
    return all(
        task in found and found[task].samples_sha256 == sha256_file(samples.path_of(data, task, "val"))
        for task in tasks
    )
