"""`mtrl fit-labels TASK --raw DIR`: which label rules give the counts of Table 1 on a release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SHOWN = 12


def command(
    name: Annotated[str, typer.Argument(metavar="TASK", help="A task of Table 1.")],
    raw: Annotated[Path, typer.Option(help="Folder of the releases as downloaded: DIR, or DIR/<benchmark>/.")],
) -> None:
    """Show the label rules of a task that give the counts of Table 1.

    Every rule that the task could mean is tried. No image is read."""
    from mtrl.config import tasks
    from mtrl.converters.checks.fit import fit, shared
    from mtrl.core.console import say, table
    from mtrl.core.errors import MtrlError

    task = tasks.load(name)
    found = fit(task, raw)
    exact = [rule for rule in found if rule.off == 0]
    shown = exact or found[:SHOWN]
    say(
        f"{name}: {len(exact)} of {len(found)} rules pick exactly the rows that Table 1 counts as positive"
        + ("" if exact else ". The nearest:")
    )
    rows = []
    for rule in shown:
        counts = "  ".join(f"{cell} {number:,}" for cell, number in rule.counts.items())
        rows.append([rule.column, rule.when, rule.then, rule.off, counts, rule.remark])
    table("", ["column", "when", "then", "off by", "rows it picks", "remark"], rows)
    for line in shared(task, raw):
        say(line)
    if not exact:
        raise MtrlError(
            f"no single rule over {', '.join(sorted({rule.column for rule in found}))} gives"
            f" Table 1's counts of {name}",
            "check that the release is complete, and that source in the task's YAML names the paper's configuration",
        )
    best = exact[0]
    if best.then == "positive":
        say(f"Table 1's positive rows are those whose {best.column} {best.when}")
        return
    said = f", conflicts: {task.label.conflicts}" if task.label.conflicts else ""
    say(
        f"to use the first rule, write label: {{column: {best.column}{said},"
        f' rule: {{when: "{best.when}", then: "{best.then}"}}}}'
    )
    say(f'and table1_positive: "{best.then}" in recipes/tasks/{name}.yaml')
