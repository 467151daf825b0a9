"""`mtrl tables [1|2|3]`: ours beside the paper's, and what is missing with its command."""

from __future__ import annotations

from typing import Annotated

import typer

from mtrl.commands import options


def command(
    number: Annotated[int | None, typer.Argument(min=1, max=3, help="Which table; default: all.")] = None,
    runs: options.Runs = options.RUNS,
    data: options.Data = options.DATA,
) -> None:
    """Print Tables 1, 2 and 3: our numbers with 95% intervals, the paper's, the difference, and a star outside the interval."""
    from mtrl import tables
    from mtrl.commands.show import say, table

    published = False
    for wanted in [number] if number else [n for n in (1, 2, 3) if f"table{n}" in tables.layout()]:
        found = tables.counts(data) if wanted == 1 else tables.results(wanted, runs)
        published |= any("paper" in cell for cells in found.rows.values() for cell in cells)
        title = found.title + (f" ({found.note})" if found.note else "")
        head = ["" if wanted == 1 else "method", *found.columns]
        table(title, head, [[name, *cells] for name, cells in found.rows.items()])
        if found.todo:
            say("not run yet:\n  " + "\n  ".join(found.todo))
        for line in found.passed_over:
            say(f"not a cell: {line}")
    legend = "Ours: value [95% bootstrap interval], per cent; invalid answers count as wrong."
    say(legend + (" *: the paper's number lies outside the interval." if published else ""))
