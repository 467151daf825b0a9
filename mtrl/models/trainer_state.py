"""trainer_state.json, which Hugging Face trainers save with every checkpoint: whether training ended with it."""

from __future__ import annotations

from pathlib import Path

from mtrl.core.files import read_json

FILE = "trainer_state.json"


def last(checkpoint: Path) -> str:
    """Why a Hugging Face trainer ended with this checkpoint, by its own trainer_state.json; "" where it went on.

    Resuming clears both marks: from the last step it trains one more, after early stopping until the next validation.
    """
    state = read_json(checkpoint / FILE, strict=False)
    state = state if isinstance(state, dict) else {}
    step, most = state.get("global_step"), state.get("max_steps")
    if isinstance(step, int) and isinstance(most, int) and 0 < most <= step:
        return f"all {most} steps are trained"
    control = (state.get("stateful_callbacks") or {}).get("TrainerControl") or {}
    stopped = control.get("args", {}).get("should_training_stop") is True
    return f"stopped early at step {step}: validation has not improved" if stopped else ""
