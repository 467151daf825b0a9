"""The matrix of a table: which cells there are, what their folders say of them, and what the driver makes of it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from mtrl.config import samples
from mtrl.config.published import table_tasks
from mtrl.core.files import sha256_file, write_json
from mtrl.core.rundir import Run
from mtrl.evaluate.metrics import task as metrics
from mtrl.paper import matrix, progress
from mtrl.paper.cell import LOCK, STEPS, Cell, Place
from mtrl.preflight import times
from tests.unit.metrics_fixture import task_metrics
from tests.unit.test_tables import texts

PRESETS = ["--model", "tiny", "--hardware", "cpu"]
PLACE = Place(Path("data"), Path("runs"))


@pytest.fixture
def home(converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's converted project, linked, with runs and exports of its own; the working directory."""
    for item in converted.iterdir():
        (tmp_path / item.name).symlink_to(item)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cells(number: int = 2, seeds: tuple[int, ...] = (), sets: tuple[str, ...] = ()) -> list[Cell]:
    return matrix.cells(number, "tiny", "cpu", list(seeds), list(sets), PLACE)


def summary(found: list[Cell] | None = None) -> dict[str, dict[str, str]]:
    return texts(progress.summary(2, found or cells(), PLACE.data).rows)


def shown(found: list[Cell]) -> dict[str, list[str]]:
    """The matrix: each cell's label and what is shown of it."""
    return {name: [name, *row.values()] for name, row in texts(progress.matrix("", found, ()).rows).items()}


def bring_back(cell: Cell, score: float) -> None:
    """The scores of a cell, as they come from another machine: its evaluation's folder and nothing else."""
    one = task_metrics(macro_f1=score, macro_f1_ci95=[score - 0.1, score + 0.1])
    files = {task: samples.path_of(PLACE.data, task, "test") for task in cell.columns}
    of_task = {t: {**one, "samples_sha256": sha256_file(f) if f.exists() else "?"} for t, f in files.items()}
    judge = {"name": cell.name, "step": 1, "model": "tiny", "trained_on": cell.recipe.tasks}
    about = {"schema": metrics.SCHEMA, "method": cell.method, "votes": 1, "judged_by": judge}
    write_json(cell.scores / "metrics.json", {**about, **of_task})


def begun(cell: Cell, state: str = "done", **more: object) -> Run:
    """A run of this cell's recipe, in this state, with no trainer behind it."""
    run = cell.run
    run.claim(cell.recipe.model_dump(mode="json", exclude_none=True), {})
    run.set(state, **{"started": 1000.0, "spent": 0.0, **more})
    return run


def test_table_2_is_14_trainings_and_15_checkpoints_over_six_tasks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = matrix.cells(2, None, None, [], [], PLACE)
    assert len(found) == 15 and sum(cell.recipe.stage is not None for cell in found) == 14
    assert sum(len(cell.columns) for cell in found) == 5 * 6
    assert len({cell.folder for cell in found}) == 15 and {cell.recipe.model.name for cell in found} == {
        "qwen3-vl-30b-a3b"
    }
    third = matrix.cells(3, None, None, [], [], PLACE)
    assert [cell.label for cell in third] == ["zero_shot", "sft_unified", "rl_multitask"]
    assert {cell.name for cell in third} <= {cell.name for cell in found}  # Table 3 trains nothing of its own


def test_seeds_reach_every_recipe_and_every_name(home: Path) -> None:
    found = cells(seeds=(1, 2))
    assert [cell.label for cell in found][:2] == ["zero_shot", "sft_single:demo_quality:1"] and len(found) == 1 + 2 * 8
    for cell in found[1:]:
        assert cell.recipe.seed == cell.seed and cell.name.endswith(f"-seed{cell.seed}")
        assert f"--set=seed={cell.seed}" in cell.steps()[0].command
    assert [cell.label for cell in matrix.choose(found, ["rl_multitask::2"])] == ["rl_multitask::2"]
    assert len(matrix.choose(found, ["sft_single", "rl_single::1"])) == 6 + 3


def test_a_setting_goes_to_the_stages_it_speaks_of(home: Path) -> None:
    found = cells(sets=("sft.epochs=9", "rl.n=4", "max_rows_per_task=7", "rl:upstream.grpo.max_steps=3"))
    sft, rl = (next(cell for cell in found if cell.method == name) for name in ("sft_unified", "rl_multitask"))
    assert sft.recipe.sft and sft.recipe.sft.epochs == 9 and sft.recipe.upstream == {}
    assert rl.recipe.rl and rl.recipe.rl.n == 4 and rl.recipe.upstream == {"grpo": {"max_steps": 3}}
    assert sft.recipe.max_rows_per_task == rl.recipe.max_rows_per_task == 7
    assert sft.recipe.tasks == rl.recipe.tasks == table_tasks(2)  # this folder's own, not the paper's


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--set", "tasks=demo_quality"], "--only"),
        (["--set", "seed=3"], "--seeds"),
        (["--seeds", "one"], "not a list of numbers"),
        (["--only", "sft_unifed"], "Did you mean 'sft_unified'?"),
        (["--only", "sft_single:demo_quality:7"], "there is no such cell"),
        (["--only", ":demo_quality"], "there is no such cell"),
        (["--set", "sft.epoch=1"], "Did you mean 'epochs'?"),
        (["--set", "sft:rl.n=3"], "the sft stage has no key rl.n"),
    ],
)
def test_mistakes_end_with_2(cli, home: Path, wrong: list[str], words: str) -> None:
    found = cli("reproduce", "table2", *PRESETS, *wrong)
    assert found.code == 2 and words in found.err and not Path("runs").exists()


def test_what_is_not_converted_is_named_or_converted(cli, project: Path) -> None:
    Path("data/demo_quality/card.json").unlink()
    found = cli("reproduce", "table2", *PRESETS)
    assert found.code == 2 and "these tasks are not converted: demo_quality" in found.err and "--raw" in found.err
    dry = cli("reproduce", "table2", *PRESETS, "--raw", "raw", "--dry-run")
    assert dry.code == 0 and not Path("runs").exists()
    lines = [line for line in dry.out.splitlines() if line.startswith("mtrl ")]
    assert lines[0] == "mtrl convert demo_quality --raw raw --out data" and lines[1].startswith("mtrl eval --ckpt")
    verbs = [line.split()[1] for line in lines[2:]]
    assert verbs == ["sft", "select", "export", "eval"] * 4 + ["rl", "export", "eval"] * 4


def test_a_dry_run_shows_the_data_and_the_totals(cli, project: Path) -> None:
    shutil.rmtree("data/demo_quality")
    dry = cli("reproduce", "table2", *PRESETS, "--dry-run", "--only", "sft_single")
    assert dry.code == 0, dry.err
    lines = [" ".join(line.replace("│", " ").split()) for line in dry.out.splitlines()]
    assert "demo_quality missing" in lines
    assert any(re.fullmatch(r"demo_safety converted [\d,]+ [\d,]+ [\d,]+", line) for line in lines)
    assert any(line.startswith("3 cells: 0 done, 3 left (12 commands; training left: ") for line in lines)
    nowhere = cli("reproduce", "table2", *PRESETS, "--dry-run", "--raw", "nowhere")
    assert nowhere.code == 2 and "--raw nowhere is not a folder" in nowhere.err
    missing = cli("reproduce", "table2", *PRESETS, "--set", "sft.epochs=1", "--only", "sft_single", "--runs", "my runs")
    then = missing.err.split("next: ")[1].strip()
    assert shlex.split(then)[:3] == ["mtrl", "reproduce", "table2"] and "--raw raw" in then
    assert cli(*shlex.split(then)[1:], "--dry-run").code == 0 and "'my runs'" in then and "sft.epochs=1" in then


def test_runs_of_the_same_recipe_are_recognised_under_any_name(cli, home: Path) -> None:
    """Such as the demo's: runs/sft_unified, exports/sft_unified and runs/zero_shot/eval."""
    own = cells()
    unified = next(cell for cell in own if cell.method == "sft_unified")
    run = Run(Path("runs/sft_unified"))
    run.claim(unified.recipe.model_dump(mode="json", exclude_none=True), {})
    run.set("done", started=1.0)
    bring_back(own[0], 0.5)
    file = json.loads((own[0].scores / "metrics.json").read_text())
    shutil.rmtree(own[0].folder)
    write_json(Path("runs/zero_shot/eval/metrics.json"), {**file, "checkpoint": own[0].recipe.model.path})
    found = {cell.method: cell for cell in cells() if not cell.task}
    assert found["sft_unified"].name == "sft_unified" and found["sft_unified"].steps()[0].done
    assert found["zero_shot"].state()[0] == "done" and found["zero_shot"].scores == Path("runs/zero_shot/eval")
    other = {cell.method: cell for cell in cells(sets=("sft.epochs=2",)) if not cell.task}
    assert other["sft_unified"].name == "sft_unified-tiny-cpu"


def test_scores_of_other_data_are_not_this_cells(cli, home: Path) -> None:
    """After a conversion with other labels: shown as failed with the reason, never summed up and never mixed."""
    cell = cells()[1]
    bring_back(cell, 0.5)
    file = cell.scores / "metrics.json"
    result = json.loads(file.read_text())
    result["demo_quality"]["samples_sha256"] = "0" * 64
    write_json(file, result)
    state, why = cells()[1].state()
    assert state == "failed" and "of other samples than data/demo_quality holds now" in why
    assert summary()["SFT-Single"]["demo_quality"] == "-"
    done = cli("reproduce", "table2", *PRESETS, "--only", cell.label)
    assert done.code == 1 and "of other samples" in done.out and not (cell.folder / "log.txt").exists()


def test_a_cell_brought_back_is_done_and_counted(cli, home: Path) -> None:
    found = cells(seeds=(1, 2, 3))
    for cell in found:
        if cell.method in ("zero_shot", "sft_single"):
            bring_back(cell, 0.5 + 0.1 * (cell.seed or 0))
    assert [cell.state()[0] for cell in found[:4]] == ["done"] * 4 and found[4].state()[0] == "left"
    only = ["--only", "sft_single", "--only", "zero_shot", "--seeds", "1,2,3"]
    done = cli("reproduce", "table2", *PRESETS, *only)
    assert done.code == 0, done.err
    rows = {name: list(cells.values()) for name, cells in summary(found).items()}
    assert rows["SFT-Single"] == ["70.00 ± 10.00 (3)"] * 4  # three tasks and their mean, over seeds
    assert rows["Off-the-shelf"] == ["50.00 [40.0, 60.0]"] * 3 + ["50.00"] and rows["RL-Single"][0] == "-"
    assert "70.00 ± 10.00 (3)" in done.out


def test_part_of_a_split_is_no_score(home: Path) -> None:
    cell = cells()[1]
    bring_back(cell, 0.5)
    file = cell.scores / "metrics.json"
    result = json.loads(file.read_text())
    result["demo_quality"]["limit"] = 3
    write_json(file, result)
    assert cell.state()[0] == "left"
    write_json(file, {**result, "method": "rl_single"})
    assert cell.result() == {}


def test_the_papers_number_stands_beside(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    bring_back(cells()[0], 0.7)
    assert summary()["Off-the-shelf"]["agin_nat"] == "70.00 [60.0, 80.0]\npaper 67.99 (+2.01)"
    assert summary()["Off-the-shelf"]["mean"] == "70.00\npaper 67.31 (+2.69)"


def test_a_run_of_another_recipe_is_never_shown_as_this_one(cli, home: Path) -> None:
    cell = cells()[1]
    begun(cell)
    bring_back(cell, 0.9)
    assert cell.state()[0] == "done"
    other = cells(sets=("sft.epochs=2",))[1]
    assert other.state()[0] == "failed" and "different now: sft.epochs" in other.state()[1]
    found = cli("reproduce", "table2", *PRESETS, "--only", cell.label, "--set", "sft.epochs=2")
    assert found.code == 1 and "sft.epochs" in found.out and "90.00" not in found.out


def test_a_cell_that_cannot_start_is_named_and_the_others_go_on(cli, home: Path) -> None:
    """Two failures of two kinds, with the command that shows each again: a plan's stop, and a step that ends with 2."""
    found = cells(sets=("sft:sft.max_length=16",))
    trained = next(cell for cell in found if cell.label == "rl_single:demo_quality")
    begun(trained)  # done, and its checkpoints are gone
    only = ["--only", "sft_single:demo_quality", "--only", trained.label]
    done = cli("reproduce", "table2", *PRESETS, "--set", "sft:sft.max_length=16", *only)
    assert done.code == 1 and "2 of 2 cells are not done" in done.err
    assert re.search(
        r"sft_single:demo_quality failed: .* needs \d+ tokens.*; next: --set sft.max_length=\d+\n"
        r"  again: mtrl plan sft_single --model=tiny --hardware=cpu --tasks=demo_quality --set=sft.max_length=16 ",
        done.out,
    )
    assert "has no checkpoint 'best'" in done.out and f"again: mtrl export {trained.name} --step best" in done.out
    assert "$ mtrl export" in (trained.folder / "reproduce.log").read_text()


def test_a_cell_that_another_process_holds_is_passed_over(cli, home: Path) -> None:
    one, two = cells()[1:3]
    bring_back(two, 0.5)
    with one.run.held():
        assert one.state()[0] == "running"
        done = cli("reproduce", "table2", *PRESETS, "--only", "sft_single:demo_quality", "--only", two.label)
        assert done.code == 1 and "is already running; skipped" in done.out
        assert "1 of 2 cells are not done: sft_single:demo_quality" in done.err
    with one.run.held(LOCK):  # another driver, between two steps
        assert one.state()[0] == "running"
    assert one.state()[0] == "left"


def test_hours_count_every_attempt_and_estimates_say_what_they_are_from(home: Path) -> None:
    one, two = cells()[1:3]
    begun(one, started=1000.0, spent=3600.0)
    status = json.loads((one.folder / "status.json").read_text())
    write_json(one.folder / "status.json", {**status, "updated": 1000.0 + 7200.0})
    (one.folder / STEPS).write_text('{"step": "eval", "seconds": 1800, "code": 0}\n{"step": "train", "seconds": 9}\n')
    assert one.hours() == pytest.approx(3.5)
    rows = shown(cells())
    assert rows[one.label][2] == "done" and rows[one.label][-1] == "" and rows[one.label][-2] == "3.50"
    assert rows[two.label][-1] == "~3.00"  # as many rows and epochs
    assert rows["rl_multitask"][-1] == "?"
    begun(two, "failed", reason="RuntimeError: out of memory")
    (two.folder / "metrics.jsonl").write_text('{"step": 30, "total_steps": 60}\n')
    write_json(two.folder / "status.json", {"state": "failed", "started": 0.0, "spent": 0.0, "updated": 3600.0})
    rows = shown(cells())
    assert rows[two.label][1:3] == ["failed", "30/60"] and rows[two.label][-1] == "1.00"


def test_the_estimate_of_mtrl_plan_bounds_what_is_left(home: Path) -> None:
    found = matrix.cells(2, "qwen3-vl-30b-a3b", "8x80gb", [], [], PLACE)
    rows = shown(found)
    for cell in (cell for cell in found if cell.label in ("rl_multitask", "sft_unified")):
        (planned,) = times.check(cell.recipe, PLACE.data)
        hours = re.search(r"at most ([\d,.]+) hours", planned.text)
        assert hours and float(hours[1].replace(",", "")) > 0
        assert rows[cell.label][-1] == f"<{float(hours[1].replace(',', '')):,.0f}"
