"""`mtrl tables [1|2|3]`: ours beside the paper's, and what is missing with its command."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from mtrl.commands import options


def command(
    number: Annotated[int | None, typer.Argument(min=1, max=3, help="Which table; default: all.")] = None,
    form: Annotated[
        Literal["terminal", "markdown", "latex"], typer.Option("--format", help="latex needs booktabs.")
    ] = "terminal",
    runs: options.Runs = options.RUNS,
    data: options.Data = options.DATA,
) -> None:
    """Print Tables 1, 2 and 3: ours with 95% intervals, the paper's, the difference; baselines and invalid rates."""
    from mtrl.paper import tables, typeset

    wanted = [number] if number else [n for n in (1, 2, 3) if f"table{n}" in tables.layout()]
    found = {n: tables.counts(data) if n == 1 else tables.results(n, runs, data) for n in wanted}
    if not number and (own := tables.own(runs, data)):
        found[OWN] = own
    if form == "terminal":
        _show(found)
    else:
        for n, table in found.items():
            typer.echo(getattr(typeset, form)(table, HEADS.get(n, "method")))


OWN = 4  # the block of the user's own tasks comes last
HEADS = {1: "split", OWN: "judge: task"}


def _show(found: dict[int, Any]) -> None:
    from mtrl.core import hints
    from mtrl.core.console import say, table

    for number, one in found.items():
        head = [HEADS.get(number, "method"), *one.columns]
        rows = [[name, *cells] for name, cells in one.rows.items()]
        table(one.heading, head, [*rows, [], *([name, *cells] for name, cells in one.beside.items())])
        for line in one.notes:
            say(line)
        if one.todo and OWN in found and not one.notes:  # only the user's own tasks are used here
            say(f"not run yet: {len(one.todo)} commands; {hints.carried(f'mtrl tables {number}')} lists them")
        elif one.todo:
            say("not run yet:\n  " + "\n  ".join(map(hints.carried, one.todo)))
    for line in dict.fromkeys(line for one in found.values() for line in one.passed_over):
        say(f"not a cell: {line}")
    for line in dict.fromkeys(one.legend for one in found.values() if one.legend):
        say(line)
