"""`mtrl reproduce table2`: a whole table of the paper, by one command that can be resumed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtrl.commands import options

if TYPE_CHECKING:
    from mtrl.paper.shown import Table


class Wanted(StrEnum):
    table2 = "table2"
    table3 = "table3"
    table4 = "table4"


class Keep(StrEnum):
    all = "all"
    best = "best"


def command(
    table: Annotated[Wanted, typer.Argument(help="Which table.")],
    model: options.Model = None,
    hardware: options.HardwareName = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds, by commas: every training runs once per seed.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="METHOD[:TASK[:SEED]]: only this cell. Can be repeated.")
    ] = None,
    set: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override in every training; sft:KEY=VALUE or rl:KEY=VALUE in one stage only."),
    ] = None,
    raw: Annotated[
        Path | None, typer.Option(help="Folder of the releases: tasks that are not converted are converted first.")
    ] = None,
    keep: Annotated[
        Keep, typer.Option(help="best: remove the checkpoints of a finished cell; its export stays.")
    ] = Keep.all,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the matrix and the commands that are left; run nothing.")
    ] = False,
    data: options.Data = options.DATA,
    runs: options.Runs = options.RUNS,
) -> None:
    """Train, select, export and score all of Table 2 or 3; Table 4 scores them on the benchmarks that are converted.

    The same command again continues."""
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

    def now() -> Table:
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
            f"{len(undone)} of {len(chosen)} cells are not done: {', '.join(undone)}. The same command continues"
            f"{', after the errors above are fixed' if failures else ''}",
            hints.line("reproduce", table.value, **same, raw=raw),
        )
