"""`mtrl score PREDICTIONS`: metrics and report of answers that are there already; nothing is generated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtrl.commands import options


def command(
    file: Annotated[
        Path,
        typer.Argument(metavar="PREDICTIONS", help="A predictions file, with its eval.json next to it, or the folder."),
    ],
    data: options.Data = options.DATA,
) -> None:
    """Compute the metrics and report of an evaluation again.

    The responses are parsed again. Nothing is generated."""
    from mtrl.commands import outcome
    from mtrl.core.console import say
    from mtrl.core.errors import UserError
    from mtrl.evaluate import predictions
    from mtrl.evaluate.rescore import reread
    from mtrl.evaluate.scores import score

    if not file.exists():
        raise UserError(f"there are no predictions in {file} yet", predictions.SCORE_FIRST)
    folder, name = (file, predictions.FILE) if file.is_dir() else (file.parent, file.name)
    changed = reread(folder, name)
    say(
        f"{changed.answers:,} answers parsed again: {changed.verdict:,} verdicts changed"
        f" ({changed.lenient:,} by the lenient parse)"
    )
    outcome.show(folder, score(folder, name), name)
    if name == predictions.FILE:
        outcome.report(folder, data)
