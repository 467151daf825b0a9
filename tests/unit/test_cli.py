"""What a user sees: exit status and words, for what goes well and for every mistake that is easy to make."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtrl.demo.walkthrough import tiny
from tests.conftest import ROOT

SETS = ["--model", "tiny", "--hardware", "cpu", "--set", "tasks=demo_quality,demo_alignment,demo_safety"]


def test_help_groups_the_verbs(cli) -> None:
    shown = cli("--help").out
    titles = [shown.index(f"─ {panel} ─") for panel in ("Data", "Train", "Evaluate", "Trust", "Reproduce", "Setup")]
    assert titles == sorted(titles) and titles[3] < shown.index("│ estimate ") < titles[4]
    assert titles[1] < shown.index("│ sft ") < titles[2] < shown.index("│ judge ") < titles[3]


@pytest.mark.timed
def test_help_is_quick_and_loads_nothing_heavy() -> None:
    def seconds() -> float:
        """Processor time of one call: the budget is of mtrl, not of what else this machine does."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "mtrl", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.3
    heavy = ["torch", "vllm", "datasets", "sklearn", "pandas", "numpy", "pyarrow", "pydantic", "transformers", "ray"]
    code = f"import sys, mtrl.cli; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.strip() == "[]"


def test_usage_mistakes_end_with_2(cli) -> None:
    assert cli("--no-such").code == 2
    assert cli("eval").code == 2
    assert cli("convert", "demo_quality").code == 2  # --raw is missing


def test_tasks_check_prompts_and_plan(cli, project: Path) -> None:
    shown = cli("tasks")
    assert shown.code == 0 and "demo_alignment" in shown.out and "train 500" in shown.out
    assert cli("check", "demo_quality").code == 0
    assert "<image>" in cli("prompts", "demo_pairs", "--style", "rl").out
    plan = cli("plan", "sft_unified", *SETS)
    assert plan.code == 0, plan.err
    assert "an epoch: 47 updates" in plan.out and "longest prompt" in plan.out
    assert cli("plan", "rl_multitask", *SETS).code == 0


def test_an_unknown_task_names_the_nearest(cli, project: Path) -> None:
    found = cli("convert", "demo_qualty", "--raw", "raw")
    assert found.code == 2 and "Did you mean 'demo_quality'?" in found.err and "Traceback" not in found.err


def test_an_unknown_task_or_prompt_lists_the_folders_searched(cli, project: Path, tmp_path: Path, monkeypatch) -> None:
    found = cli("prompts", "nothing")
    said = " ".join(found.err.split())
    assert found.code == 2 and f"in {project}/recipes/tasks and " in said and "mtrl tasks" in said
    Path("prompts/rl/demo_quality.jinja").unlink()
    said = " ".join(cli("prompts", "demo_quality", "--style", "rl").err.split())
    assert (
        "there is no rl prompt 'demo_quality'." in said and f"demo_quality.jinja in {project}/prompts/rl and " in said
    )
    monkeypatch.chdir(tmp_path)  # a folder that is no project at all
    said = " ".join(cli("prompts", "demo_quality").err.split())
    assert f"{tmp_path}/recipes/tasks (no such folder) and " in said


def test_one_broken_task_is_shown_and_blocks_no_other(cli, project: Path) -> None:
    Path("recipes/tasks/demo_pairs.yaml").write_text("title: [unclosed")  # converted before it was broken
    Path("recipes/tasks/mine.yaml").write_text("{title: x, capability: taste, label: {column: l}}")
    Path("data/demo_alignment/card.json").write_text('{"counts": []}')
    shown = cli("tasks")
    assert (
        shown.code == 0
        and "card.json is broken" in shown.out
        and shown.out.count(" broken │") == 2
        and "train 500" in shown.out
    )
    assert "error   demo_pairs: " in shown.out and "error   mine: " in shown.out and "capability" in shown.out
    assert cli("convert", "demo_quality", "--raw", "raw").code == 0
    assert "demo_alignment/card.json is broken" in cli("check", "demo_alignment").out
    assert "demo_alignment/card.json is broken" in cli("plan", "sft_unified", *SETS).out
    assert cli("convert", "demo_alignment", "--raw", "raw").code == 0
    checked = cli("check", "demo_quality")
    assert checked.code == 0 and "demo_pairs is converted but not compared" in checked.out
    assert "demo_safety/train:" not in checked.out and "mine:" not in checked.out  # only what was asked about
    assert cli("tables").code == 0
    everything = cli("check", "all")
    assert everything.code == 1 and "error   mine: " in everything.out and "ok      demo_safety/train" in everything.out
    found = cli("convert", "mine", "--raw", "raw")
    assert found.code == 2 and "mine.yaml" in found.err


def test_check_says_one_line_for_a_pair_of_tasks(cli, project: Path) -> None:
    checked = cli("check", "demo_alignment")
    lines = [line for line in checked.out.splitlines() if " share " in line]
    assert len(lines) == len({tuple(sorted(re.findall(r"(demo_\w+)/", line)[:2])) for line in lines}) >= 1
    assert all("demo_alignment/" in line for line in lines)


PROMPT = Path("prompts/rl/demo_quality.jinja")


def test_a_prompt_that_no_verdict_could_come_of_is_an_error_in_every_command(cli, project: Path) -> None:
    """Also where the data was converted by a mtrl that took it: the card knows this very prompt."""
    PROMPT.write_text("<image> Is it good? Answer yes or no.")
    card = json.loads(Path("data/demo_quality/card.json").read_text())
    card["prompts"]["rl"] = hashlib.sha256(PROMPT.read_bytes()).hexdigest()
    Path("data/demo_quality/card.json").write_text(json.dumps(card))
    said = "does not ask for <think> and <answer>"
    asked = ["--endpoint", "http://127.0.0.1:9/v1", "--served-model", "m", "--style", "rl"]
    image = next(Path("data/images").glob("*/*"))
    for arguments in (
        ["convert", "demo_quality", "--raw", "raw"],
        ["prompts", "demo_quality", "--style", "rl"],
        ["eval", "--tasks", "demo_quality", *asked],
        ["judge", image, "--tasks", "demo_quality", *asked],
    ):
        found = cli(*arguments)
        assert found.code == 2 and said in found.err, arguments
    for arguments, code in ((["check", "demo_quality", "demo_safety"], 1), (["plan", "rl_multitask", *SETS], 2)):
        found = cli(*arguments)
        assert found.code == code and said in found.out and "demo_safety" in found.out, arguments
    assert Path("data/demo_quality/card.json").exists()  # the good conversion is still there


def test_fields_that_no_prompt_uses_and_fields_without_text_are_warned_of(cli, project: Path) -> None:
    rows = [("AGIN_512x512/" + p.name, "good" if n % 2 else "bad", "" if n in (3, 7) else "A shape.", "x")
            for n, p in enumerate(sorted(Path("raw/agin/AGIN_512x512").glob("*"))[:20])]  # fmt: skip
    table = "\n".join(["image,label,caption,place", *(",".join(row) for row in rows)]) + "\n"
    Path("raw/agin/mine.csv").write_text(table)
    Path("recipes/tasks/mine.yaml").write_text(
        "title: x\ncapability: quality\nlabel: {column: label, values: {yes: [good], no: [bad]}}\n"
        "source: {folder: agin, file: mine.csv, fields: {subject: caption, place: place}}\n"
    )
    for style, form in (("sft", "yes or no"), ("rl", "<think>why</think><answer>yes or no</answer>")):
        Path(f"prompts/{style}/mine.jinja").write_text(f"<image> {{{{ subject }}}} {form}")
    said = [
        "warning mine: neither prompt uses the field 'place'",
        "warning mine: the field 'subject' is empty in 2 of 20 rows; the first is row 4 (",
    ]
    plan = ["plan", "sft_unified", *SETS[:-1], "tasks=mine"]
    for arguments in (["convert", "mine", "--raw", "raw"], ["check", "mine"], plan):
        found = cli(*arguments)
        assert found.code == 0 and all(line in found.out for line in said), found.out
        assert "'subject', so" not in found.out


def test_an_unknown_recipe_key_ends_with_2(cli, project: Path) -> None:
    found = cli("sft", "sft_unified", *SETS, "--set", "sft.epoch=1")
    assert found.code == 2 and "unknown key 'sft.epoch'. Did you mean 'epochs'?" in found.err
    assert not Path("runs").exists()


def test_the_wrong_stage_names_the_right_one(cli, project: Path) -> None:
    found = cli("sft", "rl_multitask", *SETS)
    assert found.code == 2 and "next: mtrl rl rl_multitask" in found.err


def test_a_csv_without_the_label_column(cli, project: Path) -> None:
    Path("raw/mine.csv").write_text("image,lable\nagin/AGIN_512x512/CoCosNet_0.png,good\n")
    task = (
        "{title: x, capability: quality, source: {file: mine.csv}, label: {column: label, values: "
        "{yes: [good], no: [bad]}}}"
    )
    Path("recipes/tasks/mine.yaml").write_text(task)
    found = cli("convert", "mine", "--raw", "raw")
    assert found.code == 2 and "no column 'label'. Did you mean 'lable'?" in found.err


def test_a_missing_image_in_the_release(cli, project: Path) -> None:
    gone = next(Path("raw/agin/AGIN_512x512").glob("*"))
    gone.unlink()
    found = cli("convert", "demo_quality", "--raw", "raw")
    assert found.code == 2 and "1 of 800 images are missing" in found.err and gone.name in found.err


def test_a_wrong_folder_says_what_it_looked_for_and_found(cli, project: Path) -> None:
    found = cli("convert", "demo_quality", "--raw", "data")
    assert found.code == 2 and "MOS_AGIN.csv" in found.err and "dataset_info.json" in found.err


def test_a_stored_image_that_is_gone_stops_plan_and_launch(cli, project: Path) -> None:
    next(Path("data/images").glob("*/*")).unlink()
    found = cli("plan", "sft_unified", *SETS)
    # the image may be of test only; then nothing stops, so take them all
    shutil.rmtree("data/images")
    found = cli("sft", "sft_unified", *SETS)
    assert found.code == 2 and "nothing was started" in found.err and "stored images are missing" in found.err
    assert not Path("runs").exists()


def test_a_prompt_that_changed_since_conversion_is_refused(cli, project: Path) -> None:
    with open("prompts/sft/demo_quality.jinja", "a") as file:
        file.write(" Think twice.")
    found = cli("sft", "sft_unified", *SETS)
    assert found.code == 2 and "sft prompt has changed since it was converted" in found.out


def test_a_folder_that_is_no_checkpoint(cli, project: Path) -> None:
    found = cli("eval", "--ckpt", "data")
    assert found.code == 2 and "data is not a checkpoint: it has no config.json" in found.err
    found = cli("eval", "--ckpt", "./nowhere")
    assert found.code == 2 and "does not exist" in found.err


def test_a_prompt_too_long_is_found_before_the_launch(cli, project: Path) -> None:
    found = cli("plan", "sft_unified", *SETS, "--set", "sft.max_length=40")
    assert found.code == 2 and "sft.max_length is 40" in found.out and "--set sft.max_length=64" in found.out


def test_gpus_that_are_not_there(cli, project: Path) -> None:
    arguments = [*SETS[:2], "--hardware", "8x80gb", *SETS[4:]]
    found = cli("plan", "sft_unified", *arguments)
    assert found.code == 2 and "needs 8 GPUs on this node" in found.out


def test_dry_run_writes_a_plan_that_blocks_nothing(cli, project: Path) -> None:
    found = cli("sft", "sft_unified", *SETS, "--dry-run", "--name", "x")
    assert found.code == 0 and "llamafactory-cli train upstream.yaml" in found.out
    run = Path("runs/x")
    for name in ("recipe.yaml", "upstream.yaml", "command.sh", "env.json", "inputs.json", "status.json"):
        assert (run / name).exists(), name
    assert json.loads((run / "status.json").read_text())["state"] == "planned"
    assert cli("sft", "sft_unified", *SETS, "--dry-run", "--name", "x", "--set", "seed=1").code == 0
    assert os.access(run / "command.sh", os.X_OK)


def test_a_started_run_refuses_another_recipe_and_other_data(cli, project: Path) -> None:
    cli("sft", "sft_unified", *SETS, "--dry-run", "--name", "x")
    status = Path("runs/x/status.json")
    status.write_text(json.dumps({"state": "failed"}))
    found = cli("sft", "sft_unified", *SETS, "--name", "x", "--set", "sft.learning_rate=1e-3")
    assert found.code == 2 and "different now: sft.learning_rate" in found.err and "--name" in found.err
    with open("data/demo_safety/sft_train.json", "a") as file:
        file.write(" ")
    found = cli("sft", "sft_unified", *SETS, "--name", "x")
    assert found.code == 2 and "another data" in found.err and "demo_safety/sft_train.json" in found.err


def test_two_runs_of_one_name_at_once(cli, project: Path) -> None:
    from mtrl.core.rundir import Run

    cli("sft", "sft_unified", *SETS, "--dry-run", "--name", "x")
    code = (
        "import sys, time; from pathlib import Path; from mtrl.core.rundir import Run; lock = "
        "Run(Path('runs/x')).held(); lock.__enter__(); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        found = cli("sft", "sft_unified", *SETS, "--name", "x")
        assert found.code == 2 and "run x is running" in found.err
        assert Run(Path("runs/x")).locked()
        holder.kill()


def test_nothing_to_export_or_to_show(cli, project: Path) -> None:
    found = cli("export", "nope", "--out", "exports/x")
    assert found.code == 2 and "there is no run 'nope'" in found.err
    cli("sft", "sft_unified", *SETS, "--dry-run", "--name", "x")
    found = cli("export", "x", "--out", "exports/x")
    assert found.code == 2 and "has no checkpoint 'last'" in found.err
    assert "no runs in" not in cli("status").out
    assert cli("status", "nope").code == 2


def test_reward_explains_each_response(cli, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    lines = [
        {"response": "<think>a</think><answer>yes</answer>", "task": "t", "label": "yes"},
        {"response": "yes", "task": "t", "label": "yes"},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = cli("reward", file)
    assert found.code == 0 and "right" in found.out and "<think> occurs 0 times" in found.out and "0.5000" in found.out
    found = cli("reward", file, "--style", "sft")
    assert found.code == 0 and "not a bare yes or no" in " ".join(found.out.split()) and "0.5000" in found.out
    file.write_text('{"response": "x", "label": "maybe"}\n')
    found = cli("reward", file)
    assert found.code == 2 and "line 1" in found.err


def test_tables_show_the_papers_numbers_and_what_to_run(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = cli("tables")
    assert found.code == 0
    for words in ("81.75", "MT-RL-Judge", "mtrl rl recipes/rl_multitask.yaml", "60.59", "paper 4,839", "(2440/2399)"):
        assert words in found.out, words


def test_doctor_says_what_is_there(cli) -> None:
    found = cli("doctor")
    assert found.code == 0 and "transformers" in found.out


def test_the_makefile_names_only_real_commands() -> None:
    help_text = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in (
        "demo",
        "test",
        "sft-unified",
        "rl-multitask",
        "sft-single",
        "rl-single",
        "eval",
        "tables",
        "data",
        "setup",
    ):
        assert f"make {target} " in help_text
    shown = subprocess.run(
        ["make", "-n", "rl-multitask", "MODEL=tiny", "HARDWARE=cpu"], cwd=ROOT, capture_output=True, text=True
    )
    assert "mtrl rl recipes/rl_multitask.yaml --data data --model tiny --hardware cpu" in shown.stdout


@pytest.mark.parametrize("name", ["../x", "a/b", "/tmp/x", "..", ".", "", "-x", "a\nb", "x" * 129])
def test_a_runs_name_is_a_name(cli, project: Path, name: str) -> None:
    found = cli("sft", "sft_unified", *SETS, "--dry-run", f"--name={name}")
    if name:
        assert found.code == 2 and "is not a name" in found.err, found.err
    assert not list(project.parent.glob("x")) and {p.name for p in Path("runs").glob("*")} <= {"sft_unified-tiny-cpu"}


def test_an_evaluation_goes_below_runs_whatever_the_model_is_called(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mtrl.evaluate.judges import evaluation_folder

    shutil.copytree(tiny(), "judge")
    Path("judge/inner").mkdir()
    monkeypatch.chdir("judge")
    assert {evaluation_folder(ckpt, None) for ckpt in (".", "inner/..", "../judge")} == {Path("eval-judge")}
    assert evaluation_folder("some/..", None) == Path("eval-..") and evaluation_folder(None, "../../out side") == Path(
        "eval-..-..-out-side"
    )
