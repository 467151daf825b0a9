"""`mtrl certify EVALUATION`: the confidence from which a judge's verdicts are right often enough, with a guarantee."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtrl.commands import options

if TYPE_CHECKING:
    from mtrl.evaluate.certify import Certified

COLUMNS = ("task", "rows", "clusters", "threshold", "decided [95%]", "wrong", "ECE, scaled", "never decided")


def command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="EVALUATION", help="A folder of mtrl eval --confidence on labelled rows that it was not trained on."
        ),
    ],
    write: Annotated[
        Path | None,
        typer.Option(help="The judge's folder: writes its decision.json. Default: the thresholds are only shown."),
    ] = None,
    alpha: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="The share of wrong verdicts that is allowed.")
    ] = 0.1,
    delta: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="The probability that the guarantee may fail with.")
    ] = 0.05,
    tasks: Annotated[
        str | None, typer.Option(help="Tasks, comma-separated. Default: all of the evaluation, each by itself.")
    ] = None,
    data: options.Data = options.DATA,
) -> None:
    """Find the confidence from which verdicts are right with at least 1 - alpha.

    Below it, mtrl judge says "undecided"."""
    from mtrl.core import hints
    from mtrl.core.console import check, say, table, then
    from mtrl.core.errors import MtrlError
    from mtrl.evaluate import certify, decision
    from mtrl.evaluate.identity import read_identity

    found = list(certify.certify(folder, options.names("--tasks", tasks), alpha, delta, data))
    judge = read_identity(folder)
    table(f"{judge.name or judge.path}: alpha {alpha:g}, delta {delta:g} (per cent)", COLUMNS, map(_row, found))
    for one in found:
        for line in _said(one, alpha, delta):
            say(line)
    decided = {one.task: one.decision for one in found if one.decision}
    if not decided:
        raise MtrlError(
            f"no threshold proves that at most {100 * alpha:g}% of the verdicts above it are wrong"
            + (f", so nothing is written to {write}" if write else ""),
            "label more rows, pass a larger --alpha, or use a better judge",
        )
    if write:
        made, file = decision.write(write, judge.checkpoint, decided), write / decision.FILE
        for task in [one.task for one in found if not one.decision and one.task in made.tasks]:
            check("warning", f"task {task}: {file} keeps an earlier threshold, which these rows do not prove")
        say(f"written: {file}")
        then(hints.line("judge", "IMAGES", tasks=next(iter(decided)), ckpt=write))
    else:
        more = {"alpha": alpha, "delta": delta, "tasks": tasks}
        then(hints.line("certify", folder, write=judge.path, **more), "nothing was written")


def _row(one: Certified) -> list[Any]:
    of, scaling = one.decision, one.scaling
    wrong, all_decided = one.observed
    ece = f"{100 * scaling.ece:.1f}, {100 * scaling.ece_scaled:.1f}" if scaling else "-"
    return [
        one.task,
        f"{one.rows:,}",
        f"{one.tested.n:,}",
        "none" if of is None else f"{of.threshold:.6g}",
        "-" if of is None else "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * n for n in (of.coverage, *of.coverage_ci95))),
        f"{wrong:,} of {all_decided:,}",
        ece,
        ", ".join(f"{number:,} {why}" for why, number in one.left_out.items()) or "0",
    ]


def _said(one: Certified, alpha: float, delta: float) -> list[str]:
    """What the numbers mean, in sentences."""
    tested, scaling = one.tested, one.scaling
    lines = []
    if one.decision:
        lines.append(
            f"{one.task}: of the verdicts with a confidence of at least {one.decision.threshold:.6g}, at least"
            f" {100 * (1 - alpha):g}% are right, unless the calibration rows were a draw as unlucky as {100 * delta:g}%"
            f" of all draws; {tested.wrong:,} of {tested.decided:,} independent ones are wrong here"
        )
    else:
        lines.append(
            f"{one.task}: no threshold. Of the {tested.decided:,} most confident independent rows {tested.wrong:,} are"
            f" wrong, which proves an error of at most {100 * tested.bound:.1f}%"
        )
    if one.decision and one.decision.clusters < one.decision.rows:
        lines.append(
            f"{one.task}: rows that share an image, a text or a source count once, so the guarantee is for a row of a"
            " new source, all sources counting alike"
        )
    if scaling:
        helps = "helps" if scaling.helps else "does not help"
        lines.append(
            f"{one.task}: temperature {scaling.temperature:.2f} {helps}: ECE {100 * scaling.ece:.1f}% to"
            f" {100 * scaling.ece_scaled:.1f}%, Brier score {scaling.brier:.3f} to {scaling.brier_scaled:.3f}, on"
            f" {scaling.measured_on:,} answers that it was not fitted on"
        )
    return [*lines, *(f"{one.task}: {line}" for line in one.unchecked)]
