"""The run directory as it is before a start: recipe, upstream.yaml, command.sh and env.json."""

from __future__ import annotations

import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from mtrl import __version__
from mtrl.backends import envs, registry, row_plan, traces
from mtrl.backends.base import Backend, Job
from mtrl.config import task_files, tasks
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import MtrlError
from mtrl.core.files import write_json, write_text
from mtrl.core.run_files import COMMAND, CONFIG, ENVIRONMENT, Environment
from mtrl.core.rundir import Run, hashes


def prepare(run: Run, recipe: Recipe, data: Path, config: str) -> Job:
    """Claims the run directory, which the caller holds, and writes all that a launch needs into it. Raises UserError;
    then a directory that had nothing but its lock is removed.

    `config` is the text of upstream.yaml. The run is then "planned", which never blocks a later start; a run that was
    started before keeps its state.
    """
    fresh = not run.path.exists() or not {file.name for file in run.path.iterdir()} - {"lock"}
    try:
        return _prepare(run, recipe, data, config)
    except MtrlError:
        if fresh:
            shutil.rmtree(run.path, ignore_errors=True)
        raise


def _prepare(run: Run, recipe: Recipe, data: Path, config: str) -> Job:
    trainer = registry.of(recipe)
    rows, taken = row_plan.counts(recipe, data), traces.recorded(recipe, data)  # refused before anything is written
    files = [file for file in trainer.data_files(recipe, data) if file.exists()]
    home = run.inputs / task_files.FOLDER
    if run.status.state == "planned":  # afterwards, what it was trained with stays
        shutil.rmtree(home, ignore_errors=True)
        task_files.write(map(tasks.load, recipe.tasks), home)
    started_with = hashes(data, files) | task_files.hashes(home) | traces.hashes(recipe)
    run.claim(recipe.model_dump(mode="json", exclude_none=True), started_with, rows, taken)
    trainer.link_inputs(recipe, run, data.resolve())
    job = trainer.job(recipe, run)
    write_text(run.path / CONFIG, config)
    command = run.path / COMMAND
    write_text(command, script(run, job))
    command.chmod(command.stat().st_mode | (command.stat().st_mode & 0o444) >> 2)  # whoever can read it can run it
    write_json(run.path / ENVIRONMENT, describe(trainer, job).model_dump())
    if run.status.state == "planned":
        run.set("planned", method=recipe.method, data=str(data.resolve()))
    return job


def script(run: Run, job: Job) -> str:
    """command.sh: the job by itself, without mtrl."""
    exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in sorted(job.env.items()))
    go = f"cd {shlex.quote(str(run.path))} || exit 1\n"
    return f"#!/bin/sh\n# The job of run {run.name}, by itself.\n{go}{exports}exec {shlex.join(job.command)}\n"


def describe(trainer: Backend, job: Job) -> Environment:
    """Versions, git revision, machine and environment: what another person needs to repeat the run."""

    def output(*command: str) -> list[str]:
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split("\n")
        except (OSError, subprocess.SubprocessError):
            return []

    return Environment(
        mtrl=__version__,
        git=next(iter(output("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD")), ""),
        python=sys.version.split()[0],
        platform=platform.platform(),
        gpus=[line for line in output("nvidia-smi", "-L") if line],
        interpreter=str(envs.interpreter(trainer.environment)),
        packages=envs.versions(envs.interpreter(trainer.environment), trainer.packages),
        command=job.command,
        environment=job.env,
    )
