"""Starting a run: preflight, run directory, job, and the message when it ends.

resolve recipe -> plan -> prepare runs/<name> -> run the job -> status
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtrl.backends import checkpoint_folders, registry
from mtrl.backends.base import Job
from mtrl.config.recipe_types import Recipe
from mtrl.core import child
from mtrl.core.errors import Interrupted, MtrlError, UserError
from mtrl.core.files import write_text
from mtrl.core.run_files import METRICS
from mtrl.core.rundir import Run
from mtrl.preflight import network
from mtrl.runs import causes, process, training_page

Watch = Callable[[list[dict[str, Any]]], None]
ASSIST_PATIENCE = 600  # seconds that a further node waits for node 0


class Enough(Exception):
    """The validation score no longer improves: the job is ended, and its run is done."""


def settle(run: Run, recipe: Recipe) -> None:
    """Marks a run as done if its training ended after mtrl was killed, or its trainer was killed after the last step.

    Raises UserError if the run was started with another recipe.
    """
    if run.status.state not in ("interrupted", "failed") or not (reason := registry.of(recipe).ended(recipe, run)):
        return
    run.same_recipe(recipe.model_dump(mode="json", exclude_none=True))
    with run.held():
        write_metrics(run, registry.of(recipe).metrics(run))
        spent = round(run.seconds(alive=False), 1)  # not the time since: nothing was trained in it
        run.set("done", exit_code=0, seconds=spent, spent=spent, started=round(time.time(), 1), reason=reason)
    training_page.renew(run)


def launch(run: Run, job: Job, recipe: Recipe, lock: int, watch: Watch) -> None:
    """Runs the job to its end; it inherits `lock`. `watch` gets the run's metrics as they grow; training.html has them.

    Raises MtrlError and Interrupted.
    """
    with training_page.followed(run) as draw:
        _launch(run, job, recipe, lock, watch, draw)


def _launch(run: Run, job: Job, recipe: Recipe, lock: int, watch: Watch, draw: Watch) -> None:
    trainer = registry.of(recipe)
    checkpoint_folders.set_aside_incomplete(run)
    trainer.begin(run)
    begun, seen, enough = time.time(), 0, ""
    spent = round(run.seconds(alive=False), 1)  # in earlier attempts
    written_before = run.log.stat().st_size if run.log.exists() else 0

    def started(pid: int) -> None:
        attempts = run.status.attempts + 1
        run.set(
            "running", method=recipe.method, pid=pid, attempts=attempts, started=round(begun, 1), spent=spent, reason=""
        )

    def tick() -> None:
        nonlocal seen
        rows = trainer.metrics(run)
        if len(rows) != seen:
            seen = len(rows)
            write_metrics(run, rows)
            watch(rows)
            if reason := trainer.plateaued(recipe, rows):
                raise Enough(reason)
        draw(rows)

    try:
        code = process.run(job, run.path, run.log, lock, started, tick)
    except Enough as reason:
        code, enough = 0, str(reason)
    except Interrupted as error:
        run.set("interrupted", reason=str(error))
        raise
    except BaseException:
        run.set("failed", reason="mtrl itself failed while the job ran")
        raise
    finally:
        if rows := trainer.metrics(run):
            write_metrics(run, rows)
    lines = child.last_lines_of_log(run.log, written_before)
    if code == -9:
        lines.append("Killed by the system, most likely because memory ran out")
    if code != 0 or not trainer.finished(run):
        run.set("failed", exit_code=code, reason=lines[0] if lines else "")
        known = causes.advice(lines)
        raise MtrlError(
            f"run {run.name} failed (exit status {code}). Its last lines:\n  " + "\n  ".join(lines or ["(none)"]),
            known or f"the whole log is {run.log}; the same command resumes from the last checkpoint",
        )
    run.set("done", exit_code=0, seconds=round(time.time() - begun, 1), reason=enough)


def assist(run: Run, recipe: Recipe, data: Path, rank: int) -> None:
    """Runs the job of a further node of an SFT run, after node 0 has started; node 0 writes everything else.

    Raises UserError if node 0 does not start, MtrlError if the job fails here.
    """
    for wrong in network.check(recipe):
        raise UserError(wrong.text, wrong.then)
    deadline = time.monotonic() + ASSIST_PATIENCE
    while (state := run.status.state) != "running":
        if state == "done":  # node 0 found the run done
            return
        if time.monotonic() > deadline:
            raise UserError(
                f"node 0 has not started run {run.name} within {ASSIST_PATIENCE} s", "start it there with NODE_RANK=0"
            )
        time.sleep(1)
    job, log = registry.of(recipe).job(recipe, run), run.path / f"log-{rank}.txt"
    with run.held(f"lock-{rank}") as lock:
        code = process.run(job, run.path, log, lock, lambda pid: None, lambda: None)
    if code != 0:
        lines = child.last_lines_of_log(log)
        raise MtrlError(
            f"node {rank} of run {run.name} failed:\n  " + "\n  ".join(lines), causes.advice(lines) or str(log)
        )


def write_metrics(run: Run, rows: list[dict[str, Any]]) -> None:
    """metrics.jsonl, from the trainer's own logs. A full disk does not end the training: the next call writes it."""
    with contextlib.suppress(OSError):
        write_text(run.path / METRICS, "".join(json.dumps(row) + "\n" for row in rows))
