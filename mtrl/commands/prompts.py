"""`mtrl prompts TASK`: a prompt as the model gets it, filled in with a sample."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mtrl.commands import options


def command(
    task: Annotated[str, typer.Argument(help="A task's name.")],
    style: Annotated[Literal["sft", "rl"], typer.Option(help="sft: the bare verdict; rl: reasoning first.")] = "sft",
    data: options.Data = options.DATA,
) -> None:
    """Show a task's prompt, filled in with its first converted sample.

    Without converted samples it is filled in with the names of the fields."""
    from mtrl.config import prompting, samples, tasks

    chosen = tasks.load(task)
    file = prompting.template_path(chosen, style)
    split = next((name for name in reversed(tasks.SPLITS) if samples.count(data, task, name)), None)
    # Plain echo: rich would read a caption's [brackets] and :colons: as markup.
    if split is None:
        typer.echo(f"# {file}, with no sample: task {task} is not converted in {data}\n")
        typer.echo(prompting.preview(chosen, style))
    else:
        sample = next(samples.read(data, task, split))
        typer.echo(f"# {file}, {split} sample {sample.id}, label {sample.answer}\n")
        typer.echo(prompting.renderer(chosen, style)(sample))
