"""`mtrl study`: the paper's claim about unseen formats, at small scale, by public commands (docs/study.md).

    base models -> each base asked, its answers sifted -> pilot -> for each base, seed and arm: train, choose a
    checkpoint, export, score in both styles, distance from the base -> docs/study.md

It runs in a folder of its own, runs/study/. The same command resumes it. A cell (base, arm, seed) is done when its
cell.json is there, which has the plan's hash; a study begun with another plan is refused.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mtrl
from mtrl.backends import checkpoint_folders, envs
from mtrl.core import hints
from mtrl.core.console import bar, say
from mtrl.core.errors import UserError
from mtrl.core.files import write_json
from mtrl.core.locks import held
from mtrl.core.nested import differing
from mtrl.core.rundir import Run
from mtrl.core.schema import Stored, read
from mtrl.demo import study_analysis, study_files, study_page, study_work, study_world
from mtrl.demo.study_kl import Divergence
from mtrl.demo.study_plan import Plan
from mtrl.demo.study_results import CELL, STYLES, Result
from mtrl.demo.study_work import Step
from mtrl.demo.study_work import mtrl as verb
from mtrl.runs.steps import choose

STATE = "study.json"
ASKED = [*study_world.POINTWISE, *(name for names in study_world.SHIFTS.values() for name in names), study_world.PAIRS]


class Cell(NamedTuple):
    """One training and its scores."""

    base: str
    arm: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.base}-{self.arm}-{self.seed}"


class State(Stored):
    """study.json."""

    plan_sha256: str
    plan: dict[str, Any]


def run(folder: Path, plan: Plan, jobs: int, again: str) -> None:
    """Does what is left, and writes the page. Raises MtrlError; `again` is the command that continues."""
    home, begun = folder.resolve(), time.monotonic()
    home.mkdir(parents=True, exist_ok=True)
    with held(home / "lock") as waited:
        if waited:
            say(f"another mtrl study was writing {folder}; this one goes on from there")
        _begin(home, folder, plan)
        study_files.write(home, plan)

        def work(what: str, sequences: dict[str, Iterator[Step]]) -> None:
            if not sequences:
                return
            with bar(what) as update:
                study_work.run(sequences, jobs, home, again, lambda done, now: update(done, len(sequences), now))

        def train(what: str, cells: list[Cell]) -> None:
            work(what, {cell.name: steps(home, plan, cell) for cell in cells if not _is_done(home, plan, cell)})

        convert = verb("convert", *(question.name for question in study_world.questions()), "--raw", "raw")
        work("data", {"data": iter([convert])})
        work("base models", {base: _base(home, plan, base) for base in plan.bases})
        first = next(iter(plan.bases))
        train("pilot", [Cell(first, arm, seed) for seed in plan.pilot for arm in plan.primary])
        seeds = study_analysis.seeds(home, plan)
        for base in plan.bases:
            train(f"cells of {base}", [Cell(base, arm, seed) for seed in seeds for arm in plan.arms])
            say(f"written: {os.path.relpath(study_page.write(home, plan))}")
    say(f"the study took {(time.monotonic() - begun) / 60:.0f} minutes in this call")


def _begin(home: Path, folder: Path, plan: Plan) -> None:
    """Records the plan. Raises UserError where the folder is of another one."""
    file = home / STATE
    if not file.exists():
        write_json(file, {"plan_sha256": plan.sha256, "plan": plan.model_dump(mode="json")})
        return
    state = read(State, file, f"remove {folder}, or pass another --out")
    if state.plan_sha256 != plan.sha256:
        keys = ", ".join(differing(state.plan, plan.model_dump(mode="json")))
        text = f"{folder} was begun with another plan (different now: {keys}); results of two plans are not mixed"
        raise UserError(text, plan.command(hints.free(str(folder.parent), folder.name)))


def _is_done(home: Path, plan: Plan, cell: Cell) -> bool:
    """Raises UserError where its result is of another plan."""
    file = home / "runs" / cell.name / CELL
    if not file.exists():
        return False
    if (found := read(Result, file).plan) != plan.sha256:
        text = f"{file} is the result of another plan ({found[:12]}; this one is {plan.sha256[:12]})"
        raise UserError(text, "restore the plan, or run the study in another --out")
    return True


def _base(home: Path, plan: Plan, base: str) -> Iterator[Step]:
    """Builds a base model, asks it, and sifts its answers to the training rows."""
    model = home / study_files.base_folder(base)
    if not model.exists():
        # its packages must not come before those of the environment that runs it
        code = f"import sys, runpy; sys.path.append({str(Path(mtrl.__file__).parents[1])!r}); "
        code += "runpy.run_module('mtrl.demo.tiny_model', run_name='__main__')"
        unfinished = model.with_name(f".{base}.writing")
        words = ["--out", str(unfinished), "--seed", str(plan.bases[base]), "--curriculum", "study"]
        words += ["--steps", *map(str, plan.base_steps)]
        yield Step(["-c", code, *words], python=str(envs.interpreter("llamafactory").absolute()))
        unfinished.rename(model)
    for style in STYLES:
        yield _eval(str(model), style, f"runs/{base}-zero/eval-{style}", ASKED)
    tasks = ",".join(study_world.POINTWISE)
    yield verb("sift", "--ckpt", str(model), "--tasks", tasks, "--votes", str(plan.votes), "--out", f"runs/{base}-sift")


def steps(home: Path, plan: Plan, cell: Cell) -> Iterator[Step]:
    """The commands of a cell, and at their end its cell.json."""
    arm, begun, run = plan.arms[cell.arm], time.monotonic(), Run(home / "runs" / cell.name)
    stage = "rl" if arm.recipe.startswith("rl") else "sft"
    tasks, export = study_world.trained(arm.wordings), f"exports/{cell.name}"
    sets = [f"seed={cell.seed}", f"style={arm.style}"]
    sets += [f"sift=runs/{cell.base}-sift"] if arm.recipe == "sft_traces" else []
    yield verb(
        stage, arm.recipe, "--model", cell.base, "--hardware", "cpu", "--tasks", ",".join(tasks), "--name", cell.name,
        *(word for one in sets for word in ("--set", one)),
    )  # fmt: skip
    yield verb("select", cell.name)
    if not (home / export).exists():
        yield verb("export", cell.name, "--step", "best", "--out", export)
    for style in STYLES:
        yield _eval(export, style, f"runs/{cell.name}/eval-{style}", ASKED)
    distance = run.path / "kl.json"
    yield Step(
        ["-m", "mtrl.demo.study_kl", "--base", study_files.base_folder(cell.base), "--judge", export, "--data", "data",
         "--tasks", ",".join(study_world.POINTWISE), "--style", arm.style, "--prompts", str(plan.kl_prompts)],
        distance,
    )  # fmt: skip
    if cell.seed in plan.trajectory:
        for number in checkpoint_folders.steps(run):
            if not (home / f"{export}-{number}").exists():
                yield verb("export", cell.name, "--step", str(number), "--out", f"{export}-{number}")
            out = f"runs/{cell.name}/step-{number}-eval"
            yield _eval(f"{export}-{number}", arm.style, out, [study_world.PAIRS])
    found = read(Divergence, distance)
    best = choose(run, "best").number
    seconds = round(time.monotonic() - begun, 1)
    write_json(
        run.path / CELL,
        {
            "plan": plan.sha256,
            **cell._asdict(),
            "step": best,
            "kl": found.kl,
            "kl_per_token": found.kl_per_token,
            "seconds": seconds,
        },
    )


def _eval(model: str, style: str, out: str, tasks: list[str]) -> Step:
    return verb("eval", "--ckpt", model, "--style", style, "--tasks", ",".join(tasks), "--out", out)
