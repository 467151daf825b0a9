"""Estimates of time: within twice of every published step, and the page's table. Time, memory and cost of every
recipe, model and preset.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mtrl.config import gpus, recipe
from mtrl.core.errors import UserError
from mtrl.core.search_path import listing
from mtrl.preflight import cost, memory, times
from tests.conftest import ROOT
from tests.unit import launches

# sft_traces needs a sift: test_traces.py
RECIPES = [
    name for name in listing("recipes", ".", ".yaml") if name.startswith(("sft_", "rl_")) and "traces" not in name
]
MODELS = sorted(listing("recipes", "models", ".yaml"))
PRESETS = sorted(set(listing("recipes", "hardware", ".yaml")) - {"cpu"})
TASKS = "tasks=demo_quality,demo_alignment"


@pytest.mark.parametrize("row", cost.measured(), ids=lambda row: f"{row.model}-{row.gpu}-{row.micro}")
def test_a_published_step_is_estimated_within_twice(row: cost.Measured) -> None:
    assert 0.5 < row.estimate().seconds / row.seconds < 2
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert (
        f"| {row.seconds:,.0f} | {row.estimate().seconds:,.0f} | {row.estimate().seconds / row.seconds:.2f} |" in page
    )


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("model", MODELS)
def test_every_recipe_has_time_memory_and_cost(project: Path, model: str, preset: str) -> None:
    """The CPU preset has memory alone: times of a CPU are not estimated, and said to be seen in mtrl status."""
    assert len(RECIPES) == 4
    for name in RECIPES:
        sets = ["tasks=demo_quality"] if name.endswith("single") else [TASKS]
        loaded = recipe.load(name, model, preset, sets=sets)
        (line,) = times.check(loaded, project / "data", 2.0)
        found = re.search(
            r"at most ([\d,.]+) hours = ([\d,]+) GPU-hours on (\d+) x \w+.*cost at most ([\d,]+) at 2 per", line.text
        )
        assert line.level == "ok" and found, line.text
        hours, total, world, money = (float(number.replace(",", "")) for number in found.groups())
        assert total == pytest.approx(hours * world, rel=0.2, abs=world / 10 + 1)
        assert money == pytest.approx(2 * total, rel=0.02, abs=2)
        if loaded.trainer == "trl" and loaded.model.shape and loaded.model.shape.experts:  # refused, see test_recipe.py
            continue
        on_gpus, *_, on_the_host = memory.check(loaded, launches.rendered(loaded), elsewhere=True)
        assert re.match(r"GPU memory: [\d.,]+ GB counted .* and about [\d.,]+ GB estimated, of \d+ GB$", on_gpus.text)
        assert re.match(r"host memory: about [\d.,]+ GB per node$", on_the_host.text)


def test_more_work_takes_longer(project: Path) -> None:
    def seconds(*sets: str, preset: str = "8x80gb") -> float:
        found = times.of(recipe.load("rl_multitask", "qwen3-vl-4b", preset, sets=[TASKS, *sets]), project / "data")
        assert found is not None
        return found.step.seconds

    plain = seconds()
    assert seconds("rl.n=40") > 1.5 * plain
    assert seconds("rl.kl_coef=0") < plain  # no reference model is asked
    assert seconds("hardware.gpu=a100") > plain > seconds("hardware.gpu=b200")
    assert seconds(preset="16x80gb") < plain


def test_what_the_estimate_leaves_out_is_said(project: Path) -> None:
    def line(name: str, model: str, preset: str, *sets: str) -> str:
        (found,) = times.check(recipe.load(name, model, preset, sets=[TASKS, *sets]), project / "data")
        return found.text

    assert "as if one node" in line("rl_multitask", "qwen3-vl-4b", "16x80gb")
    assert "optimizer's time in host memory" in line("sft_unified", "qwen3-vl-30b-a3b", "8x80gb-offload")
    assert "upstream: block is not read" in line("rl_multitask", "qwen3-vl-4b", "8x80gb", "upstream.trainer.val_freq=7")
    assert "answers of 99 tokens" in line("rl_multitask", "qwen3-vl-4b", "8x80gb", "rl.max_response_length=99")
    assert line("sft_unified", "qwen3-vl-4b", "8x80gb").endswith("GPU-hours on 8 x h100")


def test_without_figures_nothing_is_made_up(project: Path) -> None:
    (line,) = times.check(recipe.load("rl_multitask", "tiny", "cpu", sets=[TASKS]), project / "data")
    assert "not estimated on a CPU" in line.text
    (line,) = times.check(
        recipe.load("rl_multitask", "tiny", "8x80gb", sets=[TASKS, "model.shape=null"]), project / "data"
    )
    assert line.level == "warning" and "no shape" in line.text
    with pytest.raises(UserError, match=r"'h10' is not in .*known: .*h100"):
        gpus.gpu("h10")


def test_a_plan_for_another_machine(cli, project: Path) -> None:
    arguments = ["sft_unified", "--model", "qwen3-vl-4b", "--hardware", "1x80gb-lora", "--set", TASKS]
    here = cli("plan", *arguments)
    assert here.code == 2 and "needs 1 GPUs on this node" in here.out
    there = cli("plan", *arguments, "--elsewhere", "--price", 2.5)
    assert there.code == 0, there.out + there.err
    assert "not checked here: " in there.out and "at 2.5 per GPU-hour" in there.out and "of 80 GB" in there.out
    assert "next to each other: " in there.out and "prompts" in there.out
    assert "make setup-main setup-llamafactory DEVICE=gpu" in there.out
    assert "copied: mtrl plan sft_unified" in there.out and "&& mtrl sft sft_unified" in there.out
    ray = cli("plan", "rl_multitask", "--model", "qwen3-vl-4b", "--set", f"{TASKS},demo_safety", "--elsewhere")
    assert ray.code == 0 and "setup-llamafactory setup-easyr1 DEVICE=gpu" in ray.out, ray.out + ray.err
    assert cli("plan", *arguments, "--price", "much").code == 2
