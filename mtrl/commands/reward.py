"""`mtrl reward FILE.jsonl`: what the reward gives each response, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def command(
    file: Annotated[
        Path, typer.Argument(help='Lines of {"response", "ground_truth"} or {"response", "task", "label"}.')
    ],
    format_weight: Annotated[float, typer.Option(min=0, max=1, help="The weight of the format reward.")] = 0.1,
    score_reward: Annotated[
        Literal["exact", "linear"], typer.Option(help="Of a score: right or wrong, or 1 - |difference| / range.")
    ] = "exact",
    style: Annotated[Literal["sft", "rl"], typer.Option(help="sft: the bare verdict; rl: reasoning first.")] = "rl",
) -> None:
    """Show the training reward of responses, and the reasons."""
    from mtrl.core.console import table
    from mtrl.evaluate import rewards

    found = rewards.of_file(file, format_weight, score_reward, style)
    rows = [[one.line, one.task, f"{one.reward:g}", f"{one.accuracy:g}", f"{one.format:g}", one.why] for one in found]
    table(str(file), ["line", "task", "reward", "accuracy", "format", "why"], rows)
    means = []
    for task in dict.fromkeys(one.task for one in found):
        its = [(one.reward, one.accuracy, one.format) for one in found if one.task == task]
        means.append([task, len(its), *(f"{sum(column) / len(its):.4f}" for column in zip(*its, strict=True))])
    table("mean per task", ["task", "n", "reward", "accuracy", "format"], means)
