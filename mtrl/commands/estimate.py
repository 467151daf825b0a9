"""`mtrl estimate VERDICTS --labels FILE`: the true share of a verdict in a set of judged images; what to label next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtrl.commands import options

if TYPE_CHECKING:
    from mtrl.evaluate.estimate import TaskShare
    from mtrl.evaluate.judged_set import JudgedSet
    from mtrl.evaluate.labelling import Labels
    from mtrl.evaluate.metrics.prevalence import Share


def command(
    verdicts: Annotated[
        Path,
        typer.Argument(
            metavar="VERDICTS", help="The set: a .csv or .jsonl that mtrl judge wrote, or the folder of an evaluation."
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="A table with id or image, and label; or the folder of an evaluation, whose labels and verdicts are"
            " used. Default: the labels in VERDICTS."
        ),
    ] = None,
    tasks: Annotated[str | None, typer.Option(help="Tasks, comma-separated. Default: all in VERDICTS.")] = None,
    of: Annotated[
        str | None,
        typer.Option(help="The verdict whose share is estimated; several with commas. Default: yes."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Column of VERDICTS: images with the same value are not independent. Default: cluster, if it is there."
            " The same image is always one cluster."
        ),
    ] = None,
    next: Annotated[
        int | None,
        typer.Option("--next", min=1, help="Write a CSV of this many images to label next, for each task, to --out."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the random sample of --next; default 0.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="With --next the .csv to fill in; else a .json for the estimates.")
    ] = None,
) -> None:
    """Estimate the true share of good images in a judged set from a few labels.

    The labelled images must be a random sample of the set: --next draws it."""
    from mtrl.core import targets
    from mtrl.core.console import check
    from mtrl.core.errors import UserError, nearest
    from mtrl.core.files import write_json
    from mtrl.evaluate import estimate, judged_set, labelling

    if next and (of or cluster):
        raise UserError("--of and --cluster have no effect with --next", "leave them out")
    if seed is not None and not next:
        raise UserError("--seed has no effect without --next", "leave it out: a table of --next has its seed")
    ending = ".csv" if next else ".json"
    if next and not out:
        raise UserError("--next writes a table to fill in", "pass --out label.csv")
    if out:
        targets.check_file(out)
        if out.suffix != ending:
            raise UserError(f"--out {out} is not a {ending}", f"pass --out NAME{ending}")
        if next and out.exists():
            raise UserError(f"{out} exists already, perhaps with labels", "pass another --out")
    found = judged_set.read(verdicts, cluster)
    names = options.names("--tasks", tasks, found.tasks)
    if unknown := [name for name in names if name not in found.tasks]:
        raise UserError(
            f"{verdicts} has no task {unknown[0]}.{nearest(unknown[0], found.tasks)}",
            "pass other --tasks, or leave it out for all",
        )
    if next and found.skipped:
        check("warning", f"{found.skipped.total():,} images of the set were skipped by mtrl judge: they are not drawn")
    if labels and not labels.exists():
        raise UserError(f"--labels {labels} does not exist", labelling.draw_first(verdicts))
    evaluation = labels is not None and labels.is_dir()
    if labels and evaluation and not next:
        other = judged_set.read(labels)
        wanted = estimate.interest(found, names, of)
        shares = [estimate.of_evaluation(found, name, wanted, other) for name in names]
    else:
        if evaluation:
            raise UserError("--next continues a table of labels, not an evaluation", "leave out --labels")
        known = estimate.read_labels(found, names, labels)
        if known.outside:
            check("warning", f"{len(known.outside):,} labels are not of the set: the first is {known.outside[0]}")
        if next and out:
            return _draw(found, names, known, next, seed, out)
        wanted = estimate.interest(found, names, of)
        shares = [estimate.of_table(found, name, wanted, known) for name in names]
    for share in shares:
        _show(share)
    if out:
        write_json(out, {share.task: share.model_dump() for share in shares})


def _draw(found: JudgedSet, names: list[str], known: Labels, number: int, seed: int | None, out: Path) -> None:
    from mtrl.core.console import say
    from mtrl.core.errors import UserError
    from mtrl.evaluate import labelling

    labels = known.found if known.file or not found.asked else {}  # all of an evaluation have labels
    begun = labelling.seed_of(one for task in labels.values() for one in task.values())
    if begun is not None and seed not in (None, begun):
        raise UserError(f"the labels are of the sample with seed {begun}", "leave out --seed: the sample is continued")
    chosen = (seed or 0) if begun is None else begun
    rows = [row for name in names for row in labelling.draw(found.tasks[name], labels.get(name, {}), number, chosen)]
    new = sum(row.id not in labels.get(row.task, {}) for row in rows)
    if not new:
        raise UserError(f"every image of {found.path} has a label: there is nothing to draw")
    labelling.write(out, rows, labels, chosen)
    say(f"written: {out}: {new:,} images to label, {len(rows) - new:,} with a label, seed {chosen}")
    say("label all of them, in this order: a sample without its hard images is not random")


def _show(one: TaskShare) -> None:
    from mtrl.core.console import check, say, table

    best, by = (one.ppi, "") if one.ppi else (one.rogan_gladen, ", by Rogan-Gladen")
    words = "/".join(one.of)
    alone = f"; labels alone {_percent(one.labels_alone)}" if one.labels_alone else ""
    start = f"{_percent(best, '95% interval ')} of the {one.images:,} images are {words}{by}; " if best else ""
    say(f"{one.task}: {start}the judge alone says {100 * one.judge_alone:.1f}%{alone}")
    rates = ""
    if one.sensitivity is not None and one.specificity is not None:
        rates = f"sensitivity {100 * one.sensitivity:.1f}, specificity {100 * one.specificity:.1f}"
    rows = [
        ("PPI++", one.ppi, "" if one.tuning is None else f"lambda {one.tuning:.2f}"),
        ("Rogan-Gladen", one.rogan_gladen, rates),
        ("labels alone", one.labels_alone, f"{one.labels:,} labels, {one.clusters:,} independent"),
    ]
    cells = [[name, *_cells(share), about] for name, share, about in rows]
    about = f"{one.images:,} images" + (f", {one.no_verdict:,} without a verdict" if one.no_verdict else "")
    cells.append(["judge alone", f"{100 * one.judge_alone:.1f}", "", about])
    table(f"{one.task}: images that are {words}, per cent", ["estimate", "share", "95% interval", "from"], cells)
    if one.seed is not None:
        say(f"the labels are a random sample of the set, drawn with seed {one.seed}")
    for note in one.notes:
        check("warning", note)


def _percent(share: Share, words: str = "") -> str:
    low, high = share.ci95
    return f"{100 * share.value:.1f}% ({words}{100 * low:.1f} to {100 * high:.1f})"


def _cells(share: Share | None) -> list[str]:
    if share is None:
        return ["-", "-"]
    return [f"{100 * share.value:.1f}", " to ".join(f"{100 * bound:.1f}" for bound in share.ci95)]
