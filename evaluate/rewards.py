"""The training reward of responses in a file, each with its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from mtrl.core.errors import UserError
from mtrl.core.files import json_lines
from mtrl.reward_plugins import judge


class Rewarded(NamedTuple):
    """One response. The rewards are from 0 to 1."""

    line: int
    """Its line in the file, from 1."""
    task: str
    reward: float
    accuracy: float
    format: float
    why: str
    """"right", the wrong verdict, or why there is no verdict."""


def of_file(file: Path, format_weight: float, score_reward: str, style: str) -> list[Rewarded]:
    """Lines of {"response", "ground_truth"}, or {"response", "task", "label"}; "choices" too where the verdicts are not
    yes and no, or 1 and 2. Raises UserError that names the line."""
    found = []
    for number, line in json_lines(file):
        try:
            if not isinstance(line["response"], str):
                raise ValueError("response is not a text")
            truth = line.get("ground_truth") or json.dumps(
                {
                    "task": line.get("task", ""),
                    "label": line["label"],
                    "id": line.get("id", number),
                    "choices": line.get("choices"),
                }
            )
            score = judge.score(line["response"], truth, format_weight, style=style, score_reward=score_reward)
            task, label, _, choices = judge.read_truth(truth)
        except KeyError as error:
            raise UserError(f"{file}, line {number}: the key {error} is missing") from None
        except (TypeError, ValueError) as error:
            raise UserError(f"{file}, line {number}: {error}") from None
        reading = judge.read(line["response"], style, choices)
        why = reading.reason or ("right" if score["accuracy"] else f"says {reading.verdict}, label {label}")
        found.append(Rewarded(number, task, score["overall"], score["accuracy"], score["format"], why))
    if not found:
        raise UserError(f"{file} has no response")
    return found
