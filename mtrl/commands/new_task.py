"""`mtrl new-task NAME --table FILE`: a task's YAML and both prompts, for a table of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

SHOWN = 40  # characters of a value


def command(
    name: Annotated[str, typer.Argument(help="The task's name: lower-case letters, digits and _.")],
    table: Annotated[
        Path | None, typer.Option(help="A .csv, .jsonl or .parquet file. Columns and labels are guessed from it.")
    ] = None,
    kind: Annotated[
        Literal["pointwise", "pairwise", "choice", "score"] | None,
        typer.Option(help="What is asked. Default: pairwise for two columns of images, else by the labels."),
    ] = None,
) -> None:
    """Write the YAML and prompts of a new task for your own table, and show what was guessed from it.

    The files are recipes/tasks/NAME.yaml and prompts/{sft,rl}/NAME.jinja below this folder. None is overwritten."""
    from mtrl.converters.pipeline import guess, new_task
    from mtrl.core import hints, search_path
    from mtrl.core.console import check, say, then
    from mtrl.core.console import table as grid
    from mtrl.core.errors import UserError
    from mtrl.core.files import write_text

    found = guess.from_table(table, kind) if table else guess.without_table(kind)
    made = new_task.draft(name, found)
    if name in search_path.listing("recipes", "tasks", ".yaml"):
        raise UserError(f"there is a task {name} already", "choose another name; mtrl tasks lists those taken")
    if there := [str(file) for file in made.files if file.exists()]:
        raise UserError(f"already there: {', '.join(there)}", "choose another name, or remove these files")
    if table:
        columns = [[one.name, one.role or "-", f"{one.different:,}", one.example[:SHOWN]] for one in found.columns]
        grid(f"{table}: {found.rows:,} rows", ["column", "used as", "different values", "first value"], columns)
        if found.labels:
            grid(
                f"labels in {', '.join(found.labels_by or [found.label])}",
                ["verdict", "label", "rows"],
                new_task.classes(made.task, found.labels),
            )
    for file, text in made.files.items():
        write_text(file, text)
        say(f"written: {file}")
    yaml, *_ = made.files
    say("guessed:\n" + "\n".join(line for line in made.files[yaml].splitlines() if "# guess" in line))
    for line in found.missing:
        check("warning", line)
    say(f"Correct the guesses in {yaml}, and write into both prompts what the judge must look at.")
    then(hints.line("convert", name, raw=table.parent if table else "raw"))
    say(f"  {hints.line('prompts', name, style='rl')}\n  {hints.line('check', name)}")
