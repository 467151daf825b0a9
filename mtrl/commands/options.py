"""Options and defaults that several commands share, and the spellings of earlier versions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mtrl.core.errors import UserError

if TYPE_CHECKING:
    from mtrl.evaluate.subject import Subject

Data = Annotated[Path, typer.Option(help="Folder of converted tasks.")]
Runs = Annotated[Path, typer.Option(help="Folder of run directories.")]
RecipeFile = Annotated[str, typer.Argument(help="A recipe file, or the name of one in recipes/.")]
Model = Annotated[str | None, typer.Option(help="Model preset: a name in recipes/models/.")]
HardwareName = Annotated[str | None, typer.Option("--hardware", help="Hardware preset: a name in recipes/hardware/.")]
Tasks = Annotated[str | None, typer.Option(help="Tasks to train on, comma-separated. Default: the recipe's.")]
RunName = Annotated[
    str | None, typer.Option("--name", help="Name of the run; default: recipe, task, model and hardware joined.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a recipe key: KEY=VALUE, for example sft.epochs=1. Repeatable."),
]
Checkpoint = Annotated[
    str | None, typer.Option("--ckpt", help="A folder that mtrl export wrote, another model folder, or a hub id.")
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        help="The URL of an OpenAI-compatible server that has the model. Its key is read from OPENAI_API_KEY."
    ),
]
ServedModel = Annotated[
    str | None,
    typer.Option(help="The name that the server knows the model by. With --ckpt too, that folder says how to ask it."),
]
TrainedTasks = Annotated[
    str | None, typer.Option("--tasks", help="Tasks, comma-separated. Default: those that the judge was trained on.")
]
Style = Annotated[
    Literal["sft", "rl"] | None,
    typer.Option(help="Prompt style. Default: the one that the judge was trained with."),
]
Prompts = Annotated[
    Literal["export", "local"],
    typer.Option(help="Which tasks and prompts to use: the export's own, or those of the working directory."),
]
TensorParallel = Annotated[int, typer.Option(min=1, help="GPUs per copy of the model.")]
Replicas = Annotated[int | None, typer.Option(min=1, help="Copies of the model, run in parallel on Ray.")]
RayAddress = Annotated[str | None, typer.Option(help="HOST:PORT of a Ray cluster. Default: Ray on this machine.")]
Unfinished = Annotated[
    bool, typer.Option("--unfinished", help="Accept a run that is still running, has failed or was interrupted.")
]


def answers_folder(kind: str, more: str = "") -> Any:
    """--out of a verb that writes the answers of a judge to runs/<run>/KIND."""
    usual = f"runs/<run>/{kind}, or runs/{kind}-<name> for a model that mtrl did not train"
    return typer.Option("--out", help=f"Folder to write. Default: {usual}{more}.")


def names(option: str, given: str | None, usual: Iterable[str] = ()) -> list[str]:
    """The names of a comma list, each once; where it is not given, the usual ones. Raises UserError where the list has
    no name: a shell variable that is not set must not mean all."""
    if given is None:
        return list(usual)
    if not (found := list(dict.fromkeys(name for word in given.split(",") if (name := word.strip())))):
        raise UserError(f"{option} {given!r} has no name", f"pass {option} NAME,NAME, or leave it out")
    return found


def trained_tasks(judge: Subject, given: str | None, verb: str) -> list[str]:
    """Those of --tasks, else those that the judge was trained on. Raises UserError where there are none to VERB."""
    if found := names("--tasks", given, judge.trained):
        return found
    raise UserError(
        f"mtrl did not train {judge.checkpoint}, so it is not known which tasks to {verb}",
        "pass --tasks NAME,NAME (mtrl tasks)",
    )


DATA, RUNS = Path("data"), Path("runs")

# Spellings of earlier versions. They work, and no help shows them.
OLDER = {"--tasks": ["--task"], "--out": ["--to", "--folder"], "--served-model": ["--model"]}
