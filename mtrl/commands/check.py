"""`mtrl check TASK...|all`: checks of converted data: files, images, counts, what splits and tasks share."""

from __future__ import annotations

from typing import Annotated

import typer

from mtrl.commands import options


def command(
    names: Annotated[
        list[str], typer.Argument(metavar="TASK...|all", help="Tasks to check. all: those that are converted.")
    ],
    table1: Annotated[
        bool, typer.Option("--table1", help="Fail where the counts differ from Table 1 of the paper.")
    ] = False,
    data: options.Data = options.DATA,
) -> None:
    """Check converted tasks: files, images, counts, overlap.

    The exit status is 1 if a check fails."""
    from mtrl.config import tasks
    from mtrl.converters.checks import overlap
    from mtrl.converters.checks.converted import examine
    from mtrl.core.console import check
    from mtrl.core.errors import MtrlError, UserError

    broken, chosen = 0, tasks.select(names)
    if names == ["all"]:  # Table 1 is of whole releases, so its tasks must be there
        absent = [t.name for t in chosen if not (data / t.name).exists() and not (table1 and t.expected)]
        chosen = [task for task in chosen if task.name not in absent]
        if not chosen:
            raise UserError(f"no task is converted in {data}", "mtrl tasks")
        if absent:
            check("warning", f"not converted, and so not checked: {', '.join(absent)}", "")
    for task in chosen:
        for level, text, then in examine(task, data, table1):
            check(level, text, then)
            broken += level == "error"
    for level, text, then in overlap.report(data, [task.name for task in chosen]):
        check(level, text, then)
    for name, error in tasks.broken().items() if names == ["all"] else ():
        check("error", f"{name}: {error}", error.then)
        broken += 1
    if broken:
        failed = f"{broken} checks failed." if broken > 1 else "1 check failed."
        raise MtrlError(failed, "fix what the lines marked error say")
