"""Wrong inputs of `mtrl plan`, `mtrl sft` and `mtrl rl` on GPUs and clusters: each is one line that names the values
and what to change.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mtrl.config import recipe
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import UserError
from mtrl.core.files import write_json, write_text
from mtrl.core.finding import Check
from mtrl.preflight import slurm, times
from tests.unit import launches

TASKS = ["--set", "tasks=demo_quality,demo_safety"]


def loaded(*sets: str, stage: str = "rl_multitask", model: str = "qwen3-vl-4b", hardware: str = "8x80gb") -> Recipe:
    return recipe.load(stage, model, hardware, sets=["tasks=demo_quality,demo_safety", *sets])


def test_an_unknown_gpu(cli, project: Path) -> None:
    done = cli("plan", "rl_multitask", "--model", "qwen3-vl-4b", *TASKS, "--set", "hardware.gpu=h101", "--elsewhere")
    assert done.code == 2
    (line,) = [line for line in done.out.splitlines() if line.startswith("error")]
    assert "'h101'" in line and "known: rtx4090" in line and "Did you mean 'h100'?" in line, line


@pytest.mark.parametrize("price", ["much", "2,50", "nan", "inf", "-inf", "1e999", "-1", ""])
def test_a_price_that_is_no_number(cli, project: Path, price: str) -> None:
    done = cli("plan", "rl_multitask", "--model", "qwen3-vl-4b", *TASKS, "--elsewhere", f"--price={price}")
    assert done.code == 2 and "--price" in done.err and "per GPU-hour" not in done.out, done.out + done.err


@pytest.mark.parametrize(("trainer", "folder", "whose"), [
    ("trl", "global_step_5", "EasyR1 or verl"),
    ("easyr1", "checkpoint-5", "LLaMA-Factory or TRL"),
    ("llamafactory", "global_step_5", "EasyR1 or verl"),
])  # fmt: skip
def test_checkpoints_of_two_trainers(project: Path, trainer: str, folder: str, whose: str) -> None:
    """Their steps would be counted as this run's: the newest of all would be resumed, selected and exported."""
    sets, stage = ([], "sft_unified") if trainer == "llamafactory" else ([f"backend={trainer}"], "rl_multitask")
    found = loaded(*sets, stage=stage, hardware="1x80gb-lora")
    run = launches.a_run(found)
    assert not any("was saved by" in error for error in launches.errors(launches.preflight(found)))
    write_json(run.checkpoints / folder / "trainer_state.json", {})
    write_text(run.checkpoints / folder / "model.safetensors", "")
    (error,) = [check for check in launches.preflight(found) if "was saved by" in check.text]
    assert error.level == "error" and f"{folder} was saved by {whose}" in error.text
    assert error.text.endswith(f"run {run.name} is trained by {trainer}") and "--name" in error.then


def test_adapters_by_megatron(project: Path) -> None:
    """verl trains adapters by FSDP, which does not share experts over GPUs: not asked for, it is not said."""
    of = {"model": "qwen3-vl-30b-a3b", "hardware": "8x80gb-lora"}
    with pytest.raises(UserError, match=r"model\.expert_parallel_size: hardware 8x80gb-lora has lora") as error:
        loaded("backend=verl", "model.expert_parallel_size=4", **of)
    assert "hardware.lora=null" in error.value.then
    assert loaded("backend=verl", "hardware.lora=null", "model.expert_parallel_size=4", **of).hardware.lora is None
    with_fsdp, with_megatron = (
        times.of(loaded("backend=verl", *more, **of), Path("data")) for more in ([], ["hardware.lora=null"])
    )
    assert with_fsdp and with_megatron and with_fsdp.step.update > 2 * with_megatron.step.update


def test_adapters_of_a_mixture_by_trl(cli, project: Path) -> None:
    arguments = ["rl_multitask", "--model", "qwen3-vl-30b-a3b", "--hardware", "8x80gb-lora", "--set", "backend=trl"]
    done = cli("plan", *arguments, *TASKS, "--elsewhere")
    assert done.code == 2 and "mixture of experts" in done.out and "--set backend=easyr1" in done.err


def in_a_job(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in {"SLURM_JOB_ID": "7", **variables}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("variables", "level", "words", "then"), [
    ({"SLURM_NNODES": "1"}, "error", "SLURM_NNODES is 1, and hardware 16x80gb has nodes 2",
     "sbatch --nodes=2, or --set hardware.nodes=1"),
    ({"SLURM_NNODES": "4"}, "warning", "SLURM_NNODES is 4, and hardware 16x80gb has nodes 2: the rest is not used",
     "sbatch --nodes=2, or --set hardware.nodes=4"),
    ({"SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "4"}, "error",
     "SLURM_GPUS_ON_NODE is 4, and hardware 16x80gb has gpus_per_node 8",
     "sbatch --gpus-per-node=8, or --set hardware.gpus_per_node=4"),
])  # fmt: skip
def test_a_job_that_is_not_as_the_preset(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], level: str, words: str, then: str
) -> None:
    in_a_job(monkeypatch, **variables)
    assert list(slurm.check(loaded(hardware="16x80gb"))) == [Check(level, words, then)]


def test_a_job_as_the_preset_and_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NNODES", "1")  # left over, outside of a job
    assert not list(slurm.check(loaded(hardware="16x80gb")))
    in_a_job(monkeypatch, SLURM_NNODES="2", SLURM_GPUS_ON_NODE="8")
    assert not list(slurm.check(loaded(hardware="16x80gb")))
    monkeypatch.delenv("SLURM_GPUS_ON_NODE")
    assert not list(slurm.check(loaded(hardware="16x80gb")))


def test_plan_and_launch_say_what_the_job_lacks(cli, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_job(monkeypatch, SLURM_NNODES="1", SLURM_GPUS_ON_NODE="2")
    arguments = ["sft_unified", "--model", "qwen3-vl-4b", "--hardware", "16x80gb", *TASKS]
    for verb in ("plan", "sft"):
        done = cli(verb, *arguments)
        said = done.out + done.err
        assert done.code == 2 and "SLURM_NNODES is 1, and hardware 16x80gb has nodes 2" in said, said
        assert "SLURM_GPUS_ON_NODE is 2, and hardware 16x80gb has gpus_per_node 8" in said
    assert "SLURM" not in cli("plan", *arguments, "--elsewhere").out
