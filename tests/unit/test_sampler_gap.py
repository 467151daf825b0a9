"""How far the sampler is from the trainer: read from lines as verl 0.9.1 and TRL 1.16.0 log them, shown by status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mtrl.backends import logs, verl_grpo
from mtrl.backends.jobs import grpo
from mtrl.backends.registry import BACKENDS
from mtrl.config import recipe
from mtrl.core.files import write_text
from mtrl.core.rundir import Run
from mtrl.runs import launch, sampler_gap

MIXTURE = ("qwen3-vl-30b-a3b", "8x80gb", ["backend=verl"])


def verl_line(step: int, correlation: float | None, difference: float | None) -> str:
    """A line of verl's FileLogger; orjson writes NaN as null."""
    data = {
        "training/global_step": step,
        "training/rollout_probs_diff_valid": 1 if correlation is not None else 0,
        "training/rollout_probs_diff_max": 0.9141,
        "training/rollout_probs_diff_mean": difference,
        "training/rollout_probs_diff_std": 0.0312,
        "training/rollout_actor_probs_pearson_corr": correlation,
        "rollout_corr/kl": 0.0021,
        "critic/score/mean": 0.5,
    }
    return json.dumps({"step": step, "data": data})


def run_of(name: str, model: str, hardware: str, sets: list[str], tmp_path: Path) -> Run:
    run = Run(tmp_path / "runs" / name)
    found = recipe.load("rl_multitask", model, hardware, sets=["tasks=demo_quality", *sets])
    run.claim(found.model_dump(mode="json", exclude_none=True), {})
    run.set("done", started=1.0)
    return run


def by_verl(run: Run, *lines: str) -> Run:
    write_text(run.path / verl_grpo.LOG, "\n".join(lines) + "\n")
    launch.write_metrics(run, BACKENDS["verl"].metrics(run))
    return run


def by_trl(run: Run, *lines: dict[str, Any]) -> Run:
    write_text(run.checkpoints / grpo.LOG, "".join(json.dumps(line) + "\n" for line in lines))
    launch.write_metrics(run, BACKENDS["trl"].metrics(run))
    return run


def test_the_reported_gap_of_a_mixture_is_warned_of(tmp_path: Path) -> None:
    """volcengine/verl #5392: a correlation of about 0.6."""
    run = by_verl(run_of("far", *MIXTURE, tmp_path), verl_line(1, 0.99, 0.004), verl_line(2, 0.6, 0.05))
    assert logs.gap(run.metrics) == logs.Gap(2, 0.6, 0.05, None)
    found = sampler_gap.check(run)
    assert found is not None and found.level == "warning"
    assert "far: sampler and trainer differ at step 2: correlation of probabilities 0.6 (normal: 0.95" in found.text
    assert "mean difference of probabilities 0.05 (normal: up to 0.01)" in found.text
    sets = "--set rl.router_replay=rollout --set rl.ratio=sequence --set rl.clip_low=3e-4 --set rl.clip_high=4e-4"
    assert found.then == f"train under another --name with {sets}"
    again = [word.strip() for word in sets.split("--set")[1:]]
    changed = recipe.load("rl_multitask", *MIXTURE[:2], sets=[*MIXTURE[2], *again])  # the settings that it names work
    assert changed.rl is not None and (changed.rl.router_replay, changed.rl.ratio) == ("rollout", "sequence")


@pytest.mark.parametrize(
    ("correlation", "difference", "level"),
    [(0.998, 0.003, "ok"), (0.998, 0.02, "warning"), (0.9, 0.003, "warning"), (0.95, 0.01, "ok")],
)
def test_either_number_is_enough(correlation: float, difference: float, level: str, tmp_path: Path) -> None:
    found = sampler_gap.check(by_verl(run_of("r", *MIXTURE, tmp_path), verl_line(1, correlation, difference)))
    assert found is not None and found.level == level and ("agree" in found.text) == (level == "ok")


def test_an_older_step_is_marked_and_none_says_nothing(tmp_path: Path) -> None:
    run = run_of("r", *MIXTURE, tmp_path)
    by_verl(run, verl_line(1, 0.999, 0.002), verl_line(2, None, None))
    found = sampler_gap.check(run)
    assert found is not None and "at step 1, the last that has it," in found.text
    assert sampler_gap.check(by_verl(run, verl_line(1, None, None))) is None
    launch.write_metrics(run, [{"step": 1, logs.CORRELATION: float("nan")}])
    assert sampler_gap.check(run) is None


@pytest.mark.parametrize(
    ("model", "hardware", "sets", "then"),
    [
        (*MIXTURE[:2], ["backend=verl", "rl.router_replay=rollout", "rl.ratio=sequence"], ""),
        (*MIXTURE[:2], ["backend=verl", "rl.router_replay=trainer", "rl.ratio=sequence"], "rl.router_replay=rollout"),
        # by FSDP, for its adapters: no router replay
        (MIXTURE[0], "8x80gb-lora", ["backend=verl"], "--set rl.ratio=sequence"),
        ("qwen3-vl-8b", "8x80gb", ["backend=verl", "rl.top_p=0.9"], "--set rl.top_p=1.0 --set rl.ratio=sequence"),
    ],
)
def test_the_remedy_is_of_the_runs_own_trainer(
    model: str, hardware: str, sets: list[str], then: str, tmp_path: Path
) -> None:
    found = sampler_gap.check(by_verl(run_of("r", model, hardware, sets, tmp_path), verl_line(1, 0.6, 0.05)))
    assert found is not None and then in found.then and bool(then) == bool(found.then)
    assert "lora" not in hardware or "replay" not in found.then


def test_a_recipe_of_another_version_has_no_remedy(tmp_path: Path) -> None:
    run = by_verl(run_of("r", *MIXTURE, tmp_path), verl_line(1, 0.6, 0.05))
    write_text(run.path / "recipe.yaml", (run.path / "recipe.yaml").read_text() + "unknown_key: 1\n")
    found = sampler_gap.check(run)
    assert found is not None and (found.level, found.then) == ("warning", "")


def test_trl_logs_a_difference_of_log_probabilities(tmp_path: Path) -> None:
    name = "sampling/sampling_logp_difference/mean"
    line = {
        "step": 3,
        "total_steps": 9,
        "reward": 0.4,
        name: 0.012,
        "sampling/sampling_logp_difference/max": 4.1,
        "sampling/importance_sampling_ratio/mean": 0.97,
    }
    run = run_of("r", "qwen3-vl-2b", "1x80gb-lora", ["backend=trl"], tmp_path)
    assert logs.gap(by_trl(run, line).metrics) == logs.Gap(3, None, None, 0.012)
    found = sampler_gap.check(run)
    assert found is not None and found.level == "ok" and "log-probabilities 0.012 (normal: up to 0.05)" in found.text
    far = sampler_gap.check(by_trl(run, {**line, name: 0.3}))
    assert far is not None and far.level == "warning" and "rl.ratio=sequence" in far.then
    del line[name]  # without vLLM
    assert sampler_gap.check(by_trl(run, line)) is None


def test_status_warns_of_every_run_and_shows_the_number_of_the_one_asked_for(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    by_verl(run_of("far", *MIXTURE, tmp_path), verl_line(2, 0.6, 0.05))
    by_verl(run_of("near", *MIXTURE, tmp_path), verl_line(2, 0.998, 0.003))
    done = cli("status")
    assert done.code == 0 and "warning far: sampler and trainer differ at step 2" in done.out
    assert "next: train under another --name with --set rl.router_replay=rollout" in done.out
    assert "near: sampler" not in done.out
    assert "ok      near: sampler and trainer agree at step 2" in cli("status", "near").out
