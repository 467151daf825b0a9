"""EasyR1 without EasyR1: what is rendered, what is refused before a start, and what is made of the folders and logs it
writes.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtrl.backends import checkpoint_folders, easyr1_grpo
from mtrl.backends.base import Job
from mtrl.backends.registry import BACKENDS
from mtrl.config import recipe
from mtrl.core.errors import UserError
from mtrl.core.files import parse_yaml, write_text
from mtrl.core.rundir import Run
from mtrl.models import budget
from mtrl.preflight import keys
from mtrl.runs import launch, steps
from tests.conftest import ROOT
from tests.unit import launches

EASYR1 = BACKENDS["easyr1"]

MODELS = sorted(path.stem for path in (ROOT / "recipes" / "models").glob("*.yaml"))
HARDWARE = sorted(
    path.stem for path in (ROOT / "recipes" / "hardware").glob("*.yaml") if "rl_backend: easyr1" in path.read_text()
)
KEYS = keys.known("easyr1")


def rendered(
    name: str = "rl_multitask", model: str = "qwen3-vl-8b", hardware: str = "8x80gb", sets: Any = None
) -> dict[str, Any]:
    task = "seetrue" if name == "rl_single" else None
    return parse_yaml(
        EASYR1.config(recipe.load(name, model, hardware, task, sets), Run(Path("runs/none")), Path("data")), "test"
    )


def test_what_is_rendered() -> None:
    assert len(MODELS) == 7 and HARDWARE == [
        "16x80gb",
        "1x80gb-lora",
        "8x80gb",
        "8x80gb-lora",
        "8x80gb-offload",
    ]


@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["rl_multitask", "rl_single"])
def test_every_key_is_written_and_no_rule_is_broken(name: str, model: str, hardware: str) -> None:
    config = rendered(name, model, hardware)
    assert set(keys.leaves(config)) == {key for key in KEYS if not key.startswith("worker.critic.")}
    found = recipe.load(name, model, hardware, "seetrue" if name == "rl_single" else None)
    errors = launches.errors(launches.rules(found))
    if (model, hardware) == ("tiny", "16x80gb"):
        assert errors == ["EasyR1: 16 GPUs cannot share rl.rollout_batch_size 8 prompts"]
    else:
        assert errors == []
    assert config["trainer"]["val_freq"] == config["trainer"]["save_freq"] == found.rl.validate_every
    assert (config["data"]["min_pixels"], config["data"]["max_pixels"]) == (
        (1, budget.UNLIMITED)
        if model == "tiny"  # a model on this machine: its processor gets the range
        else (found.image.min_pixels, found.image.max_pixels)
    )


def test_the_papers_run() -> None:
    config = rendered(model="qwen3-vl-30b-a3b")
    data, actor, rollout = config["data"], config["worker"]["actor"], config["worker"]["rollout"]
    assert (data["rollout_batch_size"], actor["global_batch_size"], rollout["n"]) == (512, 256, 20)
    assert (actor["fsdp"]["torch_dtype"], actor["optim"]["strategy"], rollout["tensor_parallel_size"]) == (
        "bf16",
        "adamw_bf16",
        8,
    )
    assert (config["algorithm"]["use_kl_loss"], config["algorithm"]["kl_coef"], config["algorithm"]["kl_penalty"]) == (
        True,
        0.01,
        "low_var_kl",
    )
    assert config["trainer"]["logger"] == ["file"] and config["worker"]["reward"]["reward_function_kwargs"] == {
        "format_weight": 0.1
    }


def test_adapters_and_loggers() -> None:
    config = rendered(model="qwen3-vl-4b", hardware="1x80gb-lora", sets=["logger=wandb"])
    assert config["worker"]["actor"]["model"]["lora"]["rank"] == 64 and config["worker"]["actor"]["optim"]["lr"] == 1e-5
    assert (
        config["worker"]["actor"]["fsdp"]["torch_dtype"] is None
        and config["worker"]["rollout"]["tensor_parallel_size"] == 1
    )
    assert config["trainer"]["logger"] == ["file", "wandb"]
    sft = recipe.load("sft_unified", "qwen3-vl-4b", "1x80gb-lora")
    assert sft.hardware.lora and sft.hardware.lora.rank == 64 and sft.sft.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("sets", "words", "then"),
    [
        # 6 and 7 GPUs pass EasyR1's own checks with the paper's batches and fail in its first step
        (
            ["upstream.trainer.n_gpus_per_node=6"],
            "6 GPUs cannot share rl.rollout_batch_size 512 prompts",
            "rl.batch_size=255 --set rl.rollout_batch_size=510",
        ),
        (
            ["upstream.trainer.n_gpus_per_node=7"],
            "7 GPUs cannot share rl.rollout_batch_size 512 prompts",
            "rl.batch_size=259 --set rl.rollout_batch_size=518",
        ),
        (
            ["upstream.trainer.n_gpus_per_node=6"],
            "6 GPUs cannot share rl.batch_size 256 x rl.n 20 answers",
            "--set rl.batch_size=255 --set rl.rollout_batch_size=510",
        ),
        (
            ["upstream.data.rollout_batch_size=500"],
            "500 is not a multiple of rl.batch_size 256",
            "--set upstream.data.rollout_batch_size=512",
        ),
        (
            ["upstream.worker.actor.micro_batch_size_per_device_for_update=3"],
            "640 answers per GPU are not a multiple",
            "rl_per_device_batch_size: 2",
        ),
        (
            ["upstream.worker.actor.micro_batch_size_per_device_for_experience=3"],
            "10240 answers are not a multiple",
            "for_experience=2",
        ),
        (
            ["upstream.worker.rollout.tensor_parallel_size=3"],
            "tensor_parallel_size 3 does not divide 8",
            "tensor_parallel_size=2",
        ),
        (
            ["upstream.worker.rollout.tensor_parallel_size=16"],
            "tensor_parallel_size 16 does not divide 8",
            "tensor_parallel_size=8",
        ),
        (["upstream.worker.actor.ulysses_size=3"], "ulysses_size 3 does not divide 8", "ulysses_size=2"),
        (
            ["upstream.worker.rollout.max_num_batched_tokens=8000"],
            "8192 tokens, and worker.rollout.max_num_batched_tokens is 8000",
            "=8192",
        ),
        (["upstream.worker.rollout.max_model_len=4096"], "rollout.max_model_len is 4096", "max_model_len=8192"),
        (["upstream.worker.rollout.n=1"], "rl.n is 1", "--set upstream.worker.rollout.n=2"),
        (["upstream.data.mini_rollout_batch_size=12"], "mini_rollout_batch_size 12", "mini_rollout_batch_size=16"),
        (
            ["upstream.worker.actor.fsdp.enable_cpu_offload=true"],
            "does not work with gradient accumulation",
            "enable_cpu_offload=false",
        ),
        (
            ["upstream.data.max_pixel=3"],
            "EasyR1 has no key 'data.max_pixel'. Did you mean 'data.max_pixels'",
            "upstream: in the recipe",
        ),
        (["upstream.worker.actor.kl_coef=0.1"], "has no key 'worker.actor.kl_coef'", "upstream: in the recipe"),
        (["upstream.trainner.nnodes=1"], "has no key 'trainner.nnodes'", "upstream: in the recipe"),
        (
            ["upstream.algorithm.adv_estimator=grppo"],
            "'grppo' is not allowed. Did you mean 'grpo'",
            "adv_estimator=grpo",
        ),
        (["upstream.algorithm.kl_penalty=lowvar"], "'lowvar' is not allowed", "kl_penalty=kl"),
        (["upstream.worker.actor.fsdp.torch_dtype=bfoo"], "'bfoo' is not allowed", "torch_dtype="),
        (["upstream.trainer.logger=file"], "is not a list", "'[file]'"),
        (["upstream.trainer.logger=[files]"], "is not a list", "'[file]'"),
        (
            ["upstream.trainer.save_freq=7"],
            "val_freq and trainer.save_freq differ",
            "--set upstream.trainer.val_freq=7",
        ),
        (
            ["upstream.worker.rollout.val_override_config.temprature=1"],
            "'temprature' is not a sampling parameter. Did you mean 'temperature'",
            "",
        ),
        (
            ["upstream.worker.reward.reward_function_kwargs.format_wait=1"],
            "has no argument 'format_wait'. Did you mean 'format_weight'",
            "",
        ),
        (
            ["upstream.worker.reward.reward_function=/no/where.py:compute_score"],
            "the reward file /no/where.py does not exist",
            "FILE:FUNCTION",
        ),
        (
            ["upstream.data.format_prompt=/no/where.jinja"],
            "data.format_prompt /no/where.jinja does not exist",
            "correct upstream.data.format_prompt",
        ),
        (["upstream.trainer.load_checkpoint_path=/"], "does not end in global_step_<n>", ""),
        (["tasks=my_val_set"], "for its split", "another name"),
    ],
)
def test_what_easyr1_would_stumble_on(sets: list[str], words: str, then: str) -> None:
    checks = launches.rules(recipe.load("rl_multitask", "qwen3-vl-8b", "8x80gb", sets=sets))
    hits = [check for check in checks if check.level == "error" and words in check.text]
    assert hits, checks
    assert then in hits[0].then


def test_typos_in_the_models_own_configuration_and_a_missing_function(tmp_path: Path) -> None:
    def errors(*sets: str) -> str:
        found = recipe.load("rl_multitask", "tiny", "8x80gb", sets=list(sets))
        return "\n".join(launches.errors(launches.rules(found)))

    assert "Did you mean 'text_config'" in errors("upstream.worker.actor.model.override_config.text_confg=1")
    (tmp_path / "reward.py").write_text("def score(inputs, a=1): ...\n")
    assert "has no function main" in errors(f"upstream.worker.reward.reward_function={tmp_path}/reward.py:main")


def test_whole_epochs_and_several_nodes_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    sets = ["rl.batch_size=16", "rl.rollout_batch_size=16"]
    found = launches.rules(recipe.load("rl_multitask", "tiny", "16x80gb", sets=sets))
    warnings = " ".join(check.text for check in found if check.level == "warning")
    assert "rl.epochs 0.8 is run as 1" in warnings and "2 nodes need a Ray cluster" in warnings


def test_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "bin" / "python"
    write_text(python, "")
    monkeypatch.setenv("MTRL_PYTHON_EASYR1", str(python))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    job = EASYR1.job(recipe.load("rl_multitask"), Run(tmp_path / "run"))
    assert job.command == [str(python), "-m", "verl.trainer.main", "config=upstream.yaml"]
    assert (job.env["RAY_ADDRESS"], job.env["WANDB_MODE"]) == ("local", "disabled")  # joins no cluster found by chance
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    job = EASYR1.job(recipe.load("rl_multitask"), Run(tmp_path / "run"))
    assert job.env["RAY_ADDRESS"] == "10.0.0.1:6379"
    config = EASYR1.config(recipe.load("rl_multitask"), Run(tmp_path / "run"), tmp_path)
    assert yaml.safe_load(config)["trainer"]["save_checkpoint_path"] == str(tmp_path / "run" / "checkpoints")


def saved(run: Run, step: int, world: int = 2, torn: str = "") -> Path:
    """A global_step_<n> as EasyR1 leaves it, without the file `torn`."""
    folder = run.checkpoints / f"global_step_{step}"
    for rank in range(world):
        for kind in ("model", "optim", "extra_state"):
            write_text(folder / "actor" / f"{kind}_world_size_{world}_rank_{rank}.pt", "")
    write_text(folder / "actor" / "huggingface" / "config.json", "{}")
    with zipfile.ZipFile(folder / "dataloader.pt", "w") as archive:
        archive.writestr("data.pkl", "")
    if torn == "dataloader.pt":
        (folder / torn).write_bytes((folder / torn).read_bytes()[:10])
    elif torn:
        (folder / "actor" / torn).unlink()
    return folder


def logged(run: Run, *lines: dict[str, Any]) -> None:
    write_text(run.checkpoints / easyr1_grpo.LOG, "".join(json.dumps(line) + "\n" for line in lines))


def line(step: int, accuracy: float | None = None, reward: float = 0.5) -> dict[str, Any]:
    val = (
        {}
        if accuracy is None
        else {
            "val": {
                "reward_score": 0.9,
                "overall_reward": 0.9,
                "accuracy_reward": accuracy,
                "accuracy_seetrue_reward": accuracy,
            }
        }
    )
    train = {
        "reward": {"overall": reward, "accuracy": 0.4, "accuracy_seetrue": 0.3},
        "timing_s": {"step": 60.0, "gen": 20.0},
        "actor": {"kl_loss": 0.1},
    }
    return {"step": step, **(train if step else {}), **val}


def test_metrics_join_the_attempts(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    write_text(run.log, "...\n\x1b[36m(Runner pid=1)\x1b[0m Total training steps: 975\n")
    logged(run, line(0, 0.5), line(1), line(2, 0.6), line(3, reward=0.1))
    write_text(run.checkpoints / "generations.log", "first")
    saved(run, 2)
    EASYR1.begin(run)
    assert (run.path / "attempts" / "001" / "generations.log").read_text() == "first"
    logged(run, line(3, reward=0.7), line(4, 0.55), {"step": 4, "val": {"accuracy_reward": 0.56}})
    with (run.checkpoints / easyr1_grpo.LOG).open("a") as file:
        file.write('{"step": 5, "rew')  # a line that is being written
    rows = EASYR1.metrics(run)
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert (
        rows[3] | {"total_steps": 975, "reward": 0.7, "accuracy_seetrue": 0.3, "timing_s/step": 60.0, "kl": 0.1}
        == rows[3]
    )
    assert (rows[0]["eval_accuracy"], rows[2]["eval_accuracy_seetrue"], rows[4]["eval_accuracy"]) == (0.5, 0.6, 0.56)
    EASYR1.begin(run)
    assert EASYR1.metrics(run) == rows and (run.path / "attempts" / "002" / easyr1_grpo.LOG).exists()
    EASYR1.begin(run)  # nothing more to keep
    assert len(list((run.path / "attempts").iterdir())) == 2


@pytest.mark.parametrize(
    "torn", ["dataloader.pt", "model_world_size_2_rank_1.pt", "optim_world_size_2_rank_1.pt", "huggingface/config.json"]
)
@pytest.mark.parametrize(
    "tracker", ['{"last_global_step": 5, "best_global_step": 5}', '{"last_glo', '{"last_global_step": 15}', None]
)
def test_resuming_goes_on_from_the_newest_complete_checkpoint(tmp_path: Path, torn: str, tracker: str | None) -> None:
    run = Run(tmp_path / "run")
    saved(run, 5), saved(run, 10), saved(run, 15, torn=torn)
    if tracker is not None:
        write_text(run.checkpoints / "checkpoint_tracker.json", tracker)
    assert checkpoint_folders.set_aside_incomplete(run) == ["global_step_15"]
    EASYR1.begin(run)
    assert list(checkpoint_folders.steps(run)) == [5, 10] and not (run.checkpoints / "global_step_15").exists()
    assert json.loads((run.checkpoints / "checkpoint_tracker.json").read_text())["last_global_step"] == 10


def test_without_a_complete_checkpoint_it_starts_anew(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    saved(run, 5, torn="dataloader.pt")
    write_text(run.checkpoints / "checkpoint_tracker.json", '{"last_global_step": 5}')
    checkpoint_folders.set_aside_incomplete(run)
    EASYR1.begin(run)
    assert not (run.checkpoints / "checkpoint_tracker.json").exists() and not EASYR1.finished(run)


def test_a_tracker_that_is_right_is_left_alone(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    saved(run, 5)
    text = '{"best_global_step": 5, "best_val_reward_score": 0.7, "last_global_step": 5}'
    write_text(run.checkpoints / "checkpoint_tracker.json", text)
    EASYR1.begin(run)
    assert (run.checkpoints / "checkpoint_tracker.json").read_text() == text and EASYR1.finished(run)


def test_a_resumed_run_validates_first_only_where_the_log_has_no_score(tmp_path: Path) -> None:
    run, found = Run(tmp_path / "run"), recipe.load("rl_multitask")

    def first() -> bool:
        return bool(yaml.safe_load(EASYR1.config(found, run, Path("data")))["trainer"]["val_before_train"])

    assert first()
    saved(run, 5)
    assert first()
    logged(run, line(5, 0.6))
    assert not first()


def test_the_best_is_by_accuracy_among_what_is_there(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    scores = {0: 0.99, 5: 0.6, 10: 0.8, 15: 0.9, 20: 0.8}
    logged(run, *(line(step, score) for step, score in scores.items()))
    for step in (5, 10, 20):
        saved(run, step)
    write_text(run.checkpoints / "checkpoint_tracker.json", '{"best_global_step": 5, "last_global_step": 20}')
    write_text(run.path / "recipe.yaml", "method: rl_multitask\ntasks: [a]\n")
    launch.write_metrics(run, EASYR1.metrics(run))
    assert steps.choose(run, "best")[1] == 20  # of equals the later; step 15 is gone, step 0 is no checkpoint
    assert steps.choose(run, "last")[1] == 20 and steps.choose(run, "5")[1] == 5
    with pytest.raises(UserError, match="complete checkpoints: 5, 10, 20"):
        steps.choose(run, "15")


def test_it_has_had_enough_after_patience_validations_without_improvement() -> None:
    found = recipe.load("rl_multitask", sets=["rl.patience=2"])

    def rows(*scores: float) -> list[dict[str, Any]]:
        return [{"step": 5 * i, "eval_accuracy": score} for i, score in enumerate(scores)] + [{"step": 5 * len(scores)}]

    assert EASYR1.plateaued(found, []) == "" and EASYR1.plateaued(found, rows(0.9)) == ""
    assert EASYR1.plateaued(found, rows(0.9, 0.5, 0.4)) == ""  # step 0 is the base model's, and no checkpoint
    assert EASYR1.plateaued(found, rows(0.9, 0.5, 0.6, 0.6)) == ""
    assert "for 2 validations: best 0.6000 at step 10" in EASYR1.plateaued(found, rows(0.9, 0.5, 0.6, 0.6, 0.6))


def test_a_plateau_ends_the_job_and_the_run_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that would go on for a minute and writes EasyR1's files is ended once its log says so."""
    run, found = Run(tmp_path / "run"), recipe.load("rl_multitask", sets=["rl.patience=1"])
    saved(run, 5), saved(run, 10)
    script = tmp_path / "trainer.sh"
    lines = "\\n".join(json.dumps(line(step, score)) for step, score in ((5, 0.6), (10, 0.5)))
    script.write_text(f"printf '{lines}\\n' > checkpoints/{easyr1_grpo.LOG}\nsleep 60\n")
    with run.held() as lock:
        launch.launch(run, Job(["sh", str(script)], {}), found, lock, lambda rows: None)
    assert run.status.state == "done" and "best 0.6000 at step 5" in run.status.reason
    assert run.status.seconds < 30
