"""verl without verl: what is rendered, what is refused before a start, and what is made of the folders and logs it
writes.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from mtrl.backends import checkpoint_folders, inputs, registry, row_plan, verl_grpo
from mtrl.backends.base import Job
from mtrl.backends.registry import BACKENDS
from mtrl.config import recipe
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import parse_yaml, write_json, write_text
from mtrl.core.rundir import Run
from mtrl.preflight import verl_rules
from mtrl.reward_plugins import judge
from mtrl.runs import export, launch, steps
from tests.unit import launches, test_easyr1
from tests.unit.test_easyr1 import HARDWARE, MODELS

EASYR1, VERL = BACKENDS["easyr1"], BACKENDS["verl"]


def load(name: str, model: str, hardware: str, sets: list[str] | None = None) -> recipe.Recipe:
    task = "seetrue" if name == "rl_single" else None
    return recipe.load(name, model, hardware, task, ["backend=verl", *(sets or [])])


def rendered(model: str = "qwen3-vl-8b", hardware: str = "8x80gb", sets: list[str] | None = None) -> dict[str, Any]:
    return parse_yaml(
        VERL.config(load("rl_multitask", model, hardware, sets), Run(Path("runs/none")), Path("data")), "test"
    )


@pytest.fixture(autouse=True)
def not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our rules alone: that verl itself is asked, and what it says, is tests/contract/test_verl.py's."""
    monkeypatch.setattr(verl_rules, "_asked", lambda text: iter(()))
    monkeypatch.setattr(verl_rules, "_installed", lambda: iter(()))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_the_papers_run() -> None:
    config = rendered("qwen3-vl-30b-a3b")
    data, part = config["data"], config["actor_rollout_ref"]
    assert (data["train_batch_size"], part["actor"]["ppo_mini_batch_size"], part["rollout"]["n"]) == (512, 256, 20)
    assert (data["max_prompt_length"], data["max_response_length"], data["image_patch_size"]) == (6144, 2048, 16)
    assert part["actor"]["ppo_max_token_len_per_gpu"] == part["rollout"]["max_model_len"] == 8192
    assert (part["actor"]["use_kl_loss"], part["actor"]["kl_loss_coef"], part["actor"]["kl_loss_type"]) == (
        True,
        0.01,
        "low_var_kl",
    )
    assert {"override model_engine": "megatron"} in config["defaults"]
    assert part["actor"]["megatron"]["expert_model_parallel_size"] == part["rollout"]["tensor_model_parallel_size"] == 8
    assert config["reward"]["custom_reward_function"]["name"] == "verl_score"
    assert config["trainer"]["logger"] == ["file"] and config["data"]["filter_overlong_prompts"] is False


def test_dense_models_and_adapters_go_by_fsdp() -> None:
    for model, hardware in (("qwen3-vl-8b", "8x80gb"), ("qwen3-vl-30b-a3b", "1x80gb-lora"), ("tiny", "8x80gb")):
        config = rendered(model, hardware)
        assert {"override model_engine": "megatron"} not in config["defaults"]
        assert config["actor_rollout_ref"]["actor"]["fsdp_config"]["dtype"] == "bfloat16"
    lora = rendered("qwen3-vl-4b", "1x80gb-lora", ["logger=wandb"])
    assert (lora["actor_rollout_ref"]["model"]["lora_rank"], lora["actor_rollout_ref"]["actor"]["optim"]["lr"]) == (
        64,
        1e-5,
    )
    assert lora["actor_rollout_ref"]["rollout"]["load_format"] == "safetensors" and lora["trainer"]["logger"] == [
        "file",
        "wandb",
    ]
    assert rendered("qwen2.5-vl-7b")["data"]["image_patch_size"] == 14
    assert rendered(sets=["rl.kl_coef=0"])["actor_rollout_ref"]["actor"]["use_kl_loss"] is False


@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("model", MODELS)
def test_no_rule_is_broken(model: str, hardware: str) -> None:
    for name in ("rl_multitask", "rl_single"):
        found = load(name, model, hardware)
        assert launches.errors(launches.rules(found)) == []


@pytest.mark.parametrize(
    ("sets", "words", "then"),
    [
        (
            ["upstream.trainer.n_gpus_per_node=7"],
            "7 replicas cannot share rl.batch_size 256 x rl.n 20 answers",
            "--set rl.batch_size=259 --set rl.rollout_batch_size=518",
        ),
        (["hardware.gpus_per_node=0"], "verl needs GPUs", "--hardware 8x80gb"),
        (
            ["upstream.data.train_batch_size=500"],
            "500 is not a multiple of rl.batch_size 256",
            "--set upstream.data.train_batch_size=512",
        ),
        (["upstream.actor_rollout_ref.rollout.n=1"], "rl.n is 1", "--set upstream.actor_rollout_ref.rollout.n=2"),
        (
            ["upstream.actor_rollout_ref.actor.ulysses_sequence_parallel_size=3"],
            "does not divide 8 GPUs",
            "parallel_size=2",
        ),
        (
            ["upstream.actor_rollout_ref.actor.ppo_max_token_len_per_gpu=4096"],
            "8192 tokens, and actor_rollout_ref.actor.ppo_max_token_len_per_gpu is 4096",
            "=8192",
        ),
        (
            ["upstream.actor_rollout_ref.ref.log_prob_max_token_len_per_gpu=4096"],
            "8192 tokens, and actor_rollout_ref.ref.log_prob_max_token_len_per_gpu is 4096",
            "=8192",
        ),
        (
            [
                "upstream.actor_rollout_ref.actor.use_dynamic_bsz=false",
                "upstream.actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=3",
            ],
            "640 answers per replica are not a multiple",
            "per_gpu=2",
        ),
        (
            [
                "upstream.actor_rollout_ref.actor.use_dynamic_bsz=false",
                "upstream.actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=3",
            ],
            "1280 answers per replica are not a multiple of actor_rollout_ref.ref.",
            "per_gpu=2",
        ),
        (
            ["upstream.actor_rollout_ref.rollout.tensor_model_parallel_size=3"],
            "tensor_model_parallel_size 3 does not divide 8",
            "parallel_size=2",
        ),
        (
            ["upstream.actor_rollout_ref.rollout.max_model_len=4096"],
            "rollout.max_model_len is 4096",
            "max_model_len=8192",
        ),
        (
            [
                "upstream.actor_rollout_ref.rollout.enable_chunked_prefill=false",
                "upstream.actor_rollout_ref.rollout.max_num_batched_tokens=4096",
            ],
            "8192 tokens, and actor_rollout_ref.rollout.max_num_batched_tokens is 4096",
            "=8192",
        ),
        (["upstream.actor_rollout_ref.model.lora_rank=1024"], "up to rank 512", "512"),
        (["upstream.algorithm.adv_estimator=grppo"], "Did you mean 'grpo'", "adv_estimator=grpo"),
        (
            ["upstream.actor_rollout_ref.actor.kl_loss_type=lowvar"],
            "'lowvar' is not allowed",
            "kl_loss_type=low_var_kl",
        ),
        (["upstream.trainer.resume_mode=disable"], "'disable' is not allowed", "resume_mode=auto"),
        (["upstream.trainer.logger=[wandb]"], "is not a list", "'[file]'"),
        (
            ["upstream.trainer.test_freq=7"],
            "test_freq and trainer.save_freq differ",
            "--set upstream.trainer.test_freq=",
        ),
        (["upstream.data.image_patch_size=14"], "is not the model's 16", "image_patch_size=16"),
        (
            ["upstream.actor_rollout_ref.rollout.enable_rollout_routing_replay=true"],
            "and only one of the two is",
            "--set rl.router_replay=rollout",
        ),
        (
            ["upstream.reward.custom_reward_function.reward_kwargs.format_wait=1"],
            "has no argument 'format_wait'. Did you mean 'format_weight'",
            "",
        ),
        (["upstream.reward.custom_reward_function.name=main"], "has no function main", "correct upstream.reward"),
        (
            ["upstream.reward.custom_reward_function.path=/no/where.py"],
            "/no/where.py does not exist",
            "correct upstream.reward",
        ),
    ],
)
def test_what_verl_would_stumble_on(sets: list[str], words: str, then: str) -> None:
    checks = launches.rules(load("rl_multitask", "qwen3-vl-8b", "8x80gb", sets))
    hits = [check for check in checks if check.level == "error" and words in check.text]
    assert hits, checks
    assert then in hits[0].then


def test_a_key_that_verl_has_no_use_for_is_refused() -> None:
    with pytest.raises(UserError, match=r"rl\.length_cap does not work with verl") as error:
        load("rl_multitask", "qwen3-vl-8b", "8x80gb", ["rl.length_cap=1024"])
    assert "--set backend=easyr1" in error.value.then


def test_router_replay_is_megatrons() -> None:
    def parts(*sets: str) -> tuple[Any, Any]:
        part = rendered("qwen3-vl-30b-a3b", sets=list(sets))["actor_rollout_ref"]
        return part["actor"]["megatron"].get("router_replay"), part["rollout"].get("enable_rollout_routing_replay")

    assert parts() == (None, None)
    assert parts("rl.router_replay=trainer") == ({"mode": "R2"}, None)
    assert parts("rl.router_replay=rollout") == ({"mode": "R3"}, True)
    for value in ("trainer", "rollout"):
        found = load("rl_multitask", "qwen3-vl-30b-a3b", "16x80gb", [f"rl.router_replay={value}"])
        checks = launches.rules(found)
        assert launches.errors(checks) == []
        assert "mtrl never ran verl's Megatron path, nor its router replay" in "\n".join(one.text for one in checks)


@pytest.mark.parametrize(
    ("model", "hardware", "sets", "words"),
    [
        ("qwen3-vl-8b", "8x80gb", ["backend=verl"], "qwen3-vl-8b is dense: it has no router"),
        ("qwen3-vl-8b", "1x80gb-lora", ["backend=trl"], "is dense"),
        ("qwen3-vl-30b-a3b", "8x80gb", [], "easyr1 has no router replay: verl with Megatron has"),
        ("tiny", "cpu", [], "trl has no router replay"),  # a mixture
        ("qwen3-vl-30b-a3b", "8x80gb-lora", ["backend=verl"], "with Megatron alone"),  # by FSDP: adapters
        ("qwen3-vl-30b-a3b", "1x80gb-lora", ["backend=verl"], r"\(here 8\) from 2 to the number of GPUs \(here 1\)"),
        ("qwen3-vl-30b-a3b", "8x80gb", ["backend=verl", "model.expert_parallel_size=1"], r"\(here 1\)"),
    ],
)
def test_where_no_router_can_be_replayed_it_is_refused(model: str, hardware: str, sets: list[str], words: str) -> None:
    recipe.load("rl_multitask", model, hardware, sets=sets)
    for value in ("trainer", "rollout"):
        with pytest.raises(UserError, match=words) as error:
            recipe.load("rl_multitask", model, hardware, sets=[*sets, f"rl.router_replay={value}"])
        assert str(error.value).startswith(f"rl.router_replay is {value}") and "\n" not in str(error.value)
        assert "--set rl.router_replay=null" in error.value.then


def test_megatrons_sizes() -> None:
    def errors(*sets: str) -> str:
        found = load("rl_multitask", "qwen3-vl-30b-a3b", "16x80gb", list(sets))
        return "\n".join(launches.errors(launches.rules(found)))

    assert errors() == ""
    assert "tensor x pipeline x context 4 does not divide 14" in errors("upstream.trainer.n_gpus_per_node=7")
    assert "expert parallelism 8 does not divide 12" in errors("upstream.trainer.n_gpus_per_node=6")


def test_whole_epochs_several_nodes_and_lossy_settings_are_warned_of() -> None:
    sets = ["upstream.data.filter_overlong_prompts=true", "upstream.trainer.max_actor_ckpt_to_keep=3"]
    found = launches.rules(load("rl_multitask", "tiny", "16x80gb", sets))
    warnings = " ".join(check.text for check in found if check.level == "warning")
    for words in (
        "rl.epochs 0.8 is run as 1",
        "2 nodes need a Ray cluster",
        "drops a row that is too long",
        "may delete the best",
    ):
        assert words in warnings


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("0.3.3.dev0", "EasyR1's package is called verl too"),
        ("0.10.0", "outside 0.9.x"),
        ("0.10rc1", "outside 0.9.x"),
        ("0.9.4", ""),
    ],
)
def test_a_version_outside_the_tested_range(
    version: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    write_text(tmp_path / "python", f"#!/bin/sh\necho '{json.dumps({'verl': version})}'\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("MTRL_PYTHON_VERL", str(tmp_path / "python"))
    found = list(verl_rules._installed())
    assert [(check[0], check[2]) for check in found] == ([("error", "make setup-verl")] if words else [])
    assert all(words in check[1] for check in found)


def test_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "bin" / "python", "")
    monkeypatch.setenv("MTRL_PYTHON_VERL", str(tmp_path / "bin" / "python"))
    run = Run(tmp_path / "run")
    found = load("rl_multitask", "tiny", "8x80gb")
    job = VERL.job(found, run)
    assert job.command[1:] == [
        "-m",
        "verl.trainer.main_ppo",
        "--config-path",
        str(run.path),
        "--config-name",
        "upstream",
    ]
    assert (job.env["RAY_ADDRESS"], job.env["WANDB_MODE"]) == ("local", "disabled")
    config = yaml.safe_load(VERL.config(found, run, tmp_path))
    assert config["ray_kwargs"]["ray_init"]["runtime_env"]["env_vars"]["VERL_FILE_LOGGER_PATH"] == str(
        run.path / verl_grpo.LOG
    )
    assert config["trainer"]["default_local_dir"] == str(run.checkpoints)


def test_backend_is_the_recipes_and_of_rl_alone() -> None:
    assert recipe.load("rl_multitask").trainer == "easyr1" and recipe.load("sft_unified").trainer == "llamafactory"
    assert registry.of(load("rl_multitask", "tiny", "8x80gb")) is VERL
    with pytest.raises(UserError, match="backend: verl is for RL"):
        recipe.load("sft_unified", sets=["backend=verl"])


def test_its_parquet_is_derived_with_the_budget_and_kept(converted: Path, tmp_path: Path) -> None:
    found, run = (
        load("rl_multitask", "tiny", "8x80gb", ["tasks=demo_quality,demo_safety", "max_rows_per_task=70"]),
        Run(tmp_path / "r"),
    )
    VERL.link_inputs(found, run, converted / "data")
    assert inputs.verl_counts(run.inputs, "train") == {"demo_quality": 70, "demo_safety": 70}
    assert inputs.verl_counts(run.inputs, "val") == {"demo_quality": 100, "demo_safety": 100}
    file = run.inputs / "verl_train" / "demo_safety.parquet"
    rows, source = (
        pq.read_table(file).to_pylist(),
        pq.read_table(converted / "data/demo_safety/rl_train.parquet").to_pylist(),
    )
    assert [row["extra_info"]["index"] for row in rows] == row_plan.of(found, converted / "data", "demo_safety").rows
    for row in rows:
        whole = source[row["extra_info"]["index"]]
        assert row["prompt"] == [{"role": "user", "content": whole["problem"]}] and row["data_source"] == "demo_safety"
        assert row["reward_model"] == {"style": "rule", "ground_truth": whole["answer"]}
        assert row["images"] == [{**image, "min_pixels": 4096, "max_pixels": 65536} for image in whole["images"]]
    before = file.stat().st_mtime_ns
    VERL.link_inputs(found, run, converted / "data")
    assert file.stat().st_mtime_ns == before
    VERL.link_inputs(
        load("rl_multitask", "tiny", "8x80gb", ["tasks=demo_safety", "image.max_pixels=8192"]), run, converted / "data"
    )
    assert inputs.verl_counts(run.inputs, "train").keys() == {"demo_safety"} and pq.read_metadata(file).num_rows > 70
    assert pq.read_table(file, columns=["images"]).to_pylist()[0]["images"][0]["max_pixels"] == 8192


def test_the_score_is_the_other_backends() -> None:
    truth = json.dumps({"task": "seetrue", "label": "yes", "id": "7"})
    for text in (
        "<think>a</think><answer>yes</answer>",
        "<think>a</think><answer>no</answer>",
        "<think>a</think>",
        "yes",
    ):
        ours, theirs = (
            judge.verl_score("seetrue", text, truth, {"index": 0}, format_weight=0.3),
            judge.score(text, truth, 0.3),
        )
        assert (ours["score"], ours["acc"], ours["format"]) == (theirs["overall"], theirs["accuracy"], theirs["format"])
    assert judge.verl_score("seetrue", "<think>a</think><answer>no</answer>", truth)["yes_rate"] == 0.0
    assert judge.verl_score("seetrue", "what?", truth)["invalid"] == 1.0
    with pytest.raises(ValueError, match="ground truth"):
        judge.verl_score("seetrue", "yes", "yes")


def saved(run: Run, step: int, torn: str = "") -> Path:
    """A global_step_<n> as verl's FSDP leaves it, without the file `torn`."""
    folder = run.checkpoints / f"global_step_{step}"
    for rank in range(2):
        for kind in ("model", "optim", "extra_state"):
            write_text(folder / "actor" / f"{kind}_world_size_2_rank_{rank}.pt", "")
    write_text(folder / "actor" / "huggingface" / "config.json", "{}")
    write_text(folder / "actor" / "fsdp_config.json", '{"FSDP_version": 1, "world_size": 2}')
    with zipfile.ZipFile(folder / "data.pt", "w") as archive:
        archive.writestr("data.pkl", "")
    if torn:
        next(folder.rglob(torn)).unlink()
    return folder


@pytest.mark.parametrize("torn", ["data.pt", "model_world_size_2_rank_1.pt", "config.json"])
@pytest.mark.parametrize("tracker", ["15", "5", "", None])
def test_resuming_goes_on_from_the_newest_complete_checkpoint(tmp_path: Path, torn: str, tracker: str | None) -> None:
    run = Run(tmp_path / "run")
    saved(run, 5), saved(run, 10), saved(run, 15, torn=torn)
    if tracker is not None:
        write_text(run.checkpoints / verl_grpo.TRACKER, tracker)
    assert checkpoint_folders.set_aside_incomplete(run) == ["global_step_15"]
    VERL.begin(run)
    assert (run.checkpoints / verl_grpo.TRACKER).read_text() == "10" and VERL.finished(run)


def test_without_a_complete_checkpoint_it_starts_anew(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    saved(run, 5, torn="data.pt")
    write_text(run.checkpoints / verl_grpo.TRACKER, "5")
    checkpoint_folders.set_aside_incomplete(run)
    VERL.begin(run)
    assert not (run.checkpoints / verl_grpo.TRACKER).exists() and not VERL.finished(run)


def test_a_folder_of_verl_and_easyr1_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path / "runs" / "r")
    run.claim(load("rl_multitask", "tiny", "8x80gb").model_dump(mode="json", exclude_none=True), {})
    saved(run, 5), test_easyr1.saved(run, 10)
    for act in (
        lambda: VERL.begin(run),
        lambda: export.export(run, "5", tmp_path / "out"),
        lambda: EASYR1.begin(run),
    ):
        with pytest.raises(UserError, match=r"is trained by (verl|easyr1)") as error:
            act()
        assert "move it elsewhere" in error.value.then
    mixed = Run(tmp_path / "mixed")
    saved(mixed, 5)
    write_text(mixed.checkpoints / "global_step_5" / "dataloader.pt", "")
    with pytest.raises(UserError, match=r"dataloader\.pt \(easyr1\) and data\.pt \(verl\)"):
        VERL.begin(mixed)


def megatrons(run: Run, weights: bool) -> Path:
    folder = run.checkpoints / "global_step_5"
    write_json(folder / "actor" / "ckpt_contents.json", {"framework": "megatron"})
    write_text(folder / "actor" / "model" / "huggingface" / "config.json", "{}")
    if weights:
        write_text(folder / "actor" / "model" / "huggingface" / "model.safetensors", "")
    with zipfile.ZipFile(folder / "data.pt", "w") as archive:
        archive.writestr("data.pkl", "")
    return folder


def test_megatrons_weights_are_taken_as_they_are_and_its_shards_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "python", "")
    monkeypatch.setenv("MTRL_PYTHON_VERL", str(tmp_path / "python"))
    found = load("rl_multitask", "qwen3-vl-30b-a3b", "8x80gb")
    folder = megatrons(run := Run(tmp_path / "run"), weights=True)
    assert list(checkpoint_folders.steps(run)) == [5]
    (tmp_path / "out").mkdir()
    with VERL.merged(folder, found, tmp_path / "out") as whole:
        assert whole == folder / "actor" / "model" / "huggingface"
    folder = megatrons(Run(tmp_path / "other"), weights=False)
    with (
        pytest.raises(MtrlError, match="Megatron's own shards") as error,
        VERL.merged(folder, found, tmp_path / "out"),
    ):
        pass
    assert "-m verl.model_merger merge --backend megatron --local_dir" in error.value.then


def line(step: int, accuracy: float | None = None, reward: float = 0.5) -> str:
    train = {
        "critic/score/mean": reward,
        "actor/kl_loss": 0.1,
        "actor/lr": 1e-6,
        "timing_s/step": 60.0,
        "training/global_step": step,
    }
    val = {}
    for task, score in {} if accuracy is None else {"demo_quality": accuracy, "demo_safety": 0.5}.items():
        val |= {
            f"val-core/{task}/acc/mean@1": score,
            f"val-aux/{task}/reward/mean@1": 0.9,
            f"val-aux/{task}/invalid/mean@1": 0.0,
        }
    return json.dumps({"step": step, "data": {**(train if step else {}), **val}})


def test_metrics_join_the_attempts_and_weigh_the_tasks(converted: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    found = load("rl_multitask", "tiny", "8x80gb", ["tasks=demo_quality,demo_safety"])
    VERL.link_inputs(found, run, converted / "data")
    assert VERL.metrics(run) == []
    write_text(run.log, "(TaskRunnerV1 pid=1) Total training steps: 40\n")
    write_text(run.path / verl_grpo.LOG, "\n".join([line(0, 0.5), line(1), line(2, 0.6), line(3, reward=0.1)]) + "\n")
    VERL.begin(run)
    write_text(run.path / verl_grpo.LOG, "\n".join([line(3, reward=0.7), line(4, 0.9), '{"step": 5, "da']))
    rows = VERL.metrics(run)
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[3] == {
        "step": 3,
        "total_steps": 40,
        "reward": 0.7,
        "kl": 0.1,
        "learning_rate": 1e-6,
        "timing_s/step": 60.0,
    }
    assert rows[4]["eval_accuracy"] == pytest.approx(0.7) and rows[4]["eval_accuracy_demo_quality"] == 0.9
    assert rows[0]["eval_reward"] == pytest.approx(0.9) and rows[0]["eval_invalid_demo_safety"] == 0.0
    assert (
        verl_grpo._row(5, {"val-core/a/acc/mean@1": 1.0, "val-core/b/acc/mean@1": 0.0}, {"a": 30, "b": 10})[
            "eval_accuracy"
        ]
        == 0.75
    )
    # the best step is one that is saved, and step 4's score makes it
    saved(run, 2), saved(run, 4)
    launch.write_metrics(run, rows)
    write_text(run.path / "recipe.yaml", "method: rl_multitask\ntasks: [a]\n")
    assert steps.choose(run, "best")[1] == 4
    assert "for 1 validations: best 0.5500 at step 2" in VERL.plateaued(
        load("rl_multitask", "tiny", "8x80gb", ["rl.patience=1"]), [rows[2], {"step": 4, "eval_accuracy": 0.3}]
    )


def test_a_plateau_ends_the_job_and_the_run_is_done(converted: Path, tmp_path: Path) -> None:
    """A job that would go on for a minute and writes verl's files is ended once its log says so; its metrics
    are kept.
    """
    run = Run(tmp_path / "run")
    found = load("rl_multitask", "tiny", "8x80gb", ["tasks=demo_quality,demo_safety", "rl.patience=1"])
    VERL.link_inputs(found, run, converted / "data")
    saved(run, 5), saved(run, 10)
    write_text(tmp_path / "lines", line(5, 0.6) + "\n" + line(10, 0.5) + "\n")
    script = f"cp {tmp_path}/lines {verl_grpo.LOG}; sleep 60"
    with run.held() as lock:
        launch.launch(run, Job(["sh", "-c", script], {}), found, lock, lambda rows: None)
    assert run.status.state == "done" and "best 0.5500 at step 5" in run.status.reason
    assert run.status.seconds < 30 and steps.trainers_scores(run.metrics) == {5: 0.55, 10: 0.5}


def test_a_resumed_run_validates_first_only_where_the_log_has_no_score(converted: Path, tmp_path: Path) -> None:
    run, found = Run(tmp_path / "run"), load("rl_multitask", "tiny", "8x80gb", ["tasks=demo_quality,demo_safety"])
    VERL.link_inputs(found, run, converted / "data")

    def first() -> bool:
        return bool(yaml.safe_load(VERL.config(found, run, Path("data")))["trainer"]["val_before_train"])

    assert first()
    saved(run, 5)
    assert first()
    write_text(run.path / verl_grpo.LOG, line(5, 0.6) + "\n")
    assert not first()
