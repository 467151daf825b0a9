"""`mtrl reward FILE.jsonl`: what the reward gives each response, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    file: Annotated[
        Path, typer.Argument(help='Lines of {"response", "ground_truth"} or {"response", "task", "label"}.')
    ],
    format_weight: Annotated[float, typer.Option(min=0, max=1, help="The weight a of the format reward.")] = 0.1,
) -> None:
    """Score reasoning-style responses with the training reward, and say why."""
    import json

    from mtrl.core.console import table
    from mtrl.core.errors import UserError
    from mtrl.core.files import json_lines
    from mtrl.reward_plugins import judge

    rows: list[list[Any]] = []
    totals: dict[str, list[dict[str, float]]] = {}
    for number, line in json_lines(file):
        try:
            if not isinstance(line["response"], str):
                raise ValueError("response is no text")
            truth = line.get("ground_truth") or json.dumps(
                {"task": line.get("task", ""), "label": line["label"], "id": line.get("id", number)}
            )
            score = judge.score(line["response"], truth, format_weight)
            task, label, _ = judge.read_truth(truth)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{file}, line {number}: {error}") from None
        reading = judge.read(line["response"], "rl", judge.choices_of(label))
        why = reading.reason or ("right" if score["accuracy"] else f"says {reading.verdict}, label {label}")
        rows.append([number, task, *(f"{score[k]:g}" for k in ("overall", "accuracy", "format")), why])
        totals.setdefault(task, []).append(score)
    if not rows:
        raise UserError(f"{file} holds no response")
    table(str(file), ["line", "task", "reward", "accuracy", "format", "why"], rows)
    table(
        "mean by task",
        ["task", "n", "reward", "accuracy", "format"],
        [
            [
                task,
                len(found),
                *(f"{sum(s[k] for s in found) / len(found):.4f}" for k in ("overall", "accuracy", "format")),
            ]
            for task, found in totals.items()
        ],
    )
