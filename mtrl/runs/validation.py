"""The validation scores of a run, each under its own name.

LLaMA-Factory's `eval_accuracy` is of the answer's tokens with the answer shown; an RL trainer's is of the verdicts,
and so is the score of `mtrl select`.
"""

from __future__ import annotations

from mtrl.core.rundir import Run

TOKENS, VERDICTS = "token accuracy", "verdict accuracy"


def name(method: str) -> str:
    """The name of a trainer's `eval_accuracy`, by the run's method or stage."""
    return TOKENS if method.startswith("sft") else VERDICTS


def shown(run: Run) -> dict[str, str]:
    """The last token accuracy and verdict accuracy of a run as text, "" if there is none.

    The score of `mtrl select` takes precedence.
    """
    rows = run.metrics
    last = next((row["eval_accuracy"] for row in reversed(rows) if "eval_accuracy" in row), None)
    found = {TOKENS: "", VERDICTS: ""}
    if last is not None:
        found[name(str(run.recipe.get("method")))] = f"{last:.4g}"
    if chosen := run.selected:
        by = "" if chosen.by == "accuracy" else "Macro-F1 "
        found[VERDICTS] = f"{by}{chosen.scores[str(chosen.best)]:.4g} (step {chosen.best}, mtrl select)"
    return found
