"""`mtrl reproduce table2`: a whole table of the paper, by one command that resumes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mtrl.commands import options


class Wanted(StrEnum):
    table2 = "table2"
    table3 = "table3"


class Keep(StrEnum):
    all = "all"
    best = "best"


def command(
    table: Annotated[Wanted, typer.Argument(help="Which table.")],
    model: options.Model = None,
    hardware: options.HardwareName = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds, by commas: every training once a seed.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="METHOD[:TASK[:SEED]]: this cell alone. Repeatable.")] = None,
    set: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override in every training; sft:KEY=VALUE or rl:KEY=VALUE in one stage's."),
    ] = None,
    raw: Annotated[Path | None, typer.Option(help="Folder of the releases: convert what is not converted yet.")] = None,
    keep: Annotated[
        Keep, typer.Option(help="best: remove a finished cell's checkpoints; its export stays.")
    ] = Keep.all,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the matrix and the commands left; run nothing.")
    ] = False,
    data: options.Data = options.DATA,
    runs: options.Runs = options.RUNS,
) -> None:
    """Train, choose, export and score every checkpoint of Table 2 or 3. Started again, it goes on."""
    from mtrl.core import hints
    from mtrl.core.console import console, live, say
    from mtrl.core.errors import MtrlError, UserError
    from mtrl.paper import matrix, progress, reproduce, typeset
    from mtrl.paper.cell import Place

    numbers = (seeds or "").replace(" ", "").split(",") if seeds else []
    if not all(number.isdecimal() for number in numbers):
        raise UserError(f"--seeds {seeds} is not a list of numbers", "for example --seeds 1,2,3")
    if raw is not None and not raw.is_dir():
        raise UserError(f"--raw {raw} is not a folder", "pass the folder of the releases, which mtrl fetch fills")
    place = Place(data, runs)
    number = int(table.value[-1])
    every = matrix.cells(number, model, hardware, list(dict.fromkeys(map(int, numbers))), set or [], place)
    chosen = matrix.choose(every, only or [])
    same = {
        "model": model, "hardware": hardware, "seeds": seeds, "only": only, "set": set,
        "keep": None if keep is Keep.all else keep.value, "data": data, "runs": runs,
    }  # fmt: skip
    with_raw = hints.line("reproduce", table.value, **same, raw=raw or "raw")
    convert = reproduce.conversion(chosen, raw or (Path("raw") if dry_run else None), place, with_raw)
    failures: dict[str, reproduce.Failure] = {}

    def now() -> Any:
        return progress.matrix(table.value, every, failures)

    if dry_run or not console.is_terminal:
        typeset.show(now())
    if dry_run:
        typeset.show(progress.data(reproduce.needed(chosen), data))
        say(progress.totals(chosen, every))
        say("\n".join(reproduce.commands(chosen, convert)) or "nothing is left to run")
        return
    with live(lambda: typeset.grid(now())):
        reproduce.drive(chosen, convert, place, keep.value, failures, say)
    typeset.show(now())
    say(progress.LEGEND)
    summary = progress.summary(number, every, data)
    typeset.show(summary)
    say(summary.legend)
    for label, failure in failures.items():
        say(f"{label} failed: {failure.reason}\n  again: {failure.command}")
    if undone := [cell.label for cell in chosen if cell.state()[0] != "done"]:
        raise MtrlError(
            f"{len(undone)} of {len(chosen)} cells are not done: {', '.join(undone)}. This command goes on"
            f"{', once what is named above is fixed' if failures else ''}",
            hints.line("reproduce", table.value, **same, raw=raw),
        )
