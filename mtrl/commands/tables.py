"""`mtrl tables [1|2|3|4]`: our numbers next to published ones, what is missing with its command, and every
evaluation.
"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mtrl.commands import options


def command(
    number: Annotated[
        int | None, typer.Argument(min=1, max=4, help="Which table; default: all, and every evaluation by run.")
    ] = None,
    form: Annotated[
        Literal["terminal", "markdown", "latex"], typer.Option("--format", help="latex needs booktabs.")
    ] = "terminal",
    runs: options.Runs = options.RUNS,
    data: options.Data = options.DATA,
) -> None:
    """Print Tables 1, 2 and 3, ours and the paper's; Table 4, published judges; by default also every evaluation.

    Ours with 95% intervals, the difference, baselines and invalid rates.
    """
    from mtrl.core import hints
    from mtrl.core.console import say
    from mtrl.paper import tables, typeset

    found = tables.found(number, runs, data)
    if form != "terminal":
        typer.echo("\n".join(getattr(typeset, form)(table) for table in found))
        return
    evaluated = any(table.number is None for table in found)
    for table in found:
        typeset.show(table)
        if table.todo and evaluated and not table.notes:  # other tasks are used here
            all_of_it = hints.carried(f"mtrl tables {table.number}")
            say(f"not run yet: {len(table.todo)} commands; {all_of_it} lists them")
        elif table.todo:
            say("not run yet:\n  " + "\n  ".join(map(hints.carried, table.todo)))
    for line in dict.fromkeys(line for table in found for line in table.passed_over):
        say(f"not in the table: {line}")
    legends = dict.fromkeys(table.legend for table in found)
    for line in legends:
        if not any(
            other != line and other.startswith(line) for other in legends
        ):  # another legend begins with all of it
            say(line)
