"""Against the real TRL: GRPOConfig takes every rendered configuration, and our rows are what GRPOTrainer wants."""

from __future__ import annotations

import inspect
import os
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from mtrl.backends import rendering, trl_grpo
from mtrl.backends.jobs import grpo
from mtrl.backends.registry import BACKENDS
from mtrl.config import recipe
from mtrl.core.errors import UserError
from mtrl.core.rundir import Run
from mtrl.preflight import keys
from tests.conftest import ROOT
from tests.unit.test_recipe import MODELS

TRL = BACKENDS["trl"]


def taken() -> list[str]:
    from trl import GRPOConfig

    return sorted(field.name for field in fields(GRPOConfig) if field.init)


def test_the_key_list_is_its_own() -> None:
    assert taken() == keys.known("trl")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["rl_multitask", "rl_single"])
def test_grpo_config_takes_it(name: str, model: str, tmp_path: Path) -> None:
    from trl import GRPOConfig

    found = recipe.load(name, model, "cpu", "seetrue" if name == "rl_single" else None)
    config = yaml.safe_load(TRL.config(found, Run(tmp_path / "run"), tmp_path))
    arguments = GRPOConfig(**config["grpo"])
    assert arguments.num_generations == found.rl.n
    assert arguments.generation_batch_size == found.rl.rollout_batch_size * found.rl.n
    assert (arguments.beta, arguments.epsilon_high) == (found.rl.kl_coef, found.rl.clip_high)


@pytest.mark.parametrize("model", ["qwen3-vl-2b", "qwen3-vl-4b", "qwen3-vl-8b"])
def test_adapters_and_rollouts_by_vllm_on_a_gpu(model: str, tmp_path: Path) -> None:
    """GRPOConfig takes it, told that this machine has no GPU: bf16 is checked against the device when it is made."""
    from peft import LoraConfig
    from trl import GRPOConfig

    found = recipe.load("rl_multitask", model, "1x80gb-lora", sets=["backend=trl"])
    config = yaml.safe_load(TRL.config(found, Run(tmp_path / "run"), tmp_path))
    arguments = GRPOConfig(**{**config["grpo"], "use_cpu": True})
    assert (arguments.use_vllm, arguments.vllm_mode, arguments.vllm_enable_sleep_mode) == (True, "colocate", True)
    assert arguments.generation_batch_size == found.rl.rollout_batch_size * found.rl.n
    assert arguments.vllm_importance_sampling_correction  # without it TRL does not log the gap to vLLM
    adapters = LoraConfig(task_type="CAUSAL_LM", **config["lora"])
    assert (adapters.r, adapters.target_modules, config["dtype"]) == (64, "all-linear", "bfloat16")


def test_the_names_that_we_read_are_its_own() -> None:
    """Of what TRL logs with rollouts by vLLM alone, which a CPU cannot run."""
    from trl import GRPOTrainer

    for name in trl_grpo.OURS:
        assert f'"{name}"' in inspect.getsource(GRPOTrainer)


def test_weights_that_are_trained_whole_are_fp32(tmp_path: Path) -> None:
    found = recipe.load("rl_multitask", "qwen3-vl-2b", "8x80gb", sets=["backend=trl"])
    config = yaml.safe_load(TRL.config(found, Run(tmp_path / "run"), tmp_path))
    assert (config["dtype"], config["grpo"]["bf16"], "lora" in config) == ("float32", True, False)


def test_a_mixture_that_no_preset_declares_is_stopped_by_the_job(tmp_path: Path) -> None:
    model = ROOT / "recipes" / "models" / "tiny"
    grpo_keys = {"output_dir": str(tmp_path / "out"), "use_cpu": True, "bf16": False, "use_vllm": True}
    text = yaml.safe_dump({"model": str(model), "dtype": "float32", "grpo": grpo_keys})
    (tmp_path / "upstream.yaml").write_text(text)
    with pytest.raises(SystemExit, match="mixture of experts"):
        grpo.main(str(tmp_path / "upstream.yaml"))


def test_a_mixture_of_experts_on_a_gpu_is_an_error(tmp_path: Path) -> None:
    found = recipe.load("rl_multitask", "qwen3-vl-30b-a3b", "1x80gb-lora", sets=["backend=trl"])
    with pytest.raises(UserError, match="mixture of experts"):
        TRL.config(found, Run(tmp_path / "run"), tmp_path)


def test_validation_samples_by_the_rule_of_all_trainers(
    converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step of the job itself; TRL's own generation says with what it samples."""
    from trl import GRPOTrainer
    from trl.generation.vllm_generation import VLLMGeneration

    found = recipe.load("rl_multitask", "tiny", "cpu", sets=["tasks=demo_quality", "upstream.grpo.max_steps=1"])
    run, seen = Run(tmp_path / "run"), []
    TRL.link_inputs(found, run, converted / "data")
    config = yaml.safe_load(TRL.config(found, run, tmp_path))
    config["grpo"] |= {"eval_steps": 1, "save_strategy": "no", "max_completion_length": 4}
    (tmp_path / "upstream.yaml").write_text(yaml.safe_dump(config))
    generate = GRPOTrainer._generate_single_turn

    def watched(self, *arguments):
        sampler = self.generation_config
        seen.append(("train" if self.model.training else "eval", sampler.temperature, sampler.top_p))
        return generate(self, *arguments)

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", watched)
    grpo.main(str(tmp_path / "upstream.yaml"))
    assert set(seen) == {("train", found.rl.temperature, found.rl.top_p), ("eval", *rendering.VALIDATION.values())}
    assert rendering.VALIDATION.keys() <= inspect.signature(VLLMGeneration).parameters.keys()  # where vLLM samples


def test_rows_keep_the_place_of_the_image(converted: Path, tmp_path: Path) -> None:
    os.symlink(converted / "data/demo_alignment/rl_val.parquet", tmp_path / "demo_alignment.parquet")
    rows = grpo.dataset(tmp_path)
    assert len(rows) == 100 and set(rows.column_names) == {"prompt", "images", "answer", "id", "task"}
    content = rows[0]["prompt"][0]["content"]
    assert [part["type"] for part in content] == ["text", "image", "text"]
    assert rows[0]["images"][0].size == (64, 64)


def test_an_image_is_not_rotated_by_its_exif(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    rotated = Image.Exif()
    rotated[274] = 6  # orientation: rotated by 90 degrees
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=rotated)
    image = {"bytes": (tmp_path / "a.jpg").read_bytes(), "path": "a.jpg"}
    row = {"problem": "<image>?", "answer": "{}", "images": [image], "id": "1", "task": "t"}
    (tmp_path / "rows").mkdir()
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "rows/t.parquet")
    assert grpo.dataset(tmp_path / "rows")[0]["images"][0].size == (40, 20)


def test_the_reward_file_is_loaded_by_its_path() -> None:
    from mtrl.reward_plugins import judge

    reward = grpo.reward_function(judge.__file__, format_weight=0.5)
    truth = '{"task": "t", "label": "yes", "id": "1"}'
    wrong = "<think>a</think><answer>no</answer>"
    assert reward(
        prompts=[""], completions=[wrong], completion_ids=[[1]], answer=[truth], task=["t"], images=[None]
    ) == [0.5]


if __name__ == "__main__":
    from mtrl.backends.envs.tested import TESTED

    head = f"# GRPOConfig's keys in TRL {TESTED['trl'].version}, written by python -m tests.contract.test_trl\n"
    keys.file("trl").write_text(head + "".join(f"{key}\n" for key in taken()))
