"""`mtrl prompts TASK`: a prompt as the model gets it, filled with a sample."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mtrl.commands import options


def command(
    task: Annotated[str, typer.Argument(help="A task's name.")],
    style: Annotated[Literal["sft", "rl"], typer.Option(help="sft: the bare verdict; rl: reasoning first.")] = "sft",
    data: options.Data = options.DATA,
) -> None:
    """Show a task's prompt, filled with its first converted sample, or with <field> where none is converted."""
    from mtrl import prompting, samples, tasks
    from mtrl.commands.show import say

    chosen = tasks.load(task)
    if samples.count(data, task, "test"):
        sample = next(samples.read(data, task, "test"))
        say(f"# {prompting.template_path(chosen, style).name}, sample {sample.id}, label {sample.answer}")
        say(prompting.renderer(chosen, style)(sample))
    else:
        say(f"# {prompting.template_path(chosen, style).name}, the template: task {task} is not converted")
        say(prompting.template_path(chosen, style).read_text(encoding="utf-8").strip())
