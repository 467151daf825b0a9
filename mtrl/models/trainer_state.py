"""trainer_state.json, which Hugging Face trainers save with every checkpoint: whether training ended there."""

from __future__ import annotations

from pathlib import Path

from mtrl.core.files import read_json

FILE = "trainer_state.json"


def last(checkpoint: Path) -> str:
    """Why a Hugging Face trainer ended with this checkpoint, by its trainer_state.json; "" if it went on.

    A trainer that resumes ignores both: it trains one step after the last, or after early stopping to the next
    validation.
    """
    state = read_json(checkpoint / FILE, strict=False)
    state = state if isinstance(state, dict) else {}
    step, most = state.get("global_step"), state.get("max_steps")
    if isinstance(step, int) and isinstance(most, int) and 0 < most <= step:
        return f"all {most} steps are trained"
    control = (state.get("stateful_callbacks") or {}).get("TrainerControl") or {}
    stopped = control.get("args", {}).get("should_training_stop") is True
    return f"stopped early at step {step}: validation has not improved" if stopped else ""
