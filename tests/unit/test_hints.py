"""Every command line that a user is told to type works as printed: quoted, and with the folders that were given."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
import typer

from mtrl.cli import app
from mtrl.config import recipe
from mtrl.core import hints
from mtrl.core.files import sha256_file, write_json
from mtrl.core.rundir import Run
from mtrl.demo.walkthrough import tiny
from tests import hinted


def options(verb: str) -> set[str]:
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    return {name for parameter in command.params for name in parameter.opts}


def test_the_folders_are_named_by_options_that_each_command_has() -> None:
    for places in (hints.DATA, hints.RUNS, hints.RAW):
        for verb, option in places.items():
            assert option in options(verb), (verb, option)
    for verb in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        for option, places in (("--data", hints.DATA), ("--runs", hints.RUNS)):
            assert option not in options(verb) or places.get(verb) == option, (verb, option)


def test_a_line_is_quoted_and_leaves_defaults_out() -> None:
    found = hints.line(
        "sft", "my recipe.yaml", set=["a=1", "b=x y"], model=None, dry_run=True, data=Path("data"), runs="my runs"
    )
    assert found == "mtrl sft 'my recipe.yaml' --set a=1 --set 'b=x y' --dry-run --runs 'my runs'"


@pytest.mark.parametrize(
    ("text", "verb", "given", "expected"),
    [
        ("mtrl status x", "export", {"runs": Path("my runs")}, "mtrl status --runs 'my runs' x"),
        ("mtrl status x --runs r", "export", {"runs": Path("q")}, "mtrl status x --runs r"),
        ("mtrl convert t --raw raw", "check", {"data": Path("d")}, "mtrl convert --out d t --raw raw"),
        ("mtrl check t", "convert", {"out": Path("d"), "raw": Path("my raw")}, "mtrl check --data d t"),
        ("mtrl convert t --raw raw", "reproduce", {"raw": Path("my raw")}, "mtrl convert t --raw 'my raw'"),
        ("mtrl fetch t --out raw", "convert", {"raw": Path("r s")}, "mtrl fetch t --out 'r s'"),
        ("mtrl tasks", "plan", {"data": Path("data")}, "mtrl tasks"),
        ("mtrl doctor", "eval", {"data": Path("d"), "runs": Path("r")}, "mtrl doctor"),
        ("pass --name", "sft", {"runs": Path("r")}, "pass --name"),
        ("mtrl", "sft", {"runs": Path("r")}, "mtrl"),
    ],
)
def test_the_next_command_looks_where_this_one_looked(text: str, verb: str, given: dict, expected: str) -> None:
    assert hints.carried(text, given, verb) == expected
    assert shlex.split(expected)


def test_an_errors_next_command_carries_the_folders(cli, tmp_path: Path) -> None:
    found = cli("export", "nope", "--out", tmp_path / "x", "--runs", tmp_path / "my runs")
    assert found.code == 2 and found.err.endswith(f"next: mtrl status --runs '{tmp_path}/my runs'\n")


def test_a_finding_and_a_notes_next_command_carry_them_too(cli, project: Path) -> None:
    found = cli("status", "--runs", "my runs")
    assert "next: mtrl tasks" in found.out
    shutil.copytree("data", "my data")
    shutil.rmtree("my data/demo_quality")
    plan = cli(
        "plan", "sft_single", "--tasks", "demo_quality", "--model", "tiny", "--hardware", "cpu", "--data", "my data"
    )
    assert plan.code == 2 and "--out 'my data'" in plan.out
    exported("one")
    done = cli("sft", "sft_unified", "--model", "tiny", "--hardware", "cpu", "--set", "tasks=demo_quality,demo_safety",
               "--name", "one", "--runs", "./runs")  # fmt: skip
    assert "next: mtrl export one --out exports/one-2" in done.out, done.err
    tables = cli("tables", "2", "--runs", "my runs")
    assert "  mtrl sft --runs 'my runs' recipes/sft_unified.yaml" in tables.out


def test_plan_prints_the_very_command_that_it_planned(cli, project: Path) -> None:
    given = ["--model", "tiny", "--hardware", "cpu", "--set", "tasks=demo_quality,demo_safety", "--data", "data"]
    found = cli("plan", "sft_unified", *given, "--set", "upstream.run_name=a b")
    assert found.code == 0, found.out + found.err
    ready = next(line for line in found.out.splitlines() if line.startswith("ready: "))
    words = shlex.split(ready.removeprefix("ready: "))
    assert words[:3] == ["mtrl", "sft", "sft_unified"] and "upstream.run_name=a b" in words
    dry = cli(*words[1:], "--dry-run", "--name", "x")
    assert dry.code == 0, dry.err
    assert "run_name: a b" in Path("runs/x/upstream.yaml").read_text()


def test_a_recipe_of_the_other_stage_is_named_with_all_options(cli, project: Path) -> None:
    found = cli(
        "sft", "rl_single", "--tasks", "demo_quality", "--model", "tiny", "--hardware", "cpu", "--data", "./data"
    )
    line = found.err.split("next: ")[1].strip()
    assert line.startswith("mtrl rl ") and "--tasks demo_quality" in line
    assert cli(*shlex.split(line)[1:], "--dry-run", "--name", "x").code == 0


def test_a_name_that_is_free(tmp_path: Path) -> None:
    assert hints.free(str(tmp_path), "x") == tmp_path / "x"
    (tmp_path / "x").mkdir()
    assert hints.free(str(tmp_path), "x", "-step-7") == tmp_path / "x-step-7"


def exported(run: str, method: str = "sft_unified") -> None:
    """An export of the tiny model, as mtrl export leaves it, of a run that is done."""
    found = recipe.load(method, "tiny", "cpu", None, ["tasks=demo_quality,demo_safety"])
    one = Run(Path("runs") / run)
    one.claim(found.model_dump(mode="json", exclude_none=True), {})
    one.set("done", started=1.0, data=str(Path("data").resolve()))
    shutil.copytree(tiny(), f"exports/{run}")
    about = {"method": method, "style": found.style, "image": found.image.model_dump(), "max_new_tokens": 16, "step": 3}
    files = {file.name: sha256_file(file) for file in Path("exports", run).iterdir()}
    about |= {"tasks": found.tasks, "run": run, "recipe": found.model_dump(mode="json"), "files": files}
    write_json(Path("exports") / run / "mtrl.json", about)


PRESETS = "--model tiny --hardware cpu"
PROVOKED = [
    f"sft rl_multitask {PRESETS} --set tasks=demo_quality",
    f"rl sft_single {PRESETS} --tasks demo_safety --name 'a name'",
    f"sft zero_shot {PRESETS}",
    f"plan zero_shot {PRESETS}",
    f"plan sft_unified {PRESETS} --set tasks=demo_quality,demo_pairs",
    f"plan rl_single {PRESETS} --tasks demo_quality --set 'upstream.run_name=a b'",
    f"plan sft_unified {PRESETS} --set tasks=demo_quality --data 'my data'",
    f"sft sft_unified {PRESETS} --set tasks=demo_quality,demo_safety --name one",
    "export nope --out exports/y",
    "export nope --out exports/y --runs 'my runs'",
    "export one --out exports/y --step best",
    "export one --out exports/y --step 7",
    "status nope",
    "status --runs 'my runs'",
    "select one",
    "eval --ckpt runs/one",
    "eval --ckpt exports/one --tasks demo_alignment --data 'my data'",
    "eval --ckpt exports/one --tasks nope",
    "check nope",
    "check demo_quality --data 'my data'",
    "convert nope --raw raw",
    "tables 1",
    "tables",
    "tables --runs 'my runs' --data 'my data'",
    "score nowhere",
    "compare one nope",
    f"reproduce table2 {PRESETS} --data 'my data' --set sft.epochs=1 --only sft_single",
    f"reproduce table2 {PRESETS} --dry-run",
    f"reproduce table2 {PRESETS} --dry-run --data 'my data' --runs 'my runs'",
]


def test_every_next_command_works_as_printed(cli, project: Path) -> None:
    exported("one")
    Path("my runs").mkdir()
    told: dict[str, None] = {}
    for typed in PROVOKED:
        found = cli(*shlex.split(typed))
        assert "Traceback" not in found.err
        assert found.code == 0 or "next: " in found.err, typed
        lines = hinted.collect(found.out + found.err)
        lines += [line for line in found.out.splitlines() if line.startswith("mtrl ")]
        for line in lines:
            later = {"reproduce": ("eval", "export", "select"), "tables": ("eval",)}.get(typed.split()[0], ())
            if "my data" in typed:  # which is not converted yet
                later = (*later, "sft", "rl")
            if shlex.split(line)[1] not in later:
                told[line] = None
    assert len(told) > 25 and {line.split()[1] for line in told} >= {"convert", "eval", "export", "status", "sft"}
    for line in told:
        hinted.tried(line, cli)
