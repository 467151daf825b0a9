"""What LLaMA-Factory and TRL share as trainers of transformers: HuggingFaceTrainer is the part of a Backend that is the
same for both. They stop early and find their newest checkpoint by themselves, and save checkpoint-<step>/."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from mtrl.backends import checkpoint_folders, merging
from mtrl.config.recipe_types import Recipe
from mtrl.core.rundir import Run
from mtrl.models import trainer_state


class HuggingFaceTrainer:
    def begin(self, run: Run) -> None:
        """Nothing to prepare."""

    def plateaued(self, recipe: Recipe, rows: list[dict[str, Any]]) -> str:
        return ""

    def ended(self, recipe: Recipe, run: Run) -> str:
        """As the newest complete checkpoint says."""
        return next((trainer_state.last(newest) for newest in reversed(checkpoint_folders.steps(run).values())), "")

    def finished(self, run: Run) -> bool:
        return checkpoint_folders.complete(run.checkpoints)  # the final model and state, which are written last

    def merged(self, checkpoint: Path, recipe: Recipe, scratch: Path) -> contextlib.AbstractContextManager[Path]:
        """The checkpoint itself, or the base model with its adapter merged in."""
        if (checkpoint / "adapter_config.json").exists():
            return merging.adapter(checkpoint, recipe, scratch)
        return contextlib.nullcontext(checkpoint)
