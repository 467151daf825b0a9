"""runs/<name>/training.html: written as a run goes on, and by `mtrl status --html` for one run or several.

A page that cannot be written never ends a training.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mtrl.backends import checkpoint_folders, logs
from mtrl.config.recipe_types import METHODS, Recipe
from mtrl.core import files, hints
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.run_files import METRICS
from mtrl.core.rundir import Run
from mtrl.core.schema import validate
from mtrl.evaluate.html import training
from mtrl.evaluate.html.trained import Chosen, Trained
from mtrl.runs import curves, sampler_gap, steps, validation

EVERY = 15.0  # seconds between two pages of a run that goes on
SHARE = 0.02  # of the time that the pages of a run may take; a page of a long run comes less often
TRAINERS = {"llamafactory": "LLaMA-Factory", "trl": "TRL", "easyr1": "EasyR1", "verl": "verl"}

Rows = list[dict[str, Any]]


def write(runs: Sequence[Run], target: Path | None = None, rows: Rows | None = None) -> Path:
    """Writes the page of `runs`: default in the folder of the one run, or of several next to the first one's.

    `rows` are the metrics of the one run, where they are known. Raises UserError, and MtrlError where writing fails.
    """
    first = runs[0].path
    again = hints.carried(hints.line("status", *(run.asked_as for run in runs), html=True, out=target))
    default = (first if len(runs) == 1 else first.parent) / training.FILE
    return training.write(curves.ORDER, [read(run, rows) for run in runs], target or default, again)


def renew(run: Run, rows: Rows | None = None) -> bool:
    """Writes the page of one run, whatever comes of it: a training does not end for it. False: the page has a bug."""
    try:
        write([run], rows=rows)
    except (OSError, MtrlError):  # a full disk, a damaged file; the next page may come out
        pass
    except Exception:
        traceback.print_exc()
        return False
    return True


@contextlib.contextmanager
def followed(run: Run) -> Iterator[Callable[[Rows], None]]:
    """Yields a function of the run's metrics that writes its page if they grew and it is time; writes it at the end."""
    due, drawn, sound = 0.0, -1, True

    def draw(rows: Rows) -> None:
        nonlocal due, drawn, sound
        begun = time.monotonic()
        if sound and begun >= due and len(rows) != drawn:
            sound, drawn = renew(run, rows), len(rows)
            due = begun + max(EVERY, (time.monotonic() - begun) / SHARE)

    try:
        yield draw
    finally:
        if sound:
            renew(run)


def read(run: Run, rows: Rows | None = None) -> Trained:
    """The run as its page shows it. Raises UserError where a file of it cannot be read."""
    recipe, status = run.recipe, run.status
    stage: curves.Stage = "sft" if recipe["method"].startswith("sft") else "rl"
    merged = logs.by_step(_metrics(run) if rows is None else rows)
    found = list(curves.logged(merged, stage, recipe["tasks"]))
    chosen = _chosen(run, merged, stage, status.state)
    if selected := run.selected:
        found.insert(0, curves.of_select(selected))
    select = hints.line("select", run.asked_as)
    checks = (sampler_gap.check(run, merged), validation.opposed(run, merged))
    return Trained(
        name=run.name,
        state=status.state,
        reason=status.reason or "",
        step=merged[-1]["step"] if merged else None,
        total=next((row["total_steps"] for row in reversed(merged) if row.get("total_steps")), None),
        seconds=run.seconds(),
        facts=_facts(recipe, status.attempts),
        tasks=recipe["tasks"],
        values=found,
        absent=curves.absent(found, stage) if merged else [],
        chosen=chosen,
        unchosen="" if chosen else f"{select} scores the kept checkpoints" if stage == "sft" else "no validation yet",
        warnings=[
            f"{found.text}{found.then and '. Next: '}{found.then}" for found in checks if found and found.level != "ok"
        ],
    )


def _metrics(run: Run) -> Rows:
    file = run.path / METRICS
    if file.exists() and (size := file.stat().st_size) > files.LARGEST:
        raise UserError(f"cannot read {file}: it has {size:,} bytes, and at most {files.LARGEST:,} are read")
    return run.metrics


def _facts(recipe: dict[str, Any], attempts: int) -> dict[str, str]:
    facts = {"method": METHODS.get(recipe["method"], recipe["method"])}
    with contextlib.suppress(UserError):  # the recipe of another version
        whole = validate(Recipe, recipe, "")
        facts |= {"trainer": TRAINERS[whole.trainer], "model": whole.model.name, "hardware": whole.hardware.name}
    facts["tasks"] = ", ".join(recipe["tasks"])
    return facts | ({"started": f"{attempts} times; it resumed from its checkpoints"} if attempts > 1 else {})


def _chosen(run: Run, rows: Rows, stage: str, state: str) -> Chosen | None:
    """What `mtrl export --step best` takes: see steps.choose."""
    to = hints.free("exports", run.name)
    export = hints.line("export", run.asked_as, step="best", out=to, unfinished=state != "done")
    if found := run.selected:
        name = "verdict accuracy" if found.by == "accuracy" else "Macro-F1 of verdicts"
        return Chosen(found.best, found.scores[str(found.best)], f"validation {name}", "by mtrl select", export)
    kept = checkpoint_folders.steps(run)
    scores = {step: score for step, score in steps.trainers_scores(rows).items() if step in kept}
    if stage == "sft" or not scores:
        return None
    best = steps.best_of(scores)
    return Chosen(best, scores[best], f"validation {validation.VERDICTS}", "by the trainer's own validation", export)
