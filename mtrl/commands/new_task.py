"""`mtrl new-task NAME --table FILE`: a task's YAML and both prompts, for a table of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def command(
    name: Annotated[str, typer.Argument(help="The task's name: lower-case letters, digits and _.")],
    table: Annotated[
        Path | None, typer.Option(help="A .csv, .jsonl or .parquet file. Columns and labels are guessed from it.")
    ] = None,
    kind: Annotated[
        Literal["pointwise", "pairwise"] | None,
        typer.Option(help="One image per row, or two. Default: pairwise if the table has two columns of images."),
    ] = None,
) -> None:
    """Write the YAML and prompts of a new task for your own table.

    The files are recipes/tasks/NAME.yaml and prompts/{sft,rl}/NAME.jinja below this folder. None is overwritten."""
    from mtrl.converters.pipeline import guess, new_task
    from mtrl.core import hints, search_path
    from mtrl.core.console import check, say, then
    from mtrl.core.errors import UserError
    from mtrl.core.files import write_text

    found = guess.from_table(table, kind) if table else guess.without_table(kind)
    files = new_task.files(name, found)
    if name in search_path.listing("recipes", "tasks", ".yaml"):
        raise UserError(f"there is a task {name} already", "choose another name; mtrl tasks lists those taken")
    if there := [str(file) for file in files if file.exists()]:
        raise UserError(f"already there: {', '.join(there)}", "choose another name, or remove these files")
    for file, text in files.items():
        write_text(file, text)
        say(f"written: {file}")
    for line in found.missing:
        check("warning", line)
    say(f"Correct the guesses in {next(iter(files))}, and write into both prompts what the judge must look at.")
    then(hints.line("convert", name, raw=table.parent if table else "raw"))
    say(f"  {hints.line('prompts', name, style='rl')}\n  {hints.line('check', name)}")
