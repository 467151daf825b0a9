"""The matrix: the cells of Table 2, 3 or 4, one checkpoint each, and the choice of some of them."""

from __future__ import annotations

from pathlib import Path

from mtrl.config import datacard
from mtrl.config import recipe as recipes
from mtrl.config.published import table_methods, table_tasks
from mtrl.core import hints
from mtrl.core.errors import UserError, nearest
from mtrl.paper.cell import Cell, Place

OPTIONS = {"tasks": "--only", "seed": "--seeds", "model": "--model", "hardware": "--hardware"}


def cells(
    number: int, model: str | None, hardware: str | None, seeds: list[int], sets: list[str], place: Place
) -> list[Cell]:
    """Every cell of a table, seed by seed. `sets` are the values of --set, see `_of_stage`. Raises UserError."""
    methods, tasks, every = table_methods(number), table_tasks(number), table_tasks(2)
    if number == 4:
        tasks = converted(tasks, place.data)
    presets = [f"--{key}={value}" for key, value in (("model", model), ("hardware", hardware)) if value]
    found: list[Cell] = []
    each: list[int | None] = [*seeds] or [None]
    for seed in each:
        for method in methods:
            single, stage = method.endswith("_single"), method.split("_")[0]
            if stage == "zero" and found:
                continue  # nothing is trained: the same for every seed
            for task in tasks if single else [""]:
                own = _of_stage(sets, stage) + ([] if seed is None or stage == "zero" else [f"seed={seed}"])
                recipe = recipes.load(method, model, hardware, task or None, own, place.data)
                if not single and recipe.stage and recipe.tasks != every:  # a paper.yaml with columns of its own
                    own = [f"tasks={','.join(every)}", *own]
                    recipe = recipes.load(method, model, hardware, None, own, place.data)
                options = (*presets, *([f"--tasks={task}"] if single else []), *(f"--set={text}" for text in own))
                columns = (task,) if single else tuple(tasks)
                found.append(Cell(method, task, None if stage == "zero" else seed, columns, options, recipe, place))
    return found


def converted(benchmarks: list[str], data: Path) -> list[str]:
    """Table 4's benchmarks that are there to be scored: nobody has all the releases. Raises UserError for none."""
    found = [task for task in benchmarks if datacard.path_of(data, task).exists()]
    if not found:
        raise UserError(
            f"none of Table 4's benchmarks is converted: {', '.join(benchmarks)}",
            hints.line("convert", "all", raw="raw", out=data),
        )
    return found


def _of_stage(sets: list[str], stage: str) -> list[str]:
    """The settings for one stage's recipes: sft.* and `sft:KEY=VALUE` are for SFT only, likewise rl; all others for
    both.
    """
    own = []
    for text in sets:
        named, colon, rest = text.partition(":")
        only = named if colon and named in ("sft", "rl") else ""
        setting = rest if only else text
        key = setting.partition("=")[0].strip()
        if key in OPTIONS:
            raise UserError(f"--set {text}: {key} is set by an option of mtrl reproduce", f"pass {OPTIONS[key]}")
        of = key.partition(".")[0] if key.startswith(("sft.", "rl.")) else ""
        if only and of and only != of:
            raise UserError(f"--set {text}: the {only} stage has no key {key}", f"pass --set {setting}")
        only = only or of
        if stage == only or (not only and stage in ("sft", "rl")):
            own.append(setting)
    return own


def choose(found: list[Cell], only: list[str]) -> list[Cell]:
    """The cells that METHOD[:TASK[:SEED]] name, in the matrix's order; all if nothing is named. Raises UserError."""
    chosen: set[str] = set()
    for wanted in only:
        fits = {cell.label for cell in found if cell.named_by(wanted)}
        if not fits:
            known = {name for cell in found for name in (cell.label, cell.method)}
            raise UserError(f"--only {wanted}: there is no such cell.{nearest(wanted, known)}")
        chosen |= fits
    return [cell for cell in found if not only or cell.label in chosen]
