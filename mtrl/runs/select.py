"""Choosing a checkpoint by its verdicts on the validation split, scored by the evaluation code.

Upstream's own choice differs: LLaMA-Factory's eval_accuracy is of tokens with the answer shown, EasyR1's tracker
keeps the best overall reward. Each kept checkpoint is exported, asked by `mtrl eval --split val` and removed again.
runs/<name>/select.json, written last, holds the scores and the best step, which `mtrl export --step best` then uses.
One select of a run at a time holds its lock, and removes the models that a killed one left.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mtrl.backends import checkpoint_folders
from mtrl.config import samples
from mtrl.core import child, hints, staging
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import sha256_file, write_json
from mtrl.core.locks import take
from mtrl.core.run_files import SELECTED, Selected
from mtrl.core.rundir import Run
from mtrl.evaluate.metrics.task import TaskMetrics
from mtrl.evaluate.scores import METRICS, read
from mtrl.runs import training_page
from mtrl.runs.export import export
from mtrl.runs.steps import best_of, require_done

By = Literal["accuracy", "macro_f1"]


def select(run: Run, data: Path, by: By, say: Callable[[str], None], unfinished: bool = False) -> Selected:
    """Scores every complete checkpoint by the mean of `by` over the run's tasks, and writes select.json.

    Of equals the later wins. A step that is scored already is not asked again. Raises UserError if there is no
    checkpoint.
    """
    steps = checkpoint_folders.steps(run)
    if not steps:
        raise UserError(f"run {run.name} has no complete checkpoint", hints.line("status", run.name))
    again = hints.line("select", run.asked_as, by=None if by == "accuracy" else by, unfinished=unfinished)
    if not unfinished:
        require_done(run, f"{again} --unfinished")
    scores: dict[int, float] = {}
    home = run.path / "select"
    home.mkdir(exist_ok=True)
    with (home / staging.LOCK).open("a") as lock:
        if not take(lock.fileno()):
            raise UserError(f"another mtrl select of run {run.name} is running", hints.line("status", run.name))
        for folder in home.glob("step-*"):
            staging.sweep(folder)
            shutil.rmtree(folder / "model", ignore_errors=True)
        scoring = _Scoring(run, run.recipe["tasks"], data, say, again, lock.fileno())
        for number in steps:
            found = scoring.of(number).values()
            scores[number] = sum(task.accuracy if by == "accuracy" else task.macro_f1 for task in found) / len(found)
            say(f"step {number}: {by} {100 * scores[number]:.2f} on val")
    chosen = Selected(by=by, scores={str(n): score for n, score in scores.items()}, best=best_of(scores))
    write_json(run.path / SELECTED, {"split": "val", **chosen.model_dump()})
    training_page.renew(run)  # which marks the checkpoint
    return chosen


@dataclass(frozen=True)
class _Scoring:
    """What the scoring of each step needs. `again` is the command that continues; `lock` is held by the child too."""

    run: Run
    tasks: list[str]
    data: Path
    say: Callable[[str], None]
    again: str
    lock: int

    def of(self, number: int) -> dict[str, TaskMetrics]:
        """The metrics of one step on val, by task, from a process of its own: vLLM frees its memory at its end.

        The child inherits the lock: if this command is killed, its model stays in use for as long as the child lives.
        """
        folder = self.run.path / "select" / f"step-{number}"
        metrics, model = folder / METRICS, folder / "model"
        if metrics.exists():
            if current(metrics, self.tasks, self.data):
                return self._read(metrics)
            self.say(f"step {number}: its scores are of other samples than {self.data} holds now; it is asked again")
            shutil.rmtree(folder)
        export(self.run, str(number), model, unfinished=True)
        self.say(f"step {number}: asking it")
        command = ["eval", "--ckpt", str(model), "--tasks", ",".join(self.tasks), "--split", "val"]
        command += ["--out", str(folder), "--data", str(self.data)]
        if child.run_mtrl(command, stdout=subprocess.DEVNULL, locks=(self.lock,)):
            raise MtrlError(f"scoring step {number} failed, see above; the steps scored so far are kept", self.again)
        shutil.rmtree(model)
        return self._read(metrics)

    def _read(self, metrics: Path) -> dict[str, TaskMetrics]:
        found = read(metrics).tasks
        return {task: found[task] for task in self.tasks}


def current(metrics: Path, tasks: list[str], data: Path) -> bool:
    """Whether the scores are of every task, and of the val samples that are converted now. Raises UserError."""
    found = read(metrics).tasks
    return all(
        task in found and found[task].samples_sha256 == sha256_file(samples.path_of(data, task, "val"))
        for task in tasks
    )
