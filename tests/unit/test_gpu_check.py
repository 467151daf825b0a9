"""`make gpu-check` as far as it goes without a GPU: what it would train, how it goes on, what it says of what fails."""

from __future__ import annotations

import math
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from mtrl.config import recipe as recipes
from mtrl.config import sizes
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import read_json, write_json
from mtrl.core.rundir import Run
from mtrl.demo import gpu_check, gpu_plan, gpu_report, gpu_steps, random_model, walkthrough, watched
from mtrl.demo.gpu_report import Figures, Found, Report
from mtrl.demo.gpu_steps import Outcome, Step
from mtrl.preflight import memory, times
from mtrl.preflight.plan import preflight
from mtrl.preflight.rendered import Rendered
from tests.conftest import mtrl

H100 = "NVIDIA H100 80GB HBM3"


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """nvidia-smi shows one H100."""
    monkeypatch.setattr(gpu_plan, "names", lambda: [H100])
    monkeypatch.setattr(gpu_plan, "keep_interpreters", lambda form: None)


@pytest.fixture(scope="module")
def few(converted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The check's data, and the random model without its weights."""
    home = tmp_path_factory.mktemp("few")
    for name in ("raw", "data"):
        (home / name).symlink_to(converted / name)
    walkthrough.begin(home)
    done = mtrl("convert", gpu_plan.TASK, "--raw", "raw", "--out", "few", "--limit", gpu_plan.rows("gpu"), cwd=home)
    assert done.code == 0, done.err
    model = home / "recipes/models" / gpu_plan.MODEL
    model.mkdir(parents=True)
    write_json(model / "config.json", random_model.config(False, random_model.tokenizer(model)))
    return home


@pytest.mark.parametrize("form", ["gpu", "lite"])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_plan_accepts_every_training_and_estimates_it(
    few: Path, monkeypatch: pytest.MonkeyPatch, form: gpu_report.Form, count: int
) -> None:
    """On 1, 2 and 8 H100."""
    monkeypatch.chdir(few)
    gpu_plan.write_presets(form, [H100] * count, 85.0)
    kinds = set()
    for one in gpu_plan.trainings(form):
        if "LITE" in one.absent:
            continue
        data = Path(one.data)
        recipe = recipes.load(one.recipe, one.model, one.hardware, None, one.sets, data)
        run = Run(few / "runs" / one.name)
        rendered = Rendered(recipe, run, data)
        found = preflight(recipe, run, data, rendered, elsewhere=True)
        assert [check for check in found if check.level == "error"] == [], one.name
        kinds.add((recipe.trainer, bool(recipe.hardware.lora), recipe.hardware.deepspeed, recipe.hardware.world_size))
        if one.model == gpu_plan.MODEL:
            need = memory.need(recipe, rendered, 85.0)
            assert need and 2 < max(need.states, need.vllm) < 60 and need.estimated > 4
            took = times.of(recipe, data)
            assert took and 0 < took.step.seconds < 90, one.name
        assert not one.kill or recipe.model_dump()[one.stage]["validate_every"] * 2 == _total(recipe, data)
    world = 1 if form == "lite" else {1: 1, 3: 2, 8: 8}[count]
    assert {("llamafactory", True, None, world), ("trl", True, None, world)} <= kinds
    if form == "gpu":
        expected = {("llamafactory", False, "zero3"), ("easyr1", False, "zero3"), ("verl", False, "zero3")}
        assert {(*kind, world) for kind in expected} <= kinds


def _total(recipe: Recipe, data: Path) -> int:
    return sizes.schedule(recipe, sizes.rows(recipe, data)).total


def test_the_random_model_has_the_real_shape() -> None:
    preset = recipes.load("rl_multitask", "qwen3-vl-2b", "8x80gb").model
    names = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|endoftext|>", "<|im_end|>")
    shapes = random_model.shapes(random_model.config(False, dict.fromkeys(names, 0)))
    sums = {what: sum(math.prod(s) for n, s in shapes.items() if what in n) / 1e9 for what in ("", "visual", "embed_t")}
    assert sums[""] == pytest.approx(preset.parameters, rel=0.01)
    assert preset.shape and sums["visual"] == pytest.approx(preset.shape.vision, abs=0.01)
    assert sums[""] - sums["visual"] == pytest.approx(preset.shape.active, abs=0.01)


@pytest.mark.parametrize(
    ("gpu", "name"),
    [
        (H100, "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA RTX A1000", None),
    ],
)
def test_a_gpu_is_known_by_its_name(gpu: str, name: str | None) -> None:
    assert gpu_plan.named(gpu) == name


def test_lite_needs_few_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {one.name: one for one in gpu_plan.trainings("lite")}
    assert "upstream.grpo.use_vllm=false" in found["grpo-trl"].words and "vllm" not in found["grpo-trl"].absent
    assert "upstream.flash_attn=sdpa" in found["sft-lora"].words
    assert {name for name, one in found.items() if "LITE" in one.absent} == {"sft-full", "grpo-easyr1", "grpo-verl"}
    assert gpu_plan.scoring("lite") == "LITE has no vLLM"


def test_without_a_gpu_it_says_what_was_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu_plan, "names", lambda: [])
    monkeypatch.setattr(sys, "argv", ["gpu_check"])
    with pytest.raises(SystemExit) as end:
        gpu_check.main()
    said = capsys.readouterr()
    assert end.value.code == 2 and "next: make gpu-check CPU=1" in said.err
    assert "not checked: grpo-easyr1" in said.out and list(tmp_path.iterdir()) == []


def sh(text: str) -> partial[Outcome]:
    return partial(_sh, text)


def _sh(text: str, log: Path, until: float) -> Outcome:
    gpu_steps.run_command(("sh", "-c", text), log, until)
    return Outcome("it ran", Figures(step=2.0), Figures(step=1.0))


def test_a_failed_step_does_not_end_the_others_and_a_done_one_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: None
) -> None:
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "check"
    planned = [
        Step("counted", sh("echo x >> counted.txt")),
        Step("fails", sh("echo ValueError: no luck; test -e repaired || exit 3")),
        Step("after it", sh("true"), ("fails",)),
        Step("endless", sh("sleep 60"), limit=1),
        Step("no such trainer", sh("true"), absent="the environment of x is not built"),
    ]
    monkeypatch.setattr(gpu_check, "steps", lambda form, gpus: iter(planned))
    report = gpu_check.check(home, "gpu", 1)
    states = {found.name: (found.state, found.note) for found in report.found}
    assert states == {
        "counted": ("done", "it ran"),
        "fails": ("failed", "exit status 3: ValueError: no luck"),
        "after it": ("not checked", "fails is not done"),
        "endless": ("failed", "over 1 s"),
        "no such trainer": ("not checked", "the environment of x is not built"),
    }
    assert [found.name for found in report.failed] == ["fails", "endless"]
    table = (home / gpu_report.TABLE).read_text()
    assert "| fails | failed in 0 s: exit status 3: ValueError: no luck (logs/fails.txt) |" in table
    assert "| counted | done in 0 s: it ran | 2.00 | 1.00 | 0.50 |" in table
    assert "- no such trainer: the environment of x is not built" in table and H100 in table
    assert "no luck" in (home / "logs/fails.txt").read_text()

    (home / "repaired").touch()
    monkeypatch.chdir(tmp_path)
    report = gpu_check.check(home, "gpu", 1)
    assert {found.name: found.state for found in report.found} == {
        **dict.fromkeys(["counted", "fails", "after it"], "done"),
        "endless": "failed",
        "no such trainer": "not checked",
    }
    assert (home / "counted.txt").read_text() == "x\n"
    assert Report.model_validate(read_json(home / gpu_report.JSON)) == report

    written = report.model_dump(mode="json")
    write_json(home / gpu_report.JSON, written | {"versions": {"main": {"trl": "0.1", "torch": None}, "easyr1": {}}})
    with pytest.raises(UserError, match=r"is of trl 0\.1 in main, which now has 1"):
        gpu_check.check(home, "gpu", 1)
    write_json(home / gpu_report.JSON, written)
    monkeypatch.setattr(gpu_plan, "names", lambda: ["NVIDIA H200"])
    with pytest.raises(UserError, match="is of another check"):
        gpu_check.check(home, "gpu", 1)


def test_the_time_of_the_whole_check_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: None) -> None:
    monkeypatch.chdir(tmp_path)
    planned = [Step("long", sh("sleep 60")), Step("next", sh("true"))]
    monkeypatch.setattr(gpu_check, "steps", lambda form, gpus: iter(planned))
    begun = time.monotonic()
    report = gpu_check.check(tmp_path / "check", "gpu", 1 / 60)
    assert time.monotonic() - begun < 10
    notes = {found.note for found in report.found}
    assert notes == {"the time of the check is over: the same command goes on"} and not report.failed


def test_a_kill_reaches_processes_in_other_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun and Ray start theirs in sessions of their own."""
    script = "import os, subprocess, time; p = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
    script += "open('pid', 'w').write(f'{p.pid} '); time.sleep(60)"
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "pid"
    code = watched.run(
        [sys.executable, "-c", script], tmp_path / "log", time.monotonic() + 30,
        lambda pid: file.exists() and file.read_text().endswith(" "),
    )  # fmt: skip
    assert code is None
    left = Path(f"/proc/{file.read_text().strip()}/stat")  # there while nobody has waited for it, as a zombie
    deadline = time.monotonic() + 5
    while left.exists() and " Z " not in left.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(watched.OutOfTime):
        watched.run(["sleep", "60"], tmp_path / "log", time.monotonic() + 0.3)


def test_a_training_that_does_not_resume_is_found(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    before = "Saving model checkpoint to x/checkpoint-6\n"
    log.write_text(before + "resuming from checkpoint-60\nSaving model checkpoint to x/checkpoint-6\n")
    assert not gpu_steps.resumed(log, len(before), "checkpoint-6")
    for said, name in (
        ("resuming from checkpoint-6", "checkpoint-6"),  # jobs/grpo.py
        ("Resuming training from /r/checkpoint-6.", "checkpoint-6"),  # LLaMA-Factory
        ("Load from checkpoint: /r/global_step_6.", "global_step_6"),  # EasyR1
        ("Load from checkpoint folder: /r/global_step_6", "global_step_6"),  # verl
    ):
        log.write_text(f"{before}{said}\n")
        assert gpu_steps.resumed(log, len(before), name)


def test_the_address_of_mtrl_serve_is_that_of_this_attempt(tmp_path: Path) -> None:
    log, before = tmp_path / "log", "serving judge at http://127.0.0.1:1 (Ctrl-C ends it). For example:\n"
    log.write_text(f"{before}starting vLLM\n")
    assert gpu_steps.served_at(log, 0) == "http://127.0.0.1:1" and gpu_steps.served_at(log, len(before)) == ""


def test_a_result_below_what_was_expected_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_json(Path("eval/sft-tiny/metrics.json"), {gpu_plan.TASK: {"accuracy": 0.5}})
    one = next(one for one in gpu_plan.trainings("cpu") if one.name == "sft-tiny")
    monkeypatch.setattr(gpu_steps, "mtrl_command", lambda words, log, until: Outcome())
    with pytest.raises(MtrlError, match=r"accuracy 0\.500 on the test split, below 0\.9"):
        gpu_steps.score(one, Path("log"), 0)


def test_a_part_that_was_not_measured_has_no_ratio() -> None:
    report = Report(form="cpu", gpus=[], found=[Found(name="a", state="done", measured=Figures(step=3))])
    assert "| a | done in 0 s | 3.00 |  |  |  |  |  |" in gpu_report.markdown(report)
    assert "no GPU was used" in gpu_report.markdown(report) and "GPUs: none" in gpu_report.markdown(report)
