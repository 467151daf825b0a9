"""Which checkpoint is exported, and what an export holds."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from mtrl.config import recipe, samples
from mtrl.core import locks, staging
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import read_json
from mtrl.core.run_files import SELECTED
from mtrl.core.rundir import Run
from mtrl.demo.walkthrough import tiny
from mtrl.runs import export, steps
from tests.unit.test_select import val_scores


def a_run(path: Path, name: str, steps: list[int]) -> Run:
    """A run folder as its trainer leaves it: checkpoints by step, and next to them LLaMA-Factory's own best."""
    run = Run(path / "run")
    for step in steps:
        shutil.copytree(tiny(), run.checkpoints / f"checkpoint-{step}")
        (run.checkpoints / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    run.claim(recipe.load(name, "tiny", "cpu").model_dump(mode="json", exclude_none=True), {})
    (run.path / "env.json").write_text(json.dumps({"packages": {}}))
    run.set("done")
    return run


def test_last_is_the_last_step_whatever_lies_beside_it(tmp_path: Path) -> None:
    run = a_run(tmp_path, "sft_unified", [5, 10, 20])
    shutil.copy(tiny() / "model.safetensors", run.checkpoints / "model.safetensors")  # the trainer's own best
    (run.checkpoints / "trainer_state.json").write_text('{"global_step": 20}')
    assert steps.choose(run, "last") == (run.checkpoints / "checkpoint-20", 20)
    assert steps.choose(run, "10")[1] == 10
    with pytest.raises(UserError, match=r"of tokens, not of verdicts"):
        steps.choose(run, "best")
    with pytest.raises(UserError, match=r"complete checkpoints: 5, 10, 20"):
        steps.choose(run, "7")


def test_best_of_rl_is_by_validation_accuracy_among_what_is_kept(tmp_path: Path) -> None:
    run = a_run(tmp_path, "rl_multitask", [5, 10, 20])
    scores = {5: 0.6, 10: 0.8, 15: 0.99, 20: 0.7}  # of step 15 no folder is left
    (run.path / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": s, "eval_accuracy": a}) + "\n" for s, a in scores.items())
    )
    assert steps.choose(run, "best")[1] == 10
    (run.checkpoints / "checkpoint-10" / "trainer_state.json").write_text('{"global')  # cut off by a kill
    assert steps.choose(run, "best")[1] == 20


def test_an_export_says_when_select_chose_another_step(cli, tmp_path: Path) -> None:
    run = a_run(tmp_path, "sft_unified", [5, 10])
    (run.path / SELECTED).write_text('{"by": "accuracy", "split": "val", "scores": {"5": 0.9, "10": 0.8}, "best": 5}')
    done = cli("export", run.path, "--out", tmp_path / "x")
    assert "step 10 of run" in done.out and "mtrl select chose step 5" in done.out and "--step best" in done.out
    assert "mtrl select" not in cli("export", run.path, "--step", "best", "--out", tmp_path / "y").out


def test_an_export_is_whole_and_carries_the_image_budget(tmp_path: Path) -> None:
    run = a_run(tmp_path, "rl_multitask", [5])
    for name in ("preprocessor_config.json", "chat_template.jinja", "generation_config.json"):
        (run.checkpoints / "checkpoint-5" / name).unlink()  # TRL saves none of these
    card = export.export(run, "last", tmp_path / "x")
    assert (card["method"], card["style"], card["step"], card["max_new_tokens"]) == ("rl_multitask", "rl", 5, 32)
    size = read_json(tmp_path / "x" / "preprocessor_config.json")["size"]
    assert size == {"shortest_edge": card["image"]["min_pixels"], "longest_edge": card["image"]["max_pixels"]}
    assert {"chat_template.jinja", "generation_config.json", "model.safetensors"} <= set(card["files"])
    with pytest.raises(UserError, match="exists already"):
        export.export(run, "last", tmp_path / "x")


def test_another_models_tensors_are_refused(tmp_path: Path) -> None:
    run = a_run(tmp_path, "rl_multitask", [5])
    file = run.checkpoints / "checkpoint-5" / "model.safetensors"
    file.write_bytes(
        file.read_bytes().replace(b"model.language_model.norm.weight", b"model.language_model.morn.weight", 1)
    )
    with pytest.raises(MtrlError, match="not the base model's"):
        export.export(run, "last", tmp_path / "x")
    assert not (tmp_path / "x").exists() and not list(tmp_path.glob(".x*"))


@pytest.mark.parametrize(
    ("state", "says"), [("failed", "it failed"), ("interrupted", "it was interrupted"), ("running", "running")]
)
def test_a_run_that_is_not_done_is_exported_on_request(cli, tmp_path: Path, monkeypatch, state: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    run = a_run(tmp_path / "runs", "sft_unified", [5])
    run.set(state)
    with run.held() if state == "running" else contextlib.nullcontext():
        for command in (["export", "run", "--out", "my exports/x"], ["select", "run"]):
            done = cli(*command)
            assert (
                done.code == 2 and "run run is not done" in done.err and says in done.err and "--unfinished" in done.err
            )
        again = shlex.split(cli("export", "run", "--out", "my exports/x").err.partition("next: mtrl ")[2])
        assert again == ["export", "run", "--out", "my exports/x", "--step", "last", "--unfinished"]
        done = cli(*again)
        assert done.code == 0 and Path("my exports/x/mtrl.json").exists()
        assert f"the run is not done (it is {state})" in done.out


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("file", "exists already"),
        ("file/x", "is a file, and a folder is needed"),
        ("file/a/x", "is a file, and a folder is needed"),
        ("folder", "exists already"),
    ],
)
def test_what_no_export_can_be_written_to(cli, tmp_path: Path, to: str, says: str) -> None:
    run = a_run(tmp_path, "sft_unified", [5])
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    done = cli("export", run.path, "--out", tmp_path / to)
    assert done.code == 2 and says in done.err and "Traceback" not in done.err, done.err
    assert (tmp_path / "file").read_text() == "mine" and not list(tmp_path.glob(".*"))


def test_a_cut_off_checkpoint_leaves_nothing(cli, tmp_path: Path) -> None:
    run = a_run(tmp_path, "sft_unified", [5])
    file = run.checkpoints / "checkpoint-5" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    done = cli("export", run.path, "--out", tmp_path / "x")
    assert done.code == 1 and "is cut off" in done.err
    assert not (tmp_path / "x").exists() and not list(tmp_path.glob(".*"))


def test_select_removes_what_a_killed_one_left_and_runs_alone(cli, tmp_path: Path) -> None:
    run = a_run(tmp_path, "sft_unified", [5])
    data, tasks = tmp_path / "data", run.recipe["tasks"]
    for task in tasks:
        samples.path_of(data, task, "val").parent.mkdir(parents=True)
        samples.path_of(data, task, "val").write_text(task)
    for step in (3, 5):  # of step 3 the checkpoint is gone
        folder = run.path / "select" / f"step-{step}"
        for left in ("model", f".model.0123{staging.SUFFIX}"):
            shutil.copytree(tiny(), folder / left)
        (folder / f".model.0123{staging.SUFFIX}" / staging.LOCK).touch()
        (folder / "metrics.json").write_text(val_scores(data, tasks))
    with (run.path / "select" / staging.LOCK).open("a") as lock:
        assert locks.take(lock.fileno())
        done = cli("select", run.path)
        assert done.code == 2 and "another mtrl select of run run is running" in done.err
        assert len(list(run.path.glob("select/*/model"))) == 2
    done = cli("select", run.path, "--data", data)
    assert done.code == 0, done.err
    assert sorted(path.name for path in run.path.glob("select/*/*")) == ["metrics.json", "metrics.json"]


def test_a_run_of_another_version_is_a_line_that_names_the_key(cli, tmp_path: Path) -> None:
    run = a_run(tmp_path, "sft_unified", [5])
    kept = yaml.safe_load((run.path / "recipe.yaml").read_text())
    kept["model"]["rl_step_seconds"] = 145
    (run.path / "recipe.yaml").write_text(yaml.safe_dump(kept))
    done = cli("export", run.path, "--out", tmp_path / "x")
    assert done.code == 2 and "'model.rl_step_seconds'" in done.err and "next: remove from" in done.err, done.err
    assert not (tmp_path / "x").exists()
