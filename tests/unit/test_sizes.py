"""`auto` sizes: an epoch of at least 8 updates and 2 validations, in batches that the devices and the trainers can
share.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mtrl.config import recipe, samples, sizes
from mtrl.config.samples import Sample
from mtrl.core.errors import UserError
from mtrl.core.files import parse_yaml
from mtrl.preflight import amounts, easyr1_rules, verl_rules
from tests.conftest import Result
from tests.unit import launches
from tests.unit.test_recipe import HARDWARE, MODELS

SFT = ["sft.batch_size=auto", "sft.validate_every=auto"]
RL = ["rl.batch_size=auto", "rl.rollout_batch_size=auto", "rl.validate_every=auto"]


def converted(rows: int, folder: Path = Path("data"), task: str = "seetrue") -> None:
    one = [Sample(str(n), task, "pointwise", (), {}, "yes", "train") for n in range(rows)]
    samples.write(samples.path_of(folder, task, "train"), one)


def load(stage: str, *sets: str, model: str = "qwen3-vl-4b", hardware: str = "8x80gb") -> recipe.Recipe:
    every = [*(SFT if stage == "sft" else RL), *sets]
    return recipe.load(f"{stage}_single", model, hardware, "seetrue", every)


@pytest.mark.parametrize("rows", [140, 500, 1_690, 5_544, 33_553])
@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("stage", ["sft", "rl"])
def test_an_epoch_has_8_updates_and_2_validations(
    stage: str, hardware: str, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    converted(rows)
    if stage == "rl":
        monkeypatch.setattr(easyr1_rules, "_installed", lambda: [])
        monkeypatch.setattr(verl_rules, "_installed", lambda: [])
        monkeypatch.setattr(verl_rules, "_asked", lambda text: [])
    for backend_name in ["", "verl"] if stage == "rl" and hardware != "cpu" else [""]:
        for model in MODELS:
            found = load(stage, *([f"backend={backend_name}"] if backend_name else []), model=model, hardware=hardware)
            made = sizes.schedule(found, rows)
            assert made.enough and made.validations >= 2 and made.steps // made.every >= (1 if found.rl else 2)
            block = found.sft or found.rl
            assert block.batch_size % found.hardware.world_size == 0
            if found.trainer in ("easyr1", "verl"):
                wrong = launches.errors(launches.rules(found))
                assert [text for text in wrong if "share" in text or "multiple" in text] == []
            assert not [line for line in amounts.check(found, Path("data")) if line.level != "ok"]


def test_the_papers_tasks_keep_the_papers_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for task, rows in {
        "agin_nat": 4839,
        "agin_tech": 4839,
        "agin_rat": 4839,
        "seetrue": 5544,
        "imagereward": 6194,
        "unsafebench": 7298,
    }.items():
        converted(rows, task=task)
    sft = recipe.load("sft_unified", sets=SFT)
    rl = recipe.load("rl_multitask", sets=RL)
    assert (sft.sft, rl.rl) == (recipe.load("sft_unified").sft, recipe.load("rl_multitask").rl)
    assert sizes.schedule(sft, sizes.rows(sft, Path("data"))) == sizes.Schedule(132, 132, 660, 33)
    for method in ("sft_unified", "rl_multitask", "sft_single", "rl_single"):  # their own numbers pass
        single = method.endswith("single")
        for task in sft.tasks if single else [None]:
            found = recipe.load(method, task=task)
            assert {line.level for line in amounts.check(found, Path("data"))} == {"ok"}, (method, task)


def test_one_size_alone_is_derived_from_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    converted(1000)
    one = lambda *sets: recipe.load("rl_single", "qwen3-vl-4b", "8x80gb", "seetrue", list(sets)).rl  # noqa: E731
    assert (one("rl.batch_size=auto").batch_size, one("rl.batch_size=auto").rollout_batch_size) == (64, 512)
    assert one("rl.batch_size=auto", "rl.rollout_batch_size=96").batch_size == 32  # which 96 is a multiple of
    assert one("rl.rollout_batch_size=auto").rollout_batch_size == 256
    assert one("rl.validate_every=auto").validate_every == 1  # one rollout of 512 an epoch
    with pytest.raises(UserError, match=r"rl.rollout_batch_size 12 must be a multiple of rl.batch_size 8"):
        one("rl.batch_size=auto", "rl.rollout_batch_size=12")


def test_auto_is_resolved_in_what_is_written(project: Path, cli) -> None:
    many = ["--set", "tasks=demo_quality", *(part for text in SFT for part in ("--set", text))]
    done: Result = cli("sft", "sft_unified", "--model", "tiny", "--hardware", "cpu", *many, "--name", "a", "--dry-run")
    assert done.code == 0, done.err
    kept = parse_yaml(Path("runs/a/recipe.yaml").read_text(), "")["sft"]
    upstream = parse_yaml(Path("runs/a/upstream.yaml").read_text(), "")
    assert (kept["batch_size"], kept["validate_every"]) == (32, 8)  # of 500 rows
    assert upstream["eval_steps"] == upstream["save_steps"] == 8


def test_what_is_not_converted_has_no_auto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"sft.batch_size is auto, .* and task seetrue has none in data") as error:
        load("sft")
    assert error.value.then.startswith("mtrl convert seetrue --raw raw --out data")
    with pytest.raises(UserError, match=r"sft.epochs.*auto"):
        recipe.load("sft_single", task="seetrue", sets=["sft.epochs=auto"])


def test_max_rows_per_task_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    converted(1000)
    assert load("sft", "max_rows_per_task=200").sft.batch_size == 16 and load("sft").sft.batch_size == 64


def test_a_key_of_the_other_stage_is_an_error() -> None:
    with pytest.raises(
        UserError, match=r"--set rl.n: this key belongs to RL, and the recipe sft_unified trains by SFT"
    ):
        recipe.load("sft_unified", sets=["rl.n=4"])
    with pytest.raises(UserError, match=r"--set sft.epochs: this key belongs to SFT, and the recipe rl_multitask"):
        recipe.load("rl_multitask", sets=["sft.epochs=4"])
    with pytest.raises(UserError, match="trains nothing"):
        recipe.load("zero_shot", sets=["sft.epochs=4"])


def test_what_a_trainer_does_not_use_is_an_error() -> None:
    with pytest.raises(UserError, match="style: rl does not go with method sft_unified"):
        recipe.load("sft_unified", sets=["style=rl"])
    with pytest.raises(UserError, match="trl, which trains this recipe, does not use it"):
        recipe.load("rl_multitask", "tiny", "cpu", sets=["model.tensor_parallel_size=2"])
    with pytest.raises(UserError, match="llamafactory, which trains this recipe, does not use it"):
        recipe.load("sft_unified", sets=["hardware.rl_per_device_batch_size=2"])
    with pytest.raises(UserError, match="llamafactory, which trains this recipe, does not use it"):
        recipe.load("sft_unified", sets=["hardware.vllm_share=0.5"])
