"""A training that came to its end is done, whoever saw it end; what is left to train is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mtrl.backends import checkpoint_folders, registry
from mtrl.backends.easyr1_grpo import EasyR1
from mtrl.config import recipe
from mtrl.core.errors import UserError
from mtrl.core.rundir import Run
from mtrl.runs import launch


def state(step: int, most: int, stop: bool = False) -> dict[str, Any]:
    """trainer_state.json as transformers 4.57 and 5.19 write it, in what is read of it."""
    control = {"args": {"should_training_stop": stop, "should_save": True}, "attributes": {}}
    return {
        "global_step": step,
        "max_steps": most,
        "log_history": [],
        "stateful_callbacks": {"TrainerControl": control},
    }


def saved(run: Run, step: int, content: Any) -> None:
    folder = run.checkpoints / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps(content))
    (folder / "model.safetensors").write_bytes(b"")


def begun(
    tmp_path: Path, *presets: str, name: str = "sft_unified", found: str = "interrupted"
) -> tuple[Run, recipe.Recipe]:
    resolved, run = recipe.load(name, *presets), Run(tmp_path / "r")
    run.claim(resolved.model_dump(mode="json", exclude_none=True), {})
    run.set(found, started=1000.0, spent=5.0)
    return run, resolved


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (state(10, 10, True), "all 10 steps are trained"),
        (state(10, 10), "all 10 steps are trained"),
        (state(6, 64, True), "stopped early at step 6"),
        (state(6, 64), ""),
        ({"global_step": 6}, ""),
        ([], ""),
    ],
)
@pytest.mark.parametrize("name", ["sft_unified", "rl_multitask"])  # LLaMA-Factory, TRL
def test_the_newest_checkpoint_says_whether_its_training_ended(
    tmp_path: Path, content: Any, reason: str, name: str
) -> None:
    run, found = begun(tmp_path, "tiny", "cpu", name=name)
    assert registry.of(found).ended(found, run) == ""
    saved(run, 3, state(3, 64, True))
    saved(run, 6, content)
    torn = run.checkpoints / "checkpoint-9"
    torn.mkdir()
    assert registry.of(found).ended(found, run).startswith(reason) and (
        reason or not registry.of(found).ended(found, run)
    )
    launch.settle(run, found)
    assert run.status.state == ("done" if reason else "interrupted")


def test_a_settled_run_keeps_its_time_and_its_recipe(tmp_path: Path) -> None:
    run, found = begun(tmp_path, "tiny", "cpu")
    (run.path / "status.json").write_text(
        json.dumps({"state": "running", "started": 1000.0, "spent": 5.0, "updated": 1010.0})
    )
    saved(run, 10, state(10, 10, True))
    other = recipe.load("sft_unified", "tiny", "cpu", sets=["seed=7"])
    with pytest.raises(UserError, match="different now: seed"):
        launch.settle(run, other)
    launch.settle(run, found)
    assert run.status.state == "done" and run.seconds() == pytest.approx(15, abs=1) and run.status.seconds == 15
    with run.held(), pytest.raises(UserError, match="is running"):
        run.set("interrupted")
        launch.settle(run, found)  # a trainer that lives is not done


def test_easyr1s_end_is_its_last_step_validated_or_a_plateau(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, found = begun(tmp_path, "qwen3-vl-4b", "8x80gb", name="rl_multitask")
    monkeypatch.setattr(checkpoint_folders, "steps", lambda run: {5: run.path, 10: run.path})
    run.log.write_text("Total training steps: 10\n")
    rows = [{"step": step, "eval_accuracy": 0.5} for step in (5, 10)]

    def ended(rows: list[dict[str, Any]]) -> str:
        monkeypatch.setattr(EasyR1, "metrics", lambda self, run: rows)
        return registry.of(found).ended(found, run)

    assert ended(rows) == "all 10 steps are trained"
    assert ended(rows[:1]) == ""  # saved, and not validated yet
    run.log.write_text("Total training steps: 975\n")
    assert ended(rows) == ""
    plateau = [{"step": 5 * number, "eval_accuracy": 0.5} for number in range(1, 7)]
    assert "has not improved for 5 validations" in ended(plateau)
