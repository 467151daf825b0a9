"""`mtrl sift --ckpt PATH`: how often a judge answers each training row right, from several votes per row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mtrl.commands import options

if TYPE_CHECKING:
    from mtrl.evaluate.sift import RowVotes


def command(
    ckpt: options.Checkpoint = None,
    endpoint: options.Endpoint = None,
    served_model: options.ServedModel = None,
    tasks: Annotated[
        str | None, typer.Option(help="Tasks, comma-separated. Default: those that the judge was trained on.")
    ] = None,
    votes: Annotated[int, typer.Option(min=2, help="Answers per row, sampled at temperature 1.")] = 8,
    style: Annotated[Literal["sft", "rl"], typer.Option(help="Prompt style.")] = "rl",
    limit: Annotated[int | None, typer.Option(min=1, help="The first N training rows of each task.")] = None,
    tensor_parallel: Annotated[int, typer.Option(min=1, help="GPUs per copy of the model.")] = 1,
    replicas: Annotated[int | None, typer.Option(min=1, help="Copies of the model, run in parallel on Ray.")] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="HOST:PORT of a Ray cluster. Default: Ray on this machine.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write. Default: runs/<run>/sift, or runs/sift-<name> for a model that mtrl did not train."
        ),
    ] = None,
    prompts: options.Prompts = "export",
    data: options.Data = options.DATA,
    runs: options.Runs = options.RUNS,
) -> None:
    """Ask a judge about every training row several times: the share of right answers per row.

    The same command again continues: it asks only what is not answered yet."""
    from mtrl.core.console import bar, say, table
    from mtrl.core.errors import UserError
    from mtrl.evaluate import judges, sift
    from mtrl.evaluate.loading import Loader
    from mtrl.evaluate.run import ask

    judge = judges.named(ckpt, endpoint, served_model, style, prompts)
    folder = out or runs / judges.evaluation_folder(ckpt, served_model, kind="sift")
    names = [name.strip() for name in tasks.split(",")] if tasks else list(judge.trained)
    if not names:
        raise UserError(f"{judge.checkpoint} does not say which tasks to sift", "pass --tasks A,B")
    say(f"{judge.checkpoint}: method {judge.method}, style {judge.style}, by {judge.told_by}")
    for line in judge.remarks(names):
        say(line)
    engine = Loader(endpoint, tensor_parallel, replicas, ray_address, data, folder / "log.txt")
    with bar(f"sift {folder}") as update:
        ask(judge, names, data, "train", folder, votes, limit, engine, update, sift=True)
    sifted = sift.load(folder)
    rows = [
        [name, len(of), *(f"{100 * sum(counts) / (len(of) * votes):.2f}" for counts in zip(*_counts(of), strict=True))]
        for name, of in sifted.rows.items()
    ]
    table(f"{judge.name}: {votes} votes per row (per cent)", ("task", "rows", "right", "invalid"), rows)
    say(f"written: {folder}")


def _counts(rows: list[RowVotes]) -> list[tuple[int, int]]:
    return [(row.right, row.invalid) for row in rows]
