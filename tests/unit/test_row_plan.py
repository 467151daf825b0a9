"""Which rows a training draws: seeded, counted, in the order of the rules, the same for every trainer, and recorded."""

from __future__ import annotations

import json
import random
import re
import shlex
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtrl.backends import row_plan
from mtrl.config import drawn, recipe, samples
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import UserError
from mtrl.core.files import read_json
from mtrl.core.rundir import Run
from mtrl.evaluate import judges, sift
from mtrl.evaluate.engines.request import Request
from mtrl.reward_plugins.judge import compute_score
from mtrl.runs.prepare import prepare
from tests.conftest import Result
from tests.unit import sifted
from tests.unit.launches import DATA, errors, preflight
from tests.unit.sifted import VOTES, trace
from tests.unit.test_inputs import BACKENDS, rows

TASKS = "tasks=demo_quality,demo_safety"
SIFT = Path("runs/sift")
KEEP = [f"sift={SIFT}", "rl.keep_pass_rate=[0.25,0.75]"]


def load(*sets: str, name: str = "rl_multitask") -> Recipe:
    return recipe.load(name, "tiny", "cpu", sets=[TASKS, *sets])


def graded(request: Request) -> str:
    """The first image of three is answered right in no vote, the second in one of two, the third in all."""
    third = int(request.id.encode().hex(), 16) % 3
    right = request.vote % 2 < third if third < 2 else True
    return trace(request.label if right else {"yes": "no", "no": "yes"}[request.label])


def make(says: sifted.Says = graded, style: str = "rl") -> None:
    sifted.make(SIFT, "demo_quality", "demo_safety", says=says, of=judges.subject(load().model.path, style))


@settings(max_examples=50)
@given(st.integers(1, 200), st.none() | st.integers(1, 250), st.none() | st.floats(0.01, 5), st.integers(0, 3))
def test_the_rows_of_a_mix(there: int, cap: int | None, weight: float | None, seed: int) -> None:
    sets = [f"max_rows_per_task={cap}"] * bool(cap) + [f"rl.mix.demo_safety={weight}"] * bool(weight)
    found = load(f"seed={seed}", *sets)
    numbers, weight = list(range(3, 3 + there)), weight or 1.0
    kept, rows = drawn.capped(numbers, found, "demo_safety"), drawn.rows(numbers, found, "demo_safety")
    assert rows == drawn.rows(numbers, found, "demo_safety") == sorted(rows) and set(rows) <= set(kept) <= set(numbers)
    assert len(kept) == min(there, cap or there) and abs(len(rows) - weight * len(kept)) <= 0.5 + 1e-6
    times = Counter(rows)
    assert {times[row] for row in kept} <= {int(weight), int(weight) + 1}
    assert drawn.rows(numbers, found, "demo_quality") == drawn.capped(numbers, found, "demo_quality")  # weight 1


def test_the_seed_draws_other_rows() -> None:
    half = [drawn.rows(range(500), load("rl.mix.demo_safety=0.5", f"seed={seed}"), "demo_safety") for seed in (1, 2)]
    assert [len(rows) for rows in half] == [250, 250] and half[0] != half[1]


def test_the_sift_first_then_the_cap_then_the_mix(project: Path) -> None:
    make()
    half = {row.id for row in sift.load(SIFT).rows["demo_safety"] if row.pass_rate == 0.5}
    within = [n for n, (row,) in enumerate(samples.columns(DATA, "demo_safety", "train", "id")) if row in half]
    lines = (SIFT / "predictions.jsonl").read_text().splitlines(keepends=True)
    random.Random(1).shuffle(lines)  # vLLM finishes answers in an order of its own
    (SIFT / "predictions.jsonl").write_text("".join(lines))
    assert 0 < len(within) < 500
    assert row_plan.of(load(*KEEP), DATA, "demo_safety").rows == within
    both = load(*KEEP, "max_rows_per_task=20", "rl.mix={demo_safety: 2.5}")
    plan = row_plan.of(both, DATA, "demo_safety")
    twice = sorted([*drawn.capped(within, both, "demo_safety")] * 2)
    assert not Counter(twice) - Counter(plan.rows) and len(plan.rows) == 50 and set(plan.rows) <= set(within)
    counts = plan.counts
    assert (counts.converted, counts.kept, counts.capped, counts.weight, counts.drawn) == (
        500,
        len(within),
        20,
        2.5,
        50,
    )
    plain = row_plan.of(load(), DATA, "demo_safety")
    assert plain.rows == list(range(500)) and plain.equal is None


@pytest.mark.parametrize("rules", [["rl.mix.demo_safety=2.25"], [*KEEP, "max_rows_per_task=40", "style=rl"]])
def test_every_trainer_is_given_the_same_rows(project: Path, tmp_path: Path, rules: list[str]) -> None:
    make()
    written = {backend: rows(backend, project, tmp_path, *rules) for backend in BACKENDS}
    assert written["trl"] == written["easyr1"] == written["verl"]
    wanted = {task: row_plan.of(load(*rules), DATA, task).rows for task in ("demo_quality", "demo_safety")}
    for (split, task), there in written["trl"].items():
        ids = [row.id for row in samples.read(DATA, task, split)]
        expected = [ids[row] for row in wanted[task]] if split == "train" else ids
        truths = [json.loads(truth)["id"] for _, truth in there]
        assert [name.partition(" (")[0] for name in truths] == expected and len(set(truths)) == len(truths)


def test_copies_of_a_row_are_groups_of_their_own(project: Path, tmp_path: Path) -> None:
    first, second = (
        truth for _, truth in rows("trl", project, tmp_path, "rl.mix.demo_safety=2")["train", "demo_safety"][:2]
    )
    label = json.loads(first)["label"]
    answers = [(trace(label), first), (trace(label), first), ("?", second), (trace(label), second)]
    scores = compute_score([{"response": text, "ground_truth": truth} for text, truth in answers])
    assert [row["zero_variance_demo_safety"] for row in scores] == [1.0, 1.0, 0.0, 0.0]


def test_plan_says_what_the_subset_saves(project: Path, cli) -> None:
    make()
    found = load(*KEEP, "rl.n=4", "rl.mix.demo_safety=2")
    plan = row_plan.of(found, DATA, "demo_safety")
    rates = [row.pass_rate for row in sift.load(SIFT).rows["demo_safety"]]
    assert plan.equal and plan.equal.after == pytest.approx(2 * 0.5**4) and plan.equal.votes == VOTES
    assert plan.equal.before == pytest.approx(sum(p**4 + (1 - p) ** 4 for p in rates) / len(rates))
    sets = [part for one in (*KEEP, "rl.n=4", "rl.mix.demo_safety=2", TASKS) for part in ("--set", one)]
    done: Result = cli("plan", "rl_multitask", "--model", "tiny", "--hardware", "cpu", *sets)
    said = " ".join(done.out.split())
    kept, share = plan.counts.kept, plan.counts.drawn / 500
    assert (
        f"task demo_safety: of 500 rows rl.keep_pass_rate 0.25 to 0.75 keeps {kept}, rl.mix 2 draws {2 * kept}" in said
    )
    assert f"{share:.0%} of the rollouts of all; groups of equal rewards, expected from 4 votes per row:" in said
    assert f"{plan.equal.before:.0%} before, 12% after" in said
    total = sum(row_plan.of(found, DATA, task).counts.drawn for task in found.tasks)
    assert f"an epoch: {total // 8} rollouts" in said


def test_a_run_records_its_rows_and_resumes_with_no_others(project: Path) -> None:
    run = Run(Path("runs/x"))
    found = load("rl.mix.demo_safety=1.5")
    prepare(run, found, DATA, "")
    counts = row_plan.of(found, DATA, "demo_safety").counts
    assert read_json(run.path / "inputs.json")["rows"]["demo_safety"] == counts.model_dump()
    assert run.started_with.rows["demo_safety"] == counts and "rows" not in run.hashes
    run.set("failed")
    prepare(run, found, DATA, "")
    with pytest.raises(UserError, match=r"another recipe; different now: rl\.mix\.demo_safety"):
        prepare(run, load("rl.mix.demo_safety=2"), DATA, "")
    recorded = read_json(run.path / "inputs.json")
    recorded["rows"]["demo_safety"]["sha256"] = "0" * 64
    (run.path / "inputs.json").write_text(json.dumps(recorded))
    with pytest.raises(UserError, match=r"another choice of rows; different now: demo_safety\.sha256"):
        prepare(run, found, DATA, "")
    shutil.rmtree(run.path)
    make()
    prepare(run, load(*KEEP), DATA, "")
    run.set("failed")
    shutil.rmtree(SIFT)
    make(lambda one: graded(one).replace("It looks", "That looks"))
    with pytest.raises(UserError, match=r"another data; different now: sift/predictions\.jsonl"):
        prepare(run, load(*KEEP), DATA, "")


def test_a_run_of_an_earlier_mtrl_resumes(project: Path) -> None:
    run, found = Run(Path("runs/x")), load("max_rows_per_task=30")
    prepare(run, found, DATA, "")
    run.set("failed")
    recorded = read_json(run.path / "inputs.json")
    del recorded["rows"]  # as an earlier mtrl wrote it
    (run.path / "inputs.json").write_text(json.dumps(recorded))
    prepare(run, found, DATA, "")


@pytest.mark.parametrize(
    ("sets", "message", "then"),
    [
        (["rl.keep_pass_rate=[0.2,0.8]"], "rl.keep_pass_rate needs sift", "mtrl sift --ckpt "),
        (
            [f"sift={SIFT}"],
            "sift is for method sft_traces and rl.keep_pass_rate, and this rl_multitask does not use it",
            "--set sift=null, or --set 'rl.keep_pass_rate=[0.1,0.9]'",
        ),
        ([KEEP[0], "rl.keep_pass_rate=[0.8,0.2]"], "0.8 is more than 0.2", "--set 'rl.keep_pass_rate=[0.2,0.8]'"),
        *(
            (
                [KEEP[0], f"rl.keep_pass_rate={bounds}"],
                "rl.keep_pass_rate: it should be [lowest, highest], two shares from 0 to 1",
                "--set 'rl.keep_pass_rate=[0.1,0.9]'",
            )
            for bounds in ("[0,1.5]", "[-0.1,1]", "[10,90]", "0.5", "[0.5]", "[a,0.5]", "[0.1,0.5,0.9]")
        ),
        (
            ["rl.mix.demo_pairs=2", "rl.mix.demo_safety=2"],
            "rl.mix has demo_pairs, and the recipe's tasks are demo_quality, demo_safety",
            "--tasks demo_quality,demo_safety,demo_pairs, or --set 'rl.mix={\"demo_safety\":2.0}'",
        ),
        (["rl.mix.demo_pairs=2"], "rl.mix has demo_pairs", "or --set rl.mix=null"),
        (["rl.mix.demo_safety=0"], "greater than 0", "--set rl.mix.demo_safety=1; to leave the task out"),
        (["rl.mix.demo_safety=-1"], "demo_safety is -1", "--set rl.mix.demo_safety=1"),
        (["rl.mix.demo_safety=1000"], "at most 100", "--set rl.mix.demo_safety=1"),
        (
            [*KEEP, "rl.batch_size=auto"],
            "rl.batch_size is auto, and the recipe trains on as many rows as its sift leaves",
            "--set rl.batch_size=N",
        ),
    ],
)
def test_settings_that_do_not_go_together(sets: list[str], message: str, then: str) -> None:
    with pytest.raises(UserError) as refused:
        load(*sets)
    assert message in str(refused.value) and then in refused.value.then
    ways = [shlex.split(way)[:2] for way in re.split(", or |; ", refused.value.then)]
    for way in ways:
        if way and way[0] in ("--set", "--tasks") and "=N" not in way[1]:
            load(*sets, way[1] if way[0] == "--set" else f"tasks={way[1]}")  # as printed, it helps


def test_the_next_command_of_settings_of_sft() -> None:
    for name, sets, then in (
        ("sft_unified", [f"sift={SIFT}"], "--set sift=null"),
        ("sft_unified", ["sft.traces_per_row=2"], "--set sft.traces_per_row=null"),
        ("sft_traces", [f"sift={SIFT}", "sft.traces_per_row=null"], "--set sft.traces_per_row=1"),
        ("sft_traces", ["sift=null"], f"mtrl sift --ckpt {load().model.path} --tasks demo_quality,demo_safety"),
    ):
        with pytest.raises(UserError) as refused:
            load(*sets, name=name)
        assert refused.value.then == then


def test_a_refused_dry_run_leaves_nothing(project: Path, cli) -> None:
    presets = ["--model", "tiny", "--hardware", "cpu", "--tasks", "demo_quality", "--dry-run", "--name", "x"]
    kept = [part for one in KEEP for part in ("--set", one)]
    refused = cli("rl", "rl_multitask", *presets, *kept)
    assert refused.code == 2 and "is no folder of mtrl sift" in refused.err and not Path("runs/x").exists()
    assert cli("rl", "rl_multitask", *presets).code == 0
    before = {file: file.read_bytes() for file in Path("runs/x").rglob("*") if file.is_file()}
    assert cli("rl", "rl_multitask", *presets, *kept).code == 2
    assert {file: file.read_bytes() for file in Path("runs/x").rglob("*") if file.is_file()} == before


def test_plan_says_what_is_drawn(project: Path) -> None:
    def said(*sets: str) -> str:
        return next(one.text for one in preflight(load(*sets)) if one.text.startswith("task demo_safety: train"))

    assert said("rl.mix.demo_safety=0.5") == "task demo_safety: train 250 of 500, val 100 rows"
    assert said("rl.mix.demo_safety=2") == "task demo_safety: train 500 (1,000 draws per epoch), val 100 rows"
    both = said("max_rows_per_task=60", "rl.mix.demo_safety=1.5")
    assert both == "task demo_safety: train 60 of 500 (90 draws per epoch), val 100 rows"


def test_sft_has_no_mix() -> None:
    with pytest.raises(UserError, match="this key belongs to RL"):
        load("rl.mix.demo_safety=2", name="sft_unified")


def plan_error(*sets: str) -> tuple[str, str]:
    """The first error of plan, and the command that it names."""
    first = next(check for check in preflight(load(*sets)) if check.level == "error")
    return first.text, first.then


def test_a_sift_that_does_not_fit_is_refused(project: Path) -> None:
    text, then = plan_error(*KEEP)
    assert "runs/sift, the recipe's sift:, is no folder of mtrl sift" in text and then.startswith("mtrl sift --ckpt")
    make()
    assert errors(preflight(load(*KEEP))) == []
    for sets, words in (
        (["style=sft"], "asked in the style rl, not sft"),
        (["tasks=demo_quality,demo_alignment"], "it has no task demo_alignment"),
        (["model.path=somebody/else"], "it is of another model"),
        (["rl.keep_pass_rate=[0.6,0.7]"], "keeps none of the 500 rows of task demo_quality"),
    ):
        text, then = plan_error(*KEEP, *sets)
        assert words in text, text
        assert then
    with (project / "prompts/rl/demo_quality.jinja").open("a") as prompt:
        prompt.write(" Think.")
    assert any("task demo_quality was asked with another prompt" in text for text in errors(preflight(load(*KEEP))))


def test_the_next_command_after_a_sift_of_an_export_asks_with_the_local_prompts(project: Path) -> None:
    (project / "exports/x/task_files").mkdir(parents=True)
    with pytest.raises(UserError) as refused:
        row_plan.sifted(load(*KEEP, "model.path=exports/x"), DATA)
    assert "--prompts local" in str(refused.value.then)


def test_a_sift_of_other_labels_is_refused(project: Path) -> None:
    make()
    file = samples.path_of(DATA, "demo_safety", "train")
    there = list(samples.read(DATA, "demo_safety", "train"))
    samples.write(file, [*there[1:], there[0]])
    assert any("task demo_safety had other rows or labels in data" in text for text in errors(preflight(load(*KEEP))))


def test_an_unfinished_sift_is_refused(project: Path) -> None:
    make()
    lines = (SIFT / "predictions.jsonl").read_text().splitlines(keepends=True)
    (SIFT / "predictions.jsonl").write_text("".join(lines[:-3]))
    text, then = plan_error(*KEEP)
    assert "runs/sift is not finished: 1,997 of 2,000 votes on task demo_safety are answered" in text
    assert then.startswith("mtrl sift --ckpt ") and then.endswith(
        "--tasks demo_quality,demo_safety --votes 4 --style rl --out runs/sift"
    )


def test_a_weight_that_draws_no_row_is_refused(project: Path) -> None:
    text, then = plan_error("max_rows_per_task=20", "rl.mix.demo_safety=0.01")
    assert text == "rl.mix.demo_safety 0.01 draws none of 20 rows" and then.startswith("--set rl.mix.demo_safety=1")
