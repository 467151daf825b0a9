"""`mtrl select RUN`: the best checkpoint by its verdicts on the validation split."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mtrl.commands import options


def command(
    run: Annotated[str, typer.Argument(help="A run's name or folder.")],
    by: Annotated[
        Literal["accuracy", "macro_f1"], typer.Option(help="Of the verdicts, mean over the run's tasks.")
    ] = "accuracy",
    data: options.Data = options.DATA,
    runs: options.Runs = options.RUNS,
) -> None:
    """Score a run's kept checkpoints on val with vLLM; `mtrl export RUN --step best` then takes the best."""
    from mtrl import rundir
    from mtrl.commands.show import say, table
    from mtrl.files import read_jsonl
    from mtrl.select import select

    found = rundir.find(run, runs)
    chosen = select(found, data, by, say)
    theirs = {
        str(row["step"]): row["eval_accuracy"]
        for row in read_jsonl(found.path / "metrics.jsonl")
        if "eval_accuracy" in row
    }
    rows = [
        [
            step + (" (best)" if step == str(chosen["best"]) else ""),
            f"{100 * score:.2f}",
            f"{100 * theirs[step]:.2f}" if step in theirs else "",
        ]
        for step, score in chosen["scores"].items()
    ]
    table(f"{found.name} on val (per cent)", ["step", by, "the trainer's own accuracy"], rows)
    kept = {step: theirs[step] for step in chosen["scores"] if step in theirs}
    if kept and kept[max(kept, key=lambda step: (kept[step], int(step)))] > kept.get(str(chosen["best"]), 2):
        say(f"the trainer's own accuracy would have chosen another step than {chosen['best']}")
    say(f"next: mtrl export {found.name} --step best --to exports/{found.name}")
