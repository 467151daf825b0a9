"""`mtrl sift --ckpt PATH`: how often a judge answers each training row right, from several votes per row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mtrl.commands import options

if TYPE_CHECKING:
    from mtrl.evaluate.predictions import Evaluation
    from mtrl.evaluate.sift import Sifted, Summary

COLUMNS = ("task", "rows", "right [95%]", "invalid", "all right", "none right", "between", "suspects")


def command(
    ckpt: options.Checkpoint = None,
    endpoint: options.Endpoint = None,
    served_model: options.ServedModel = None,
    tasks: options.TrainedTasks = None,
    votes: Annotated[int, typer.Option(min=2, help="Answers per row, sampled at temperature 1.")] = 8,
    style: Annotated[Literal["sft", "rl"], typer.Option(help="Prompt style.")] = "rl",
    limit: Annotated[int | None, typer.Option(min=1, help="The first N training rows of each task.")] = None,
    tensor_parallel: options.TensorParallel = 1,
    replicas: options.Replicas = None,
    ray_address: options.RayAddress = None,
    out: Annotated[Path | None, options.answers_folder("sift")] = None,
    prompts: options.Prompts = "export",
    data: options.Data = options.DATA,
    runs: options.Runs = options.RUNS,
) -> None:
    """Ask a judge about every training row several times: the share of right answers per row.

    The same command again continues: it asks only what is not answered yet."""
    from mtrl.core.console import bar, check, say, then
    from mtrl.evaluate import judges, predictions, sift, suspects
    from mtrl.evaluate.html import suspects_page
    from mtrl.evaluate.loading import Loader
    from mtrl.evaluate.run import ask

    judge = judges.named(ckpt, endpoint, served_model, style, prompts)
    folder = out or runs / judges.evaluation_folder(ckpt, served_model, kind="sift")
    names = options.trained_tasks(judge, tasks, "sift")
    say(f"{judge.checkpoint}: method {judge.method}, by {judge.told_by}; asked in the style {judge.style}")
    for line in judge.remarks(names):
        say(line)
    if judge.run and (own := judges.named(ckpt, endpoint, served_model, None, prompts).style) != style:
        text = f"the judge was trained in the style {own}: in the style {style} it may be wrong about right labels"
        check("warning", text, f"--style {own}, unless a training in the style {style} needs this sift")
    engine = Loader(endpoint, tensor_parallel, replicas, ray_address, data, folder / "log.txt")
    with bar(f"sift {folder}") as update:
        ask(judge, names, data, "train", folder, votes, limit, engine, update, sift=True)
    run = predictions.load(folder, purpose="sift")
    sifted = sift.of(run, folder)
    _show(run, sifted)
    say(f"labels that may be wrong: {suspects.write(folder, sifted, data)}")
    with bar("thumbnails") as update:
        page = suspects_page.write(folder, run, sifted, data, update)
    say(f"the same rows with images and answers: {page}")
    for line in _next(sifted, folder, bool(endpoint), data):
        then(line)


def _show(run: Evaluation, sifted: Sifted) -> None:
    from mtrl.core.console import check, say, say_unread, table
    from mtrl.evaluate import notes, sift, unreadable

    identity = run.identity
    found = {name: sift.summary(rows) for name, rows in sifted.rows.items()}
    title = f"{identity.name or identity.path}: {identity.sampling.votes} votes per row (per cent; suspects: rows)"
    table(title, COLUMNS, [_cells(name, of) for name, of in found.items()])
    for line in notes.rejected(run.rows):
        say(line)
    say_unread(unreadable.of_evaluation(identity, run.rows))
    for name, of in found.items():
        if not of.learnt:
            check(
                "warning",
                f"{name}: this judge is not surely right more often than always the most frequent label"
                f" ({100 * of.constant:.1f}%): it has not learnt the task, and its votes say little about labels",
            )
    if not sift.needed(identity.sampling.votes):
        say(f"{identity.sampling.votes} votes per row are too few to suspect a label: pass --votes 4 or more")


def _cells(name: str, of: Summary) -> list[str]:
    interval = " [{:.1f}, {:.1f}]".format(*(100 * end for end in of.right.ci95)) if of.right.ci95 else ""
    counts = (of.all_right, of.none_right, of.between)
    return [
        name,
        f"{of.rows:,}",
        f"{100 * (of.right.value or 0):.1f}{interval}",
        f"{100 * of.invalid:.1f}",
        *(f"{100 * count / of.rows:.1f}" for count in counts),
        f"{of.suspects:,}",
    ]


def _next(sifted: Sifted, folder: Path, served: bool, data: Path) -> Iterator[str]:
    """RL on the rows that are sometimes right, of the model that was asked. After --limit: the sift of all rows."""
    from mtrl.config import samples
    from mtrl.config.recipe_types import KEEP
    from mtrl.core import hints
    from mtrl.models import card

    identity = sifted.identity
    if served:  # that the server has this model cannot be checked, so RL would not take the sift
        return
    if any(len(rows) < samples.count(data, name, "train") for name, rows in sifted.rows.items()):  # RL needs all rows
        yield hints.line(
            "sift",
            ckpt=identity.path,
            tasks=",".join(identity.tasks),
            votes=identity.sampling.votes,
            style=identity.style,
            prompts="local" if identity.prompts == "local" else None,
            out=hints.free(str(folder.parent), folder.name),
        )
        return
    if not all(any(KEEP[0] <= row.pass_rate <= KEEP[1] for row in rows) for rows in sifted.rows.values()):
        return  # they keep no row of a task, which is an error
    told = card.read(Path(identity.path)) if Path(identity.path).exists() else None
    sets = [f"sift={folder}", f"rl.keep_pass_rate=[{KEEP[0]:g},{KEEP[1]:g}]"]
    if identity.style != "rl":
        sets.append(f"style={identity.style}")
    if told or not identity.model:
        sets.append(f"model.path={identity.path}")
    yield hints.line(
        "plan",
        "rl_multitask",
        tasks=",".join(identity.tasks),
        model=identity.model or None,
        hardware=told.recipe.hardware.name if told and told.recipe.hardware else None,
        set=sets,
    )
