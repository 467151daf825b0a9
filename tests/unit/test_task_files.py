"""A judge is asked as it was trained: an export carries its tasks and prompts, whatever the working directory holds by
then.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mtrl.config import prompting, task_files, tasks
from mtrl.core.errors import UserError
from mtrl.core.files import read_json, sha256_file
from mtrl.core.rundir import Run
from mtrl.demo.walkthrough import tiny
from mtrl.evaluate import requests
from mtrl.evaluate.judges import subject
from mtrl.runs import export
from tests.unit.standin import asked_text, completion, standin

TASKS = ("demo_quality", "demo_safety")
SETS = ("--model", "tiny", "--hardware", "cpu", "--set", f"tasks={','.join(TASKS)}")
PROMPT, YAML = Path("prompts/sft/demo_quality.jinja"), Path("recipes/tasks/demo_quality.yaml")


@pytest.fixture
def run(cli, project: Path) -> Run:
    """A finished SFT run of two tasks, prepared by the command line; its checkpoint is the base model."""
    assert cli("sft", "sft_unified", *SETS, "--dry-run", "--name", "x").code == 0
    found = Run(Path("runs/x"))
    shutil.copytree(tiny(), found.checkpoints / "checkpoint-5")
    (found.checkpoints / "checkpoint-5" / "trainer_state.json").write_text('{"global_step": 5}')
    found.set("done")
    return found


@pytest.fixture
def exported(run: Run) -> Path:
    export.export(run, "last", Path("exports/x"))
    return Path("exports/x")


def test_an_export_carries_the_prompts_that_the_run_was_started_with(run: Run) -> None:
    before = PROMPT.read_bytes()
    PROMPT.write_text("<image>\nSomething else? Answer yes or no.")
    card = export.export(run, "last", Path("exports/x"))
    names = {f"task_files/recipes/tasks/{t}.yaml" for t in TASKS}
    names |= {f"task_files/prompts/{style}/{t}.jinja" for style in ("sft", "rl") for t in TASKS}
    assert {name for name in card["files"] if "/" in name} == names
    assert all(sha256_file(Path("exports/x") / name) == card["files"][name] for name in card["files"])
    assert Path(f"exports/x/task_files/{PROMPT}").read_bytes() == before


def test_changed_files_of_the_run_are_not_exported(run: Run) -> None:
    kept = run.inputs / task_files.FOLDER / PROMPT
    kept.write_text(kept.read_text() + " Really?")
    with pytest.raises(UserError, match=r"different now: task_files/prompts/sft/demo_quality.jinja"):
        export.export(run, "last", Path("exports/x"))
    assert not Path("exports/x").exists() and not list(Path("exports").glob(".*"))


def test_a_started_run_keeps_what_it_was_started_with(cli, run: Run) -> None:
    before = task_files.hashes(run.inputs / task_files.FOLDER)
    run.set("interrupted")
    YAML.write_text(YAML.read_text() + "note: another one\n")
    assert cli("sft", "sft_unified", *SETS, "--dry-run", "--name", "x").code == 0
    assert task_files.hashes(run.inputs / task_files.FOLDER) == before


def test_its_tasks_are_its_own_from_any_folder(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = tmp_path / "elsewhere" / "judge"
    shutil.move(exported, moved)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    judge = subject(str(moved))
    task = judge.task("demo_quality")
    assert task.home == moved / "task_files" and prompting.template_path(task, "rl").is_relative_to(moved)
    assert "home" not in task.model_dump() and not list(judge.remarks(TASKS))
    with pytest.raises(UserError, match="there is no task 'demo_alignment'"):
        judge.task("demo_alignment")
    with pytest.raises(UserError, match="not a task name"):
        tasks.load("../../recipes/tasks/demo_quality", moved / "task_files")


def test_what_differs_here_is_said_and_used_on_request(exported: Path) -> None:
    PROMPT.write_text("<image>\nSomething else? Answer yes or no.")
    YAML.write_text(YAML.read_text() + "note: another one\n")
    judge, asked = subject(str(exported)), (*TASKS, "demo_pairs")
    first, second = judge.remarks(asked)
    assert "demo_quality: note, the sft prompt differ" in first and "--prompts local" in first
    assert second == "the judge was not trained on demo_pairs: the local tasks and prompts are used"
    assert judge.task("demo_pairs").home is None
    own, local = (
        prompting.preview(j.task("demo_quality"), "sft") for j in (judge, subject(str(exported), None, "local"))
    )
    assert "Something else?" in local and "Something else?" not in own


def test_an_evaluation_asks_and_reports_what_the_judge_was_trained_with(cli, exported: Path) -> None:
    own = prompting.sha256(tasks.load("demo_quality"), "sft")
    PROMPT.write_text("<image>\nSomething else? Answer yes or no.")
    with standin(lambda number, body: completion("yes")) as server:
        command = [
            "eval",
            "--ckpt",
            exported,
            "--endpoint",
            server.url,
            "--model",
            "m",
            "--tasks",
            "demo_quality",
            "--limit",
            3,
        ]
        done = cli(*command)
        assert done.code == 0 and "the judge's own are used" in done.out, done.err
        assert not any("Something else?" in asked_text(body) for body in server.asked)
        identity = read_json(Path("runs/eval-m/eval.json"))
        assert identity["tasks"]["demo_quality"]["prompt_sha256"] == own and identity["run"] == "x"
        report = Path("runs/eval-m/report.html").read_text()
        assert "Something else?" not in report
        refused = cli(*command, "--prompts", "local")
        assert refused.code == 2 and "task demo_quality: prompt_sha256" in refused.err
        assert cli(*command, "--prompts", "local", "--out", "e").code == 0
        assert "Something else?" in asked_text(server.asked[-1])


def test_data_of_another_kind_of_task_is_not_scored(exported: Path) -> None:
    Path("data/demo_pairs").rename("data/pairs")
    shutil.rmtree("data/demo_quality")
    Path("data/pairs").rename("data/demo_quality")
    with pytest.raises(UserError, match="demo_quality of this judge is pointwise with verdicts yes or no"):
        list(requests.build(subject(str(exported)).task("demo_quality"), "sft", Path("data"), "test"))


def test_data_elsewhere_is_scored_far_from_the_project(
    cli, exported: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "away").mkdir()
    shutil.copytree(exported, tmp_path / "away" / "judge")
    monkeypatch.chdir(tmp_path / "away")
    with standin(lambda number, body: completion("yes")) as server:
        command = [
            "eval",
            "--ckpt",
            "judge",
            "--endpoint",
            server.url,
            "--served-model",
            "m",
            "--tasks",
            "demo_quality",
        ]
        done = cli(*command, "--limit", 4, "--data", project / "data")
    assert done.code == 0 and "here from what the judge was trained" not in done.out, done.err
    asked = read_json(project / "data/demo_quality/sft_test.json")[:4]
    want = sorted(row["messages"][0]["content"].replace("<image>", "").strip() for row in asked)
    assert sorted(asked_text(body).strip() for body in server.asked) == want


def test_pictures_are_judged_far_from_the_project(
    cli, exported: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = json.loads((project / "data/demo_quality/sft_test.json").read_text())[0]
    away = tmp_path / "away"
    away.mkdir()
    shutil.copytree(exported, away / "judge")
    shutil.copy(project / "data" / sample["images"][0], away / "picture.png")
    monkeypatch.chdir(away)
    with standin(lambda number, body: completion("no")) as server:
        done = cli(
            "judge",
            "picture.png",
            "--tasks",
            "demo_quality",
            "--ckpt",
            "judge",
            "--endpoint",
            server.url,
            "--model",
            "m",
        )
        assert done.code == 0, done.err
        assert asked_text(server.asked[0]).strip() == sample["messages"][0]["content"].replace("<image>", "").strip()


def test_a_prompt_is_a_file_below_prompts() -> None:
    known = tasks.load("seetrue").model_dump(exclude_unset=True)
    for path in ("/etc/passwd", "../secret.jinja"):
        with pytest.raises(ValueError, match="below prompts/"):
            tasks.Task.model_validate({**known, "prompts": {"sft": path}})
    with pytest.raises(ValueError, match="home"):
        tasks.Task.model_validate({**known, "home": "/tmp"})


def test_a_run_of_an_older_mtrl_is_exported_without(run: Run) -> None:
    shutil.rmtree(run.inputs / task_files.FOLDER)
    inputs = {k: v for k, v in read_json(run.path / "inputs.json").items() if "task_files" not in k}
    (run.path / "inputs.json").write_text(json.dumps(inputs))
    export.export(run, "last", Path("exports/x"))
    assert not Path("exports/x/task_files").exists()
    assert "has no prompts" in next(iter(subject("exports/x").remarks(TASKS)))


def line(**change: object) -> str:
    return (
        json.dumps({**json.loads(Path("runs/eval-m/predictions.jsonl").read_text().splitlines()[0]), **change}) + "\n"
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"prompt_sha256": "0" * 64}, "line 4 answers another prompt of task demo_quality"),
        ({"vote": 1}, "line 4 is vote 1"),
        ({"task": "demo_safety"}, "line 4 answers task 'demo_safety', which eval.json does not have"),
        (
            {"id": "foreign"},
            "an answer to sample 'foreign' of task demo_quality, order given, vote 0, which is not asked",
        ),
        ({"order": "turned"}, "order turned, vote 0, which is not asked"),
    ],
)
def test_a_foreign_row_is_named_and_not_counted(cli, exported: Path, change: dict[str, object], says: str) -> None:
    with standin(lambda number, body: completion("yes")) as server:
        command = [
            "eval",
            "--ckpt",
            exported,
            "--endpoint",
            server.url,
            "--model",
            "m",
            "--tasks",
            "demo_quality",
            "--limit",
            3,
        ]
        assert cli(*command).code == 0
        file, metrics = Path("runs/eval-m/predictions.jsonl"), Path("runs/eval-m/metrics.json").read_bytes()
        with file.open("a") as stream:
            stream.write(line(**change))
        done = cli(*command)
        assert done.code == 2 and says in done.err and "next: " in done.err, done.err
        again = cli("score", "runs/eval-m")
        assert again.code == 2 and (
            "line 4" in again.err or "4 answers to task demo_quality; 3 were asked" in again.err
        )
        assert Path("runs/eval-m/metrics.json").read_bytes() == metrics and len(server.asked) == 3


def test_answers_of_nobody_are_not_taken_over(cli, exported: Path) -> None:
    with standin(lambda number, body: completion("yes")) as server:
        command = [
            "eval",
            "--ckpt",
            exported,
            "--endpoint",
            server.url,
            "--model",
            "m",
            "--tasks",
            "demo_quality",
            "--limit",
            3,
        ]
        assert cli(*command).code == 0
        before = Path("runs/eval-m/predictions.jsonl").read_bytes()
        Path("runs/eval-m/eval.json").unlink()
        done = cli(*command)
    assert done.code == 2 and "has answers, but eval.json, which says whose they are, is missing" in done.err
    assert Path("runs/eval-m/predictions.jsonl").read_bytes() == before and not Path("runs/eval-m/eval.json").exists()
