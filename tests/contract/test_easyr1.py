"""Against the real EasyR1, in its own environment (`make setup-easyr1`): its configuration, dataset, reward manager and
merger.

Run as `.venv/bin/python -m tests.contract.test_easyr1` this writes mtrl/preflight/easyr1_keys.txt anew from EasyR1's
dataclasses. vLLM and flash-attn, which EasyR1 imports and these parts of it never call, are stood in for where they are
not installed.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtrl.backends import checkpoint_folders, easyr1_grpo, envs
from mtrl.backends.envs.tested import TESTED
from mtrl.backends.registry import BACKENDS
from mtrl.config import recipe
from mtrl.core.errors import UserError
from mtrl.core.rundir import Run
from mtrl.preflight import keys
from mtrl.runs import export
from tests.conftest import mtrl
from tests.unit.test_easyr1 import HARDWARE, MODELS, saved

EASYR1 = BACKENDS["easyr1"]

STAND_IN = """
import importlib.machinery, importlib.util, json, sys
from unittest.mock import MagicMock
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in absent:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        module = MagicMock(name=spec.name)
        module.__path__, module.__spec__ = [], spec
        return module
    def exec_module(self, module): pass
absent = [name for name in ("vllm", "flash_attn") if importlib.util.find_spec(name) is None]
sys.meta_path.append(Absent())
"""

KEYS = """
from dataclasses import fields, is_dataclass
from verl.trainer.config import PPOConfig
def walk(part, prefix=""):
    for field in fields(part):
        value = getattr(part, field.name)
        if is_dataclass(value):
            yield from walk(value, prefix + field.name + ".")
        elif field.init:  # the others EasyR1 sets itself, whatever is given
            yield prefix + field.name
result = list(walk(PPOConfig()))
"""

CONFIG = """
from omegaconf import OmegaConf
from verl.trainer.config import PPOConfig
result = {}
for file in sys.argv[1:]:
    try:
        merged = OmegaConf.merge(OmegaConf.structured(PPOConfig()), OmegaConf.load(file))
        config = OmegaConf.to_object(merged)
        config.deep_post_init()
        result[file] = [config.worker.reward.reward_function_name, config.worker.actor.use_kl_loss,
                        config.worker.actor.kl_coef, config.worker.rollout.prompt_length, list(config.trainer.logger)]
    except Exception as error:
        result[file] = f"{type(error).__name__}: {error}"
"""

DATASET = """
from omegaconf import OmegaConf
from verl.trainer.config import PPOConfig
from verl.utils.dataset import RLHFDataset, collate_fn
from verl.utils.tokenizer import get_processor, get_tokenizer
config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(PPOConfig()), OmegaConf.load(sys.argv[1])))
config.deep_post_init()
data, model = config.data, config.worker.actor.model
tokenizer = get_tokenizer(model.tokenizer_path, use_fast=True)
processor = get_processor(model.tokenizer_path, use_fast=True)
result = {}
for split, path in (("train", data.train_files), ("val", data.val_files)):
    rows = RLHFDataset(path, tokenizer, processor, prompt_key=data.prompt_key, answer_key=data.answer_key,
        image_key=data.image_key, max_prompt_length=data.max_prompt_length, truncation="right",
        format_prompt=data.format_prompt, min_pixels=data.min_pixels, max_pixels=data.max_pixels,
        filter_overlong_prompts=data.filter_overlong_prompts, filter_overlong_prompts_workers=None)
    first = [rows[i] for i in range(0, len(rows), max(1, len(rows) // 8))]
    collate_fn(first)
    result[split] = {"rows": len(rows), "answers": [row["ground_truth"] for row in first],
        "ids": [row["id"] for row in first],
        "tokens": [row["input_ids"][row["attention_mask"].bool()].tolist() for row in first]}
"""

REWARD = """
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl.protocol import DataProto
from verl.trainer.config import PPOConfig
from verl.utils.tokenizer import get_tokenizer
from verl.workers.reward import AutoRewardManager
import numpy as np
config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(PPOConfig()), OmegaConf.load(sys.argv[1])))
config.deep_post_init()
tokenizer = get_tokenizer(config.worker.actor.model.tokenizer_path, use_fast=True)
cases = json.loads(sys.argv[2])
ids = [tokenizer.encode(text, add_special_tokens=False) + [tokenizer.eos_token_id] for text, _ in cases]
wide = max(map(len, ids))
responses = torch.tensor([row + [tokenizer.pad_token_id] * (wide - len(row)) for row in ids])
mask = torch.tensor([[1] * len(row) + [0] * (wide - len(row)) for row in ids])
batch = DataProto(batch=TensorDict({"responses": responses, "response_mask": mask}, batch_size=[len(ids)]),
    non_tensor_batch={"ground_truth": np.array([truth for _, truth in cases], dtype=object)})
rewards, metrics = AutoRewardManager(config.worker.reward, tokenizer).compute_reward(batch)
result = {"rewards": rewards.sum(-1).tolist(), "metrics": dict(metrics)}
"""


def in_environment(code: str, *arguments: object) -> Any:
    command = [
        envs.interpreter("easyr1"),
        "-c",
        f'{STAND_IN}{code}\nprint("RESULT" + json.dumps(result))',
        *map(str, arguments),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert "RESULT" in done.stdout, done.stderr[-3000:]
    return json.loads(done.stdout.split("RESULT")[1])


@pytest.fixture(scope="module", autouse=True)
def importable() -> None:
    try:
        easyr1_grpo.source(envs.interpreter("easyr1"))
    except UserError as error:
        pytest.skip(f"EasyR1 is not importable here ({error}); make setup-easyr1 makes it so")


def test_the_key_list_is_its_own() -> None:
    assert in_environment(KEYS) == keys.known("easyr1")


def test_its_parser_takes_every_rendered_recipe(tmp_path: Path) -> None:
    files = {}
    for name in ("rl_multitask", "rl_single"):
        for model in MODELS:
            for hardware in HARDWARE:
                found = recipe.load(name, model, hardware, "seetrue" if name == "rl_single" else None)
                file = tmp_path / f"{name}-{model}-{hardware}.yaml"
                file.write_text(EASYR1.config(found, Run(tmp_path / "run"), Path("data")))
                files[str(file)] = ["compute_score", True, found.rl.kl_coef, found.rl.max_prompt_length, ["file"]]
    typo = tmp_path / "typo.yaml"
    typo.write_text("data: {max_pixel: 3}\n")
    result = in_environment(CONFIG, *files, typo)
    assert len(files) == 2 * len(MODELS) * len(HARDWARE)
    assert {file: result[file] for file in files} == files
    assert "max_pixel" in result[str(typo)]  # and it would have told us


@pytest.fixture(scope="module")
def rendered(converted: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[recipe.Recipe, Run]:
    """The demo's tasks, converted, for EasyR1; in a folder whose own name could be taken for a split."""
    tasks = "tasks=demo_quality,demo_alignment,demo_safety"
    os.environ["MTRL_PYTHON_EASYR1"] = str(envs.interpreter("easyr1"))
    before = Path.cwd()
    os.chdir(converted)
    found = recipe.load("rl_multitask", "tiny", "8x80gb", sets=[tasks, "rl.score_reward=linear"])
    run = Run(tmp_path_factory.mktemp("test") / "rl-test")
    EASYR1.link_inputs(found, run, converted / "data")
    (run.path / "upstream.yaml").write_text(EASYR1.config(found, run, Path("data")))
    os.chdir(before)
    return found, run


def test_its_dataset_reads_our_rows_to_the_token(rendered: tuple[recipe.Recipe, Run], converted: Path) -> None:
    import io

    import pyarrow.parquet as pq
    from PIL import Image
    from transformers import AutoProcessor

    from mtrl.config.prompting import parts

    found, run = rendered
    theirs = in_environment(DATASET, run.path / "upstream.yaml")
    processor = AutoProcessor.from_pretrained(found.model.path, **found.image.model_dump())
    for split in ("train", "val"):
        files = sorted((run.inputs / f"rl_{split}").iterdir())
        rows = {row["id"]: row for file in files for row in pq.read_table(file).to_pylist()}
        assert theirs[split]["rows"] == sum(pq.read_metadata(file).num_rows for file in files)
        assert len(theirs[split]["ids"]) >= 8
        for identifier, answer, tokens in zip(
            *(theirs[split][key] for key in ("ids", "answers", "tokens")), strict=True
        ):
            row = rows[identifier]
            assert answer == row["answer"]
            text = processor.apply_chat_template(
                [{"role": "user", "content": parts(row["problem"])}], add_generation_prompt=True, tokenize=False
            )
            images = [Image.open(io.BytesIO(image["bytes"])).convert("RGB") for image in row["images"]]
            assert tokens == list(processor(text=[text], images=images)["input_ids"][0])


def test_its_reward_manager_scores_by_our_file(rendered: tuple[recipe.Recipe, Run]) -> None:
    _, run = rendered
    truth = {
        label: json.dumps({"task": task, "label": label, "id": "1"})
        for task, label in (("seetrue", "yes"), ("agin_nat", "no"))
    }
    score = json.dumps({"task": "agiqa", "label": "5", "id": "1", "choices": ["1", "2", "3", "4", "5"]})
    cases = [
        ("<think>a</think><answer>yes</answer>", truth["yes"]),
        ("<think>a</think>\n<answer>Yes.</answer>\n", truth["yes"]),
        ("<think>a</think><answer>no</answer>", truth["yes"]),
        ("<think>a</think><answer>no</answer>", truth["no"]),
        ("no", truth["no"]),
        ("<think>a</think><answer>4</answer>", score),
    ]
    result = in_environment(REWARD, run.path / "upstream.yaml", json.dumps(cases))
    assert result["rewards"] == pytest.approx([1.0, 1.0, 0.1, 1.0, 0.0, 0.775])
    assert result["metrics"]["accuracy_seetrue"] == [1.0, 1.0, 0.0]
    assert result["metrics"]["accuracy_agin_nat"] == [1.0, 0.0]
    assert result["metrics"]["accuracy_agiqa"] == [0.0]  # of exact verdicts, also where the reward is linear


SHARDS = """
import sys, torch
import torch.distributed as dist
from pathlib import Path
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from transformers import AutoModelForImageTextToText
source, actor = Path(sys.argv[1]), Path(sys.argv[2]) / "actor"
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
mesh = init_device_mesh("cpu", (world,), mesh_dim_names=("fsdp",))
model = AutoModelForImageTextToText.from_pretrained(source, dtype=torch.float32)
actor.mkdir(parents=True, exist_ok=True)
shards = {name: distribute_tensor(tensor, mesh, [Shard(0)]) for name, tensor in model.state_dict().items()}
for kind, state in (("model", shards), ("optim", {}), ("extra_state", {})):
    torch.save(state, actor / f"{kind}_world_size_{world}_rank_{rank}.pt")
dist.barrier()
if rank == 0:
    model.config.save_pretrained(actor / "huggingface")
    torch.save({}, actor.parent / "dataloader.pt")
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[recipe.Recipe, Path]:
    """The tiny mixture of experts in the shards of two ranks, as FSDP saves them, exported; and the checkpoint left as
    it was.
    """
    home = tmp_path_factory.mktemp("shards")
    python = os.environ["MTRL_PYTHON_EASYR1"] = str(envs.interpreter("easyr1"))
    found, run = recipe.load("rl_multitask", "tiny", "8x80gb"), Run(home / "runs" / "r")
    run.claim(found.model_dump(mode="json", exclude_none=True), {})
    (run.path / "env.json").write_text('{"packages": {}}')
    (home / "shards.py").write_text(SHARDS)
    step = run.checkpoints / "global_step_5"
    launcher = [python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", home / "shards.py"]
    done = subprocess.run([*launcher, found.model.path, step], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(checkpoint_folders.steps(run)) == [5]
    before = sorted(path.name for path in step.rglob("*"))
    run.set("done")
    card = export.export(run, "last", home / "out")
    assert card["step"] == 5 and not list(home.glob(".out.*"))
    assert sorted(path.name for path in step.rglob("*")) == before
    return found, home / "out"


def test_its_merger_makes_what_export_writes(exported: tuple[recipe.Recipe, Path]) -> None:
    """The shards come out as the base model's tensors, in bf16."""
    import torch
    from safetensors import safe_open

    def tensors(folder: Path) -> dict[str, torch.Tensor]:
        opened = [safe_open(file, "pt") for file in folder.glob("*.safetensors")]
        return {name: file.get_tensor(name) for file in opened for name in file.keys()}  # noqa: SIM118

    base, ours = tensors(Path(exported[0].model.path)), tensors(exported[1])
    assert set(base) == set(ours)
    assert all(torch.equal(base[name].bfloat16(), ours[name]) for name in base)


def test_vllm_answers_from_what_it_merged(
    exported: tuple[recipe.Recipe, Path], converted: Path, tmp_path: Path
) -> None:
    """A judge, not only tensors: of 40 questions most are right and in form, as of the model that was sharded."""
    arguments = [
        "--tasks",
        "demo_quality,demo_safety",
        "--limit",
        "20",
        "--data",
        converted / "data",
        "--out",
        tmp_path / "e",
    ]
    done = mtrl("eval", "--ckpt", exported[1], *arguments, cwd=converted)
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in (tmp_path / "e" / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 40 and sum(row["verdict"] in ("yes", "no") for row in rows) >= 36
    assert sum(row["correct"] for row in rows) >= 24


LOGGING = """
from pathlib import Path
from verl.utils.checkpoint.checkpoint_manager import find_latest_ckpt
from verl.utils.logger.logger import FileLogger
folder = sys.argv[1]
logger = FileLogger({"trainer": {"save_checkpoint_path": folder}})
for step, accuracy in json.loads(sys.argv[2]):
    logger.log({"reward/overall": 0.5, "timing_s/step": 1.0, "val/reward_score": 0.9, "val/accuracy_reward": accuracy,
                "val/accuracy_seetrue_reward": accuracy}, step)
result = find_latest_ckpt(folder)[0]
"""


def test_its_logger_and_its_resuming_are_what_we_take_them_for(tmp_path: Path) -> None:
    """Two attempts by its own logger, which empties its log at each start; and where its own code would resume."""
    run = Run(tmp_path / "run")
    saved(run, 5), saved(run, 10)
    assert in_environment(LOGGING, run.checkpoints, "[[5, 0.5], [10, 0.6]]") is None  # no tracker: it would start anew
    EASYR1.begin(run)
    assert in_environment(LOGGING, run.checkpoints, "[[15, 0.7]]") == str(run.checkpoints / "global_step_10")
    rows = EASYR1.metrics(run)
    assert [(row["step"], row["eval_accuracy"]) for row in rows] == [(5, 0.5), (10, 0.6), (15, 0.7)]
    assert rows[0]["eval_accuracy_seetrue"] == 0.5 and rows[0]["timing_s/step"] == 1.0


if __name__ == "__main__":
    head = (
        f"# EasyR1's configuration keys at {TESTED['easyr1'].commit[:7]}, written by python -m "
        "tests.contract.test_easyr1\n"
    )
    keys.file("easyr1").write_text(head + "".join(f"{key}\n" for key in in_environment(KEYS)))
    print(yaml.safe_dump({"written": str(keys.file("easyr1"))}))
