"""Reading responses again with today's parser: answers already paid for, under a rule that was mended since.

`verdict`, `lenient` and `correct` follow from `response`, so they are not facts of their own: where they changed, the
predictions file is written anew beside itself and renamed, so that metrics, report, compare and tables all see one
reading. Responses, and whatever else a line holds, stay as they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mtrl.core.errors import UserError
from mtrl.core.files import open_regular, write_text
from mtrl.core.locks import take
from mtrl.evaluate import predictions
from mtrl.reward_plugins import judge


def reread(folder: Path, file: str = predictions.FILE) -> dict[str, int]:
    """How many answers there are, and how many strict and lenient verdicts changed: {answers, verdict, lenient}.

    Raises UserError where the folder holds no predictions, where lines are of another kind, or while an evaluation
    writes to the file.
    """
    path = folder / file
    empty = UserError(f"there are no predictions in {path} yet", "score a judge first, by mtrl eval with --ckpt")
    if not path.exists():
        raise empty
    with open_regular(path) as held:
        if not take(held.fileno()):
            raise UserError(f"a mtrl eval is writing to {path}", "wait for it, then mtrl score again")
        identity, rows = predictions.load(folder, file)
        if not rows:
            raise empty
        changed = dict.fromkeys(("verdict", "lenient"), 0)
        for row in rows:
            about = identity["tasks"].get(row["task"])
            if about is None:
                continue
            before = {key: row.get(key) for key in changed}
            row.update(_read(row, identity["style"], tuple(about["choices"])))
            for key, value in before.items():
                changed[key] += value != row[key]
        if any(changed.values()):
            write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return {"answers": len(rows), **changed}


def _read(row: dict[str, Any], style: str, choices: tuple[str, str]) -> dict[str, Any]:
    verdict = judge.parse(row["response"], style, choices)
    found = {
        "verdict": verdict,
        "lenient": verdict or judge.parse_lenient(row["response"], style, choices),
        "correct": verdict == row["label"],
    }
    if row.get("confidence") is not None and verdict != row["verdict"]:
        # it was of the other verdict; log-probabilities are not kept, so of a new one more cannot be said
        found["confidence"] = round(1 - row["confidence"], 6) if verdict and row["verdict"] else None
    return found
