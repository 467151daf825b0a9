"""Options that several commands share: one place for each default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Data = Annotated[Path, typer.Option(help="Folder of converted tasks.")]
Runs = Annotated[Path, typer.Option(help="Folder of run directories.")]
RecipeFile = Annotated[str, typer.Argument(help="A recipe file, or the name of one in recipes/.")]
Model = Annotated[str | None, typer.Option(help="Model preset: a name in recipes/models/.")]
HardwareName = Annotated[str | None, typer.Option("--hardware", help="Hardware preset: a name in recipes/hardware/.")]
Tasks = Annotated[str | None, typer.Option(help="Tasks to train on, by commas; default: the recipe's.")]
RunName = Annotated[
    str | None, typer.Option("--name", help="Name of the run; default: recipe, task, model and hardware joined.")
]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Override: a.b=c. May be given more than once.")]
Checkpoint = Annotated[
    str | None, typer.Option("--ckpt", help="A folder that mtrl export wrote, any other model folder, or a hub id.")
]
Endpoint = Annotated[
    str | None, typer.Option(help="An OpenAI-compatible address instead; its key, if any, is OPENAI_API_KEY.")
]
ServedModel = Annotated[
    str | None,
    typer.Option(help="The name it is served under. With --ckpt too, that folder says how to ask."),
]
Prompts = Annotated[
    Literal["export", "local"],
    typer.Option(help="Tasks and prompts: those that the export carries, or those of the working directory."),
]
Unfinished = Annotated[
    bool, typer.Option("--unfinished", help="Take a run that is still running, failed or was interrupted.")
]

DATA, RUNS = Path("data"), Path("runs")

# Spellings of earlier versions: they work, and no help shows them.
OLDER = {"--tasks": ["--task"], "--out": ["--to", "--folder"], "--served-model": ["--model"]}
