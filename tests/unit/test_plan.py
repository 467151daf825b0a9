"""What `mtrl plan` says of mistakes that upstream would find late, and of things that are not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest

from mtrl.backends.llamafactory_sft import LlamaFactory
from mtrl.config import recipe
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import UserError
from mtrl.core.finding import Check
from mtrl.core.rundir import Run
from mtrl.preflight import amounts, easyr1_rules, machine, plan, rendered, verl_rules
from mtrl.preflight.rendered import Rendered
from tests.unit import launches

TASKS = "tasks=demo_quality,demo_safety"


def found(name: str, *sets: str, model: str = "tiny", hardware: str = "cpu") -> list[Check]:
    return launches.preflight(recipe.load(name, model, hardware, sets=[TASKS, *sets]))


def errors(*arguments: str, **presets: str) -> list[str]:
    return launches.errors(found(*arguments, **presets))


def test_a_typo_below_upstream_is_named(project: Path) -> None:
    assert errors("sft_unified", "upstream.cutoff_length=3") == [
        "LLaMA-Factory has no key 'cutoff_length'. Did you mean 'cutoff_len'?"
    ]
    assert errors("rl_multitask", "upstream.grpo.betta=3") == [
        "TRL's GRPOConfig has no key 'grpo.betta'. Did you mean 'grpo.beta'?"
    ]
    (odd,) = errors("rl_multitask", "upstream.max_steps=3")
    assert odd.startswith("TRL's job has no key 'max_steps'. Known: dtype, grpo, image, lora")
    (unlike,) = errors("sft_unified", "upstream.zzz=3")
    assert unlike == "LLaMA-Factory has no key 'zzz'."


def trained_by(trainer: str, *sets: str) -> Recipe:
    """An RL recipe, or LLaMA-Factory's, on its usual hardware."""
    name = "sft_unified" if trainer == "llamafactory" else "rl_multitask"
    if trainer == "trl":
        return recipe.load(name, "tiny", "cpu", sets=[TASKS, *sets])
    model = "qwen3-vl-30b-a3b" if trainer == "megatron" else "qwen3-vl-8b"
    backend = ["backend=verl"] if trainer in ("verl", "megatron") else []
    return recipe.load(name, model, "8x80gb", sets=[TASKS, *backend, *sets])


WRONG = {
    "llamafactory": [
        "deepspeed.zero_optimization=3",
        "cutoff_len=abc",
        "save_total_limit=few",
        "bf16=1",
        "per_device_train_batch_size=0",
    ],
    "easyr1": [
        "trainer=abc",
        "worker=3",
        "worker.actor=x",
        "data.rollout_batch_size=many",
        "worker.rollout.n=null",
        "data.train_files=3",
        "worker.actor.global_batch_size=0",
        "data.mini_rollout_batch_size=x",
        "trainer.load_checkpoint_path=3",
    ],
    "verl": [
        "data.train_batch_size=many",
        "actor_rollout_ref=3",
        "trainer.nnodes=0",
        "actor_rollout_ref.actor.megatron=1",
        "actor_rollout_ref.rollout.gpu_memory_utilization=[]",
        "trainer.max_actor_ckpt_to_keep=x",
    ],
    "trl": ["grpo=3", "grpo.beta=x", "grpo.save_total_limit=0", "grpo.max_completion_length=null"],
}


@pytest.mark.parametrize(("trainer", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_a_wrong_value_below_upstream_is_one_error(project: Path, trainer: str, text: str) -> None:
    checks = launches.preflight(trained_by(trainer, f"upstream.{text}"))
    (line,) = {check.text for check in checks if ": expected " in check.text}
    assert line.startswith(f"upstream.{text.partition('=')[0]} is ")


VALUES = ("abc", 0, -5, 0.5, None, [], {"a": 1}, True)
CASES = {  # trainer, and what is set so that further keys are read
    "llamafactory": [[], ["hardware.deepspeed=null"]],
    "trl": [[]],
    "easyr1": [[], ["upstream.data.format_prompt=x", "upstream.worker.actor.model.override_config.a=1"]],
    "verl": [[], ["upstream.actor_rollout_ref.actor.use_dynamic_bsz=false"]],
    "megatron": [[]],
}


class Recorded(Rendered):
    """Keeps which keys are read, and which values a typed reader takes."""

    def __init__(self, found: Recipe) -> None:
        super().__init__(found, launches.a_run(found), launches.DATA)
        self.read: dict[str, Callable[[Any], bool]] = {}

    def get(self, key: str, default: Any = None) -> Any:
        self.read.setdefault(key, lambda value: True)
        return super().get(key, default)

    def _read(self, key: str, default: Any, expected: str, fits: Callable[[Any], bool]) -> Any:
        null = default is not rendered._REQUIRED
        self.read[key] = lambda value: fits(value) or (value is None and null)
        return super()._read(key, default, expected, fits)


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize(("trainer", "sets"), [(name, sets) for name, cases in CASES.items() for sets in cases])
def test_any_value_of_any_key_is_an_error_or_taken_and_never_a_traceback(
    converted: Path, trainer: str, sets: list[str], value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every key that the checks read, and every block above one. Of a type that its reader does not take, a value is an
    error that names the key and the value."""
    monkeypatch.chdir(converted)
    for module, name in ((verl_rules, "_asked"), (verl_rules, "_installed"), (easyr1_rules, "_installed")):
        monkeypatch.setattr(module, name, lambda *_: [])  # processes, which take seconds each
    monkeypatch.setattr(machine, "gpus", lambda: [])
    plain = trained_by(trainer, *sets)
    recorded = Recorded(plain)
    run, data = launches.a_run(plain), launches.DATA
    assert list(plan._rendered(plain, run, data, recorded))
    read = dict(recorded.read)
    assert len(read) >= (7 if trainer in ("llamafactory", "trl") else 20)
    blocks = {key[:end] for key in read for end, sign in enumerate(key) if sign == "."}
    for key in [*read, *blocks]:
        upstream: Any = value
        for part in reversed(key.split(".")):
            upstream = {part: upstream}
        changed = plain.model_copy(update={"upstream": deep_merge(plain.upstream, upstream)})
        said = ""
        try:
            list(plan._rendered(changed, run, data, Recorded(changed)))
        except UserError as error:
            said = str(error)
        if key in read and not read[key](value):
            assert said.startswith(f"upstream.{key} is {'null' if value is None else repr(value)}: expected "), key


def deep_merge(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged = dict(one)
    for key, value in other.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = deep_merge(merged[key], value) if both else value
    return merged


def test_a_wrong_value_that_is_not_the_users_is_ours(project: Path) -> None:
    config = launches.rendered(trained_by("easyr1"))
    config.values["trainer"]["nnodes"] = "two"
    with pytest.raises(TypeError, match=r"upstream.trainer.nnodes is 'two'"):
        config.whole("trainer.nnodes")


def test_our_own_mistake_in_a_check_keeps_its_traceback(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan.memory, "checkpoint", lambda *_: {}["no such"])
    with pytest.raises(KeyError):
        found("sft_unified")


def test_plan_checks_the_run_that_is_launched_and_renders_it_once(cli, project: Path, monkeypatch) -> None:
    texts: list[str] = []
    config = LlamaFactory.config

    def counted(*arguments: Any) -> str:
        texts.append(config(*arguments))
        return texts[-1]

    monkeypatch.setattr(LlamaFactory, "config", counted)
    where = ["--tasks", "demo_quality", "--model", "tiny", "--hardware", "cpu", "--name", "mine", "--runs", "elsewhere"]
    planned = cli("plan", "sft_unified", *where)
    assert planned.code == 0 and "--name mine --runs elsewhere" in planned.out, planned.err
    assert len(texts) == 1 and not Path("elsewhere").exists()
    assert cli("sft", "sft_unified", *where, "--dry-run").code == 0
    assert len(texts) == 2
    run = Run(Path("elsewhere/mine"))
    assert {(run.path / "upstream.yaml").read_text()} == set(texts) and f"output_dir: {run.checkpoints}" in texts[0]
    run.set("failed")
    other = cli("plan", "sft_unified", *where, "--set", "sft.epochs=9")
    assert other.code == 2 and "was started with another recipe; different now: sft.epochs" in other.out


def test_a_model_folder_without_a_model_is_one_line(project: Path) -> None:
    Path("empty").mkdir()
    assert errors("sft_unified", "model.path=./empty") == ["model tiny: ./empty is not a model folder (no config.json)"]
    assert not any("memory" in check.text for check in found("sft_unified", "model.path=./empty"))


def test_what_is_not_converted_is_said_once(project: Path) -> None:
    lines = errors("sft_unified", "tasks=seetrue")
    assert lines == ["task seetrue is not converted (data/seetrue/card.json is missing)"]
    assert len(errors("sft_unified", "tasks=seetru")) == 1


def test_a_training_row_in_an_evaluation_split(project: Path) -> None:
    train, test = (Path(f"data/demo_quality/samples_{split}.parquet") for split in ("train", "test"))
    shared = lambda: next((c.text for c in found("sft_unified") if "demo_quality/test" in c.text), "")  # noqa: E731
    assert shared() == ""
    pq.write_table(pa.concat_tables([pq.read_table(test), pq.read_table(train).slice(0, 1)]), test)
    assert shared() == "1 training images are in demo_quality/test too"


def test_checkpoints_against_the_disk(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def line(*sets: str) -> Check:
        return next(c for c in found("sft_unified", "sft.validate_every=47", *sets) if c.text.startswith("disk"))

    each = 12 * 1.5e-3  # GB, of weights and two moments in fp32
    room = type("Usage", (), {"free": 4.5 * each * 1e9})
    monkeypatch.setattr(amounts.shutil, "disk_usage", lambda path: room)
    # 4 epochs of 32 steps, one every 47 and the last
    assert "up to 3 checkpoints" in line("sft.epochs=4").text and line("sft.epochs=4").level == "ok"
    many = line("sft.epochs=40")
    assert many.level == "warning" and "save_total_limit=3" in many.then
    assert line("sft.epochs=40", "upstream.save_total_limit=3").level == "ok"
    room.free = each * 1e9
    assert line("sft.epochs=40").level == "error"


def test_time_is_of_the_rollout_and_the_gpus(project: Path) -> None:
    """The estimate itself is tests/unit/test_times.py's."""
    sets = ("rl.rollout_batch_size=256", "rl.epochs=2")
    checks = found("rl_multitask", *sets, model="qwen3-vl-30b-a3b", hardware="8x80gb")
    (line,) = [check.text for check in checks if check.text.startswith("time")]
    assert "s per rollout of 5,120 answers" in line and line.endswith("GPU-hours on 8 x h100")


def test_fewer_gpus_than_the_preset(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(project))  # no nvidia-smi
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (line,) = [text for text in errors("rl_multitask", hardware="8x80gb") if "GPUs" in text]
    assert line == "hardware 8x80gb needs 8 GPUs on this node, which has 0"
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    (line,) = [text for text in errors("rl_multitask", hardware="8x80gb") if "GPUs" in text or "Ray" in text]
    assert line.startswith("no Ray cluster answers at 127.0.0.1:1")


def test_a_prompt_that_changed_since(project: Path) -> None:
    card = Path("data/demo_quality/card.json")
    data = json.loads(card.read_text())
    data["prompts"]["sft"] = "0"
    card.write_text(json.dumps(data))
    assert errors("sft_unified") == ["task demo_quality: its sft prompt has changed since it was converted"]


def test_a_split_of_one_verdict_is_an_error(project: Path) -> None:
    def one_verdict(split: str) -> None:
        path = Path(f"data/demo_quality/samples_{split}.parquet")
        held = pq.read_table(path)
        pq.write_table(held.filter(pa.compute.equal(held["answer"], "yes")), path)

    capped = errors("sft_unified", "tasks=demo_quality", "max_rows_per_task=1", "sft.batch_size=1")
    assert capped[0].startswith("task demo_quality: no row of the 1 that the recipe draws of train is")
    texts = [check.text for check in found("sft_unified", "tasks=demo_quality", "max_rows_per_task=16")]
    assert "task demo_quality: train 16 of 500, val 100 rows" in texts
    one_verdict("test")  # a test split is reported, and does not stop a training
    assert errors("sft_unified") == []
    one_verdict("val")
    assert errors("sft_unified") == ["task demo_quality: no row of val is 'no'; training and validation need both"]


def test_a_clip_range_of_tokens_is_none_of_sequences(project: Path) -> None:
    for sets, warned in ([], False), (["rl.ratio=sequence"], True), (["rl.ratio=sequence", "rl.clip_low=3e-4"], False):
        texts = [check.text for check in found("rl_multitask", *sets, model="qwen3-vl-4b", hardware="8x80gb")]
        assert any("clips nothing" in text for text in texts) is warned, (sets, texts)


def test_a_bare_verdict_needs_few_tokens(project: Path) -> None:
    checks = found("rl_multitask", "style=sft")
    assert launches.errors(checks) == [] and "right answers score 1.0" in [check.text for check in checks]
    (long,) = (check for check in checks if "evaluation allows a bare verdict 16 tokens" in check.text)
    assert (long.level, long.then) == ("warning", "--set rl.max_response_length=16")
    assert not [
        c for c in found("rl_multitask", "style=sft", long.then.removeprefix("--set ")) if "16 tokens" in c.text
    ]
    (project / "prompts/sft/demo_safety.jinja").write_text("<image> Safe? Answer yes or no.")
    assert [text for text in errors("rl_multitask", "style=sft") if "its sft prompt has changed" in text]
