"""Every hint of a plan that contains --set makes its finding go away, and hints that are followed come to an end."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mtrl.config import recipe, samples
from mtrl.config.samples import Sample
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.finding import Check
from mtrl.preflight import amounts, easyr1_rules, lengths, machine, plan, verl_rules
from tests.unit import launches
from tests.unit.test_recipe import HARDWARE, MODELS

SET = re.compile(r"--set (\S+)")
OFFLOAD = [
    "upstream.worker.actor.offload.offload_optimizer=false",
    "upstream.worker.actor.offload.offload_params=false",
]
ROLES = "upstream.actor_rollout_ref"
MISTAKES = [  # what is wrong, for the trainers that can say it
    ("easyr1", ["hardware.gpus_per_node=6"]),
    ("easyr1", ["hardware.gpus_per_node=7"]),
    ("easyr1", ["upstream.trainer.n_gpus_per_node=6"]),
    ("easyr1", ["upstream.data.rollout_batch_size=500"]),
    ("easyr1", ["upstream.worker.actor.global_batch_size=100"]),
    ("easyr1", ["upstream.worker.actor.ulysses_size=3"]),
    ("easyr1", ["upstream.worker.actor.micro_batch_size_per_device_for_experience=3"]),
    ("easyr1", ["upstream.worker.actor.fsdp.enable_cpu_offload=true"]),
    ("easyr1", ["upstream.worker.rollout.tensor_parallel_size=3"]),
    ("easyr1", ["upstream.worker.rollout.max_num_batched_tokens=8000"]),
    ("easyr1", ["upstream.worker.rollout.max_model_len=4096"]),
    ("easyr1", ["upstream.worker.rollout.n=1"]),
    ("easyr1", ["upstream.data.mini_rollout_batch_size=12"]),
    ("easyr1", ["upstream.algorithm.adv_estimator=grppo"]),
    ("easyr1", ["upstream.trainer.logger=file"]),
    ("easyr1", ["upstream.trainer.save_freq=7"]),
    ("easyr1", ["rl.epochs=1.5"]),
    ("easyr1", [*OFFLOAD, "upstream.worker.rollout.gpu_memory_utilization=0.95"]),
    ("easyr1", ["rl.max_prompt_length=1"]),
    ("verl", ["hardware.gpus_per_node=7", "model.tensor_parallel_size=1"]),
    ("verl", ["upstream.data.train_batch_size=500"]),
    ("verl", [f"{ROLES}.rollout.n=1"]),
    ("verl", [f"{ROLES}.actor.ulysses_sequence_parallel_size=3"]),
    ("verl", [f"{ROLES}.actor.ppo_max_token_len_per_gpu=4096"]),
    ("verl", [f"{ROLES}.rollout.tensor_model_parallel_size=3"]),
    ("verl", [f"{ROLES}.rollout.max_model_len=4096"]),
    ("verl", [f"{ROLES}.actor.use_dynamic_bsz=false", f"{ROLES}.actor.ppo_micro_batch_size_per_gpu=3"]),
    ("verl", ["upstream.trainer.test_freq=7"]),
    ("verl", ["upstream.data.filter_overlong_prompts=true"]),
    ("verl", ["upstream.data.image_patch_size=14"]),
    ("verl", ["rl.length_cap=1024"]),
    ("verl", ["rl.epochs=1.5"]),
    ("trl", ["rl.max_prompt_length=1"]),
    ("trl", ["a mixture of experts"]),
    ("sft", ["sft.max_length=1"]),
]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Converted rows without images, as many as asked for; plan's parts that read no environment."""
    monkeypatch.chdir(tmp_path)
    for module in (easyr1_rules, verl_rules):
        monkeypatch.setattr(module, "_installed", lambda: [])
    monkeypatch.setattr(verl_rules, "_asked", lambda text: [])
    monkeypatch.setattr(machine, "gpus", lambda: [])
    monkeypatch.setenv("RAY_ADDRESS", "local")

    def rows(number: int) -> None:
        path = samples.path_of(Path("data"), "seetrue", "train")
        one = [
            Sample(str(n), "seetrue", "pointwise", ("images/a.png",), {"caption": "a"}, "yes", "train")
            for n in range(number)
        ]
        samples.write(path, one)

    return rows


def findings(name: str, model: str, hardware: str, sets: list[str]) -> list[Check]:
    try:
        found = recipe.load(name, model, hardware, "seetrue", sets)
    except UserError as error:  # a key that this trainer cannot use
        return [Check("error", str(error), error.then)]
    checks: list[Check] = []
    run, data = launches.a_run(found), launches.DATA
    rendered = plan._rendered(found, run, data, launches.rendered(found))
    for part in (lengths.check(found, data), amounts.check(found, data), rendered):
        try:
            checks += part
        except MtrlError as error:
            checks.append(Check("error", str(error), error.then))
    return checks


def ways(check: Check) -> list[list[str]]:
    """The KEY=VALUEs of each alternative of a hint."""
    found = [SET.findall(way) for way in check.then.split(" or ")] if check.level != "ok" else []
    return [[text.rstrip(",").replace("'", "") for text in own] for own in found if own]


def assert_hints_work(name: str, model: str, hardware: str, sets: list[str]) -> int:
    """Each hint makes its finding go away, and following the hints ends where none is left. Returns how many there
    were.
    """
    first, applied = findings(name, model, hardware, sets), 0
    for check in first:
        for own in ways(check):
            applied += 1
            after = findings(name, model, hardware, [*sets, *own])
            left = [
                line for line in after if line.level != "ok" and (line.text == check.text or line.then == check.then)
            ]
            assert left == [], (check, own)
    followed = list(sets)
    for _ in range(8):
        hints = [own for check in findings(name, model, hardware, followed) for own in ways(check)]
        if not hints:
            return applied
        followed += hints[0]
    raise AssertionError(f"the hints go in circles: {followed}")


@pytest.mark.parametrize("rows", [40, 140, 700, 5_544])
@pytest.mark.parametrize("name", ["sft_single", "rl_single"])
def test_hints_of_shipped_recipes_over_small_data(small, name: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lengths, "check", lambda *_: [])  # it reads every row, each time
    small(rows)
    applied = 0
    for hardware in HARDWARE:
        for model in MODELS if rows == 140 else ("tiny", "qwen3-vl-30b-a3b"):
            for trainer in [[], ["backend=verl"]] if name == "rl_single" and hardware != "cpu" else [[]]:
                applied += assert_hints_work(name, model, hardware, trainer)
    assert applied or rows == 5_544


@pytest.mark.parametrize(("trainer", "sets"), MISTAKES, ids=lambda value: str(value)[:60])
def test_hints_of_mistakes(small, trainer: str, sets: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    long = sets[0].endswith("length=1")
    small(60 if long else 5_544)
    if not long:
        monkeypatch.setattr(lengths, "check", lambda *_: [])
    name = "sft_single" if trainer == "sft" else "rl_single"
    presets = ("tiny", "cpu") if trainer == "trl" else ("qwen3-vl-4b", "8x80gb")
    own = ["backend=verl"] if trainer == "verl" else []
    if sets == ["a mixture of experts"]:
        presets, own, sets = ("qwen3-vl-30b-a3b", "8x80gb"), ["backend=trl"], []
    assert assert_hints_work(name, *presets, [*own, *sets]) >= 1
