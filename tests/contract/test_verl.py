"""Against the real verl, in its own environment: its configuration, dataset, agent loop, reward manager, logger and
merger.

`make test` builds that environment; without it these tests fail, and say `make setup-verl`. What verl does with a GPU,
which is all of its training, is not run here.
"""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from mtrl.backends import checkpoint_folders, envs, inputs, logs, verl_grpo
from mtrl.backends.jobs import verl_check
from mtrl.backends.registry import BACKENDS
from mtrl.config import recipe
from mtrl.core.files import read_jsonl, write_text
from mtrl.core.rundir import Run
from mtrl.runs import export
from tests.unit import launches
from tests.unit.test_verl import HARDWARE, MODELS, load, saved

VERL = BACKENDS["verl"]

TASKS = "tasks=demo_quality,demo_alignment,demo_safety"

COMPOSED = """
import json, sys
from pathlib import Path
from hydra import compose, initialize_config_dir
with initialize_config_dir(str(Path(sys.argv[1]).parent), version_base=None):
    config = compose("upstream")
"""

ROLLOUT = """
import asyncio
from verl.experimental.agent_loop.agent_loop import DictConfigWrap
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.trainer.ppo.utils import create_rl_dataset
from verl.utils import hf_processor, hf_tokenizer
from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn
from verl.workers.rollout.replica import TokenOutput
model = config.actor_rollout_ref.model.path
tokenizer, processor = hf_tokenizer(model), hf_processor(model)
class Server:  # in the place of vLLM, which wants a GPU: keeps what it is asked, and says nothing but the end
    async def generate(self, prompt_ids, **asked):
        self.prompt_ids = list(prompt_ids)
        return TokenOutput(token_ids=[tokenizer.eos_token_id], log_probs=None)
async def asked(messages):
    server = Server()
    loop = SingleTurnAgentLoop(trainer_config=DictConfigWrap(config), server_manager=server, tokenizer=tokenizer,
        processor=processor, dataset_cls=RLHFDataset, data_config=DictConfigWrap(config.data),
        hf_model_type=json.loads(Path(model, "config.json").read_text())["model_type"])
    await loop.run({}, raw_prompt=messages)
    return server.prompt_ids
def bare(messages):  # without the budget
    without = lambda part: {k: v for k, v in part.items() if not k.endswith("_pixels")}
    return [{**m, "content": [without(part) for part in m["content"]]} for m in messages]
async def rollouts():
    for split in ("train", "val"):
        rows = create_rl_dataset(config.data[f"{split}_files"], config.data, tokenizer, processor)
        data[split] = {"rows": len(rows), "seen": [], "bare": []}
        first = [rows[i] for i in [*range(0, len(rows), len(rows) // 8), *range(len(rows) - 4, len(rows))]]
        for row in first:
            ids = await asked(row["raw_prompt"])
            truth = row["reward_model"]["ground_truth"]
            data[split]["seen"].append([row["data_source"], row["extra_info"]["id"], truth, ids])
            if row["data_source"] == "odd":
                data[split]["bare"].append(len(await asked(bare(row["raw_prompt"]))))
        collate_fn(first)
data = {}
asyncio.run(rollouts())
"""

REWARD = """
import asyncio, os
import numpy as np, torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl import DataProto
from verl.trainer.ppo.metric_utils import process_validation_metrics
from verl.trainer.ppo.reward import load_reward_manager
from verl.trainer.ppo.v1.trainer_base import PPOTrainer
from verl.utils.tracking import Tracking
async def scored():
    manager, out = load_reward_manager(config, tokenizer), []
    for source, text, truth in cases:
        ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False) + [tokenizer.eos_token_id]])
        padded = torch.nn.functional.pad(ids, (0, 3), value=tokenizer.pad_token_id)
        mask = torch.nn.functional.pad(torch.ones_like(ids), (0, 3))
        batch = TensorDict({"responses": padded, "attention_mask": mask}, batch_size=[1])
        row = DataProto(batch=batch, non_tensor_batch={
            "data_source": np.array([source], dtype=object),
            "reward_model": np.array([{"style": "rule", "ground_truth": truth}], dtype=object),
            "extra_info": np.array([{"index": 0}], dtype=object)})
        out.append(await manager.run_single(row))
    return out
cases = json.loads(sys.argv[2])
rows = asyncio.run(scored())
infos = {"reward": [row["reward_score"] for row in rows]}
for key in rows[0]["reward_extra_info"]:
    infos[key] = [row["reward_extra_info"][key] for row in rows]
uids = [str(i) for i in range(len(rows))]
expected = {(case[0], uid): 1 for case, uid in zip(cases, uids)} | {("demo_safety", "lost"): 1}
metrics = PPOTrainer._val_metrics_update(None, [case[0] for case in cases], uids, infos, [2] * len(rows), expected)
os.environ.update(OmegaConf.to_container(config.ray_kwargs.ray_init.runtime_env.env_vars))  # as Ray does for its actors
log = Tracking(config.trainer.project_name, config.trainer.experiment_name, list(config.trainer.logger))
log.log(metrics, 0)
from verl.utils.debug.metrics import calculate_debug_metrics
tokens = {"responses": torch.zeros(1, 4), "response_mask": torch.tensor([[1, 1, 1, 0]]),
    "rollout_log_probs": torch.tensor([[0.9, 0.2, 0.5, 1.0]]).log(),
    "old_log_probs": torch.tensor([[0.8, 0.3, 0.5, 0.1]]).log()}
metrics |= calculate_debug_metrics(DataProto(batch=TensorDict(tokens, batch_size=[1])))
log.log({"critic/score/mean": np.float32(0.5), "actor/kl_loss": float("nan"), **metrics}, 5)
log.finish()
from verl.utils.checkpoint.checkpoint_manager import find_latest_ckpt_path
result = {"data": data, "scored": rows, "resumes": find_latest_ckpt_path(sys.argv[3])}
"""

SHARDS = """
import sys, torch
import torch.distributed as dist
from omegaconf import OmegaConf
from pathlib import Path
from peft import LoraConfig, get_peft_model
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForImageTextToText
from verl.utils import hf_processor
from verl.utils.checkpoint.fsdp_checkpoint_manager import FSDPCheckpointManager
source, checkpoints = Path(sys.argv[1]), Path(sys.argv[2])
dist.init_process_group("gloo")
contents = ["model", "optimizer", "extra"]
for step in (5, 10):
    model = AutoModelForImageTextToText.from_pretrained(source, dtype=torch.float32)
    if step == 10:
        torch.manual_seed(0)
        model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear",
            exclude_modules=".*visual.*", init_lora_weights=False, task_type="CAUSAL_LM"))
    fully_shard(model, mesh=init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=("fsdp",)))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    config = OmegaConf.create({"save_contents": contents, "load_contents": contents, "async_save": False})
    manager = FSDPCheckpointManager(model, optimizer, scheduler, hf_processor(str(source)), checkpoint_config=config)
    manager.save_checkpoint(str(checkpoints / f"global_step_{step}" / "actor"), global_step=step)
    if dist.get_rank() == 0:
        torch.save({}, checkpoints / f"global_step_{step}" / "data.pt")
"""


def python() -> Path:
    return envs.interpreter("verl")  # its error says how it is built


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def test_its_own_check_takes_every_rendered_recipe(tmp_path: Path) -> None:
    """Every RL recipe x GPU preset, the one with every model as rendered; the other, which differs in its tasks alone,
    by FSDP and by Megatron and with fixed micro-batches, whose sizes verl checks more closely.
    """
    files, engines = [], {}
    for name, models in (("rl_multitask", MODELS), ("rl_single", ("qwen3-vl-8b", "qwen3-vl-30b-a3b"))):
        for model in models:
            for hardware in HARDWARE:
                file = tmp_path / f"{name}-{model}-{hardware}.yaml"
                sets = ["upstream.actor_rollout_ref.actor.use_dynamic_bsz=false"] if name == "rl_single" else []
                write_text(file, VERL.config(load(name, model, hardware, sets), Run(tmp_path / "run"), Path("data")))
                files.append(file)
                engines[file.name] = "megatron" if model == "qwen3-vl-30b-a3b" and "lora" not in hardware else "dp"
    assert len(files) == (7 + 2) * 5
    for value in ("trainer", "rollout"):
        file = tmp_path / f"replay-{value}.yaml"
        found = load("rl_multitask", "qwen3-vl-30b-a3b", "8x80gb", [f"rl.router_replay={value}"])
        write_text(file, VERL.config(found, Run(tmp_path / "run"), Path("data")))
        files.append(file)
        engines[file.name] = "megatron"
    replays = (tmp_path / "replay-trainer.yaml").read_text()
    text = files[0].read_text()
    wrong = {
        "key.yaml": text.replace("image_patch_size", "image_patchsize"),
        "size.yaml": text.replace("ppo_mini_batch_size: 256", "ppo_mini_batch_size: 1024").replace(
            "use_dynamic_bsz: true", "use_dynamic_bsz: false"
        ),
        "kind.yaml": text.replace("loss_agg_mode: token-mean", "loss_agg_mode: tokenmean"),
        "mode.yaml": replays.replace("mode: R2", "mode: R4"),
        "bypass.yaml": replays.replace("adv_estimator:", "rollout_correction: {bypass_mode: true}\n  adv_estimator:"),
    }
    for other, content in wrong.items():
        assert content not in (text, replays)
        write_text(tmp_path / other, content)
    command = [python(), verl_check.__file__, *files, *(tmp_path / other for other in wrong)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    said = {Path(file).name: verdict for file, verdict in json.loads(done.stdout).items()}
    for file in files:
        assert said[file.name] == {"unknown": [], "error": "", "engine": engines[file.name]}, file.name
    assert said["key.yaml"]["unknown"] == ["data.image_patchsize"] and not said["key.yaml"]["error"]
    assert said["key.yaml"]["near"] == {"data.image_patchsize": "image_patch_size"}
    assert "train_batch_size (512) must be >=" in said["size.yaml"]["error"]
    assert "tokenmean" in said["kind.yaml"]["error"]
    assert "Invalid router_replay mode: R4" in said["mode.yaml"]["error"]
    assert "router_replay.mode='R2' requires" in said["bypass.yaml"]["error"]


def test_plan_says_what_verl_says(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(converted)
    found = recipe.load("rl_multitask", "tiny", "8x80gb", sets=[TASKS, "backend=verl", "upstream.data.max_pixel=3"])
    texts = launches.errors(launches.preflight(found))
    assert "verl has no key 'data.max_pixel', and would pass over it silently." in texts
    assert [text for text in texts if "needs 8 GPUs" not in text and "max_pixel" not in text] == []


# at tiny's budget the first three end elsewhere if they are resized twice
SIZES = [(810, 270), (1000, 333), (530, 410), (20, 30)]


@pytest.fixture(scope="module")
def rendered(converted: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[recipe.Recipe, Run]:
    """The demo's tasks, and one of odd images, two per row, as pairs have them."""
    data = tmp_path_factory.mktemp("verl") / "data"
    data.mkdir()
    for task in TASKS.removeprefix("tasks=").split(","):
        (data / task).symlink_to(converted / "data" / task)
    rows = []
    for number, size in enumerate(SIZES):
        files = []
        for turned in (size, size[::-1]):
            Image.effect_noise(turned, 90).convert("RGB").save(file := io.BytesIO(), "PNG")
            files.append({"bytes": file.getvalue(), "path": "x.png"})
        truth = json.dumps({"task": "odd", "label": "1", "id": str(number)})
        rows.append(
            {"problem": "A <image> or B <image>?", "answer": truth, "images": files, "id": str(number), "task": "odd"}
        )
    (data / "odd").mkdir()
    for split in ("train", "val"):
        pq.write_table(pa.Table.from_pylist(rows), data / "odd" / f"rl_{split}.parquet")
    found = load("rl_multitask", "tiny", "8x80gb", [f"{TASKS},odd", "rl.score_reward=linear"])
    run = Run(data.parent / "run")
    VERL.link_inputs(found, run, data)
    write_text(run.path / "upstream.yaml", VERL.config(found, run, Path("data")))
    return found, run


def test_main_reads_the_file_that_is_written(rendered: tuple[recipe.Recipe, Run]) -> None:
    """verl's own entry point, by the command that would train, told to print its configuration in place of it."""
    found, run = rendered
    job = VERL.job(found, run)
    command = [*job.command, "--cfg", "job"]
    done = subprocess.run(
        command, env={**os.environ, **job.env}, cwd=run.path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    config = yaml.safe_load(done.stdout)
    assert config["reward"]["custom_reward_function"]["name"] == "verl_score"
    assert config["data"]["image_patch_size"] == 16 and config["actor_rollout_ref"]["actor"]["strategy"] == "fsdp"
    assert config["trainer"]["total_training_steps"] is None  # a key of verl's own
    assert sorted(path.name for path in run.path.iterdir()) == [
        "inputs",
        "upstream.yaml",
    ]  # hydra leaves nothing behind


CASES = [
    ("demo_quality", "<think>a</think><answer>yes</answer>", "yes"),
    ("demo_quality", "<think>a</think>\n<answer>Yes.</answer>\n", "yes"),
    ("demo_safety", "<think>a</think><answer>no</answer>", "yes"),
    ("demo_safety", "<think>a</think><answer>no</answer>", "no"),
    ("demo_safety", "no", "no"),
    ("demo_quality", "<think>a</think><answer>4</answer>", "5"),  # of a score from 1 to 5, rewarded linearly
]


@pytest.fixture(scope="module")
def answers(rendered: tuple[recipe.Recipe, Run], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All that verl's own parts say, of one process: importing them takes longer than they do."""
    run, other = rendered[1], Run(tmp_path_factory.mktemp("resumed") / "run")
    saved(other, 5), saved(other, 10), saved(other, 15, torn="data.pt")
    write_text(other.checkpoints / verl_grpo.TRACKER, "15")
    assert checkpoint_folders.set_aside_incomplete(other) == ["global_step_15"]
    VERL.begin(other)
    choices = {"5": ["1", "2", "3", "4", "5"]}
    cases = [
        (task, text, json.dumps({"task": task, "label": label, "id": "1", "choices": choices.get(label)}))
        for task, text, label in CASES
    ]
    code = COMPOSED + ROLLOUT + REWARD
    command = [
        python(),
        "-c",
        f'{code}\nprint("RESULT" + json.dumps(result))',
        run.path / "upstream.yaml",
        json.dumps(cases),
        other.checkpoints,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=ENVIRONMENT)
    assert "RESULT" in done.stdout, done.stderr[-3000:]
    return json.loads(done.stdout.split("RESULT")[1])


def test_its_rollouts_ask_our_rows_to_the_token(rendered: tuple[recipe.Recipe, Run], answers: Any) -> None:
    """Its dataset, then its agent loop up to vLLM: qwen-vl-utils' resize and the processor's, against one resize by the
    budget.
    """
    from transformers import AutoProcessor

    from mtrl.config.prompting import parts

    found, run = rendered
    theirs = answers["data"]
    processor = AutoProcessor.from_pretrained(found.model.path, **found.image.model_dump())
    odd = 0
    for split in ("train", "val"):
        files = sorted((run.inputs / f"verl_{split}").iterdir())
        assert [file.stem for file in files] == sorted(found.tasks)
        rows = {
            (row["data_source"], row["extra_info"]["id"]): row
            for file in files
            for row in pq.read_table(file).to_pylist()
        }
        assert theirs[split]["rows"] == len(rows) == sum(inputs.verl_counts(run.inputs, split).values())
        assert len(theirs[split]["seen"]) >= 8
        for source, identifier, answer, tokens in theirs[split]["seen"]:
            row = rows[source, identifier]
            assert answer == row["reward_model"]["ground_truth"]
            content = parts(row["prompt"][0]["content"])
            chat = [{"role": "user", "content": content}]
            text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
            images = [Image.open(io.BytesIO(image["bytes"])).convert("RGB") for image in row["images"]]
            assert tokens == list(processor(text=[text], images=images)["input_ids"][0]), (source, identifier)
            odd += source == "odd"
    assert odd == 2 * len(SIZES)
    with_budget = [len(tokens) for source, _, _, tokens in theirs["val"]["seen"] if source == "odd"]
    differences = [a - b for a, b in zip(with_budget, theirs["val"]["bare"], strict=True)]
    assert differences == [2 * (52 - 56), 2 * (52 - 56), 2 * (63 - 54), 0]  # two images per row


def test_its_reward_manager_and_its_log_are_what_we_take_them_for(
    rendered: tuple[recipe.Recipe, Run], answers: Any
) -> None:
    """Scores by our file; then verl's own validation metrics of them, through its file logger, read back as ours."""
    run, scored = rendered[1], answers["scored"]
    assert [row["reward_score"] for row in scored] == pytest.approx([1.0, 1.0, 0.1, 1.0, 0.0, 0.775])
    assert scored[4]["reward_extra_info"] == {"score": 0.0, "acc": 0.0, "format": 0.0, "invalid": 1.0, "yes_rate": 0.0}
    first, second = VERL.metrics(run)
    assert first["eval_accuracy_demo_quality"] == pytest.approx(2 / 3)  # of exact verdicts
    assert first["eval_accuracy_demo_safety"] == 0.25  # of three answers and one that was lost
    assert first["eval_format_demo_safety"] == pytest.approx(2 / 3) and first["eval_accuracy"] == pytest.approx(
        (2 / 3 + 0.25) / 2
    )
    assert (second["step"], second["reward"]) == (5, 0.5)
    assert second["eval_reward_demo_quality"] == pytest.approx((1 + 1 + 0.775) / 3)
    assert math.isnan(second["kl"])
    gap = logs.gap([first, second])
    assert gap is not None and (gap.step, gap.log_probability) == (5, None)
    assert gap.probability == pytest.approx(0.2 / 3)  # of the three tokens of the answer
    assert gap.correlation == pytest.approx(np.corrcoef([0.9, 0.2, 0.5], [0.8, 0.3, 0.5])[0, 1])
    VERL.begin(run)
    assert len(list(read_jsonl(run.path / "attempts" / "001" / verl_grpo.LOG))) == 2 and len(VERL.metrics(run)) == 2


def test_it_resumes_from_the_newest_complete_checkpoint(answers: Any) -> None:
    assert answers["resumes"].endswith("checkpoints/global_step_10")


def test_its_merger_makes_what_export_writes(tmp_path: Path) -> None:
    """Two ranks' shards, written by verl's own checkpoint manager over FSDP2 on the CPU: step 5 of a model, step 10
    with adapters.
    """
    import torch
    from safetensors import safe_open

    found, run = load("rl_multitask", "tiny", "8x80gb"), Run(tmp_path / "runs" / "r")
    run.claim(found.model_dump(mode="json", exclude_none=True), {})
    (run.path / "env.json").write_text('{"packages": {}}')
    (tmp_path / "shards.py").write_text(SHARDS)
    launcher = [
        python(),
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        tmp_path / "shards.py",
    ]
    command = [*launcher, found.model.path, run.checkpoints]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(checkpoint_folders.steps(run)) == [5, 10]
    before = sorted(path.name for path in run.checkpoints.rglob("*"))
    run.set("done")
    for step in (5, 10):
        assert export.export(run, str(step), tmp_path / f"out-{step}")["step"] == step
    assert not list(tmp_path.glob(".out*")) and sorted(path.name for path in run.checkpoints.rglob("*")) == before

    def tensors(folder: Path) -> dict[str, torch.Tensor]:
        opened = [safe_open(file, "pt") for file in folder.glob("*.safetensors")]
        return {name: file.get_tensor(name) for file in opened for name in file.keys()}  # noqa: SIM118

    base = tensors(Path(found.model.path))
    for step in (5, 10):
        ours = tensors(tmp_path / f"out-{step}")
        assert set(base) == set(ours)
        changed = {name for name in base if not torch.equal(base[name].bfloat16(), ours[name].bfloat16())}
        assert bool(changed) == (step == 10) and not any("visual" in name for name in changed)
