"""The data set of sft_traces: right answers alone, so many per row, verdicts balanced; and what is refused."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mtrl.backends import row_plan, traces
from mtrl.config import prompting, recipe, samples, tasks
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import UserError
from mtrl.core.rundir import Run
from mtrl.evaluate import judges
from mtrl.evaluate.engines.request import Request
from mtrl.preflight import times
from mtrl.reward_plugins.judge import parse
from mtrl.runs.export import export
from mtrl.runs.prepare import prepare
from tests.conftest import Result
from tests.unit import sifted
from tests.unit.launches import DATA, errors, preflight
from tests.unit.sifted import trace
from tests.unit.test_export import a_run
from tests.unit.test_scored import evaluate, judge

TASKS = ("demo_quality", "demo_safety")
SIFT = Path("runs/sift")


def load(*sets: str, names: tuple[str, ...] = TASKS) -> Recipe:
    return recipe.load("sft_traces", "tiny", "cpu", ",".join(names), sets=list(sets))


def mixed(request: Request) -> str:
    """Vote 0 is invalid, vote 1 wrong, and vote 2 and 3 say the same. Of `no` only half of the rows are ever right."""
    other = "no" if request.label == "yes" else "yes"
    if request.vote == 0:
        return request.label
    if request.vote == 1 or (request.label == "no" and int(request.images[0].stem[0], 16) % 2):
        return trace(other)
    return f"  {trace(request.label, request.id)}\n"


def test_right_answers_once_each_balanced_and_apart_from_what_validates(project: Path) -> None:
    sifted.make(SIFT, *TASKS, says=mixed)
    found, run = load("sft.traces_per_row=2"), Run(Path("runs/x"))
    prepare(run, found, DATA, "")
    known = json.loads((run.inputs / "sft/dataset_info.json").read_text())
    assert set(known) == {f"{name}_{split}" for name in TASKS for split in ("train", "val")}
    written = json.loads((run.path / "inputs.json").read_text())["traces"]
    assert (written["max_tokens"], written["own"]) == (16, False)
    for name in TASKS:
        rows = {row.id: row for row in samples.read(DATA, name, "train")}
        render = prompting.renderer(tasks.load(name), "rl")
        train, val = (json.loads((run.inputs / "sft" / known[f"{name}_{s}"]["file_name"]).read_text()) for s in SPLITS)
        for item in (*train, *val):
            row, (question, answer) = rows[item["id"]], item["messages"]
            assert question == {"role": "user", "content": render(row)} and item["images"] == list(row.images)
            assert answer == {"role": "assistant", "content": trace(row.answer, row.id)}
            assert parse(answer["content"], "rl") == row.answer
        ids = [item["id"] for item in train]
        assert len(set(ids)) == len(ids) and not set(ids) & {item["id"] for item in val}  # votes 2 and 3 are one text
        verdicts, kept = Counter(rows[id_].answer for id_ in ids), written["tasks"][name]
        assert verdicts["yes"] == verdicts["no"] > 50 and kept["verdicts"] == dict(verdicts)
        assert (kept["rows"], kept["traces"], kept["held_out"]) == (500, len(train), len(val))
        assert len(val) == kept["solved"] // 10 and 300 < kept["solved"] < 450
        # every right answer is trained on, or dropped for one reason
        assert kept["traces"] + sum(kept["dropped"].values()) == 2 * kept["solved"]
        assert kept["dropped"]["repeated"] == kept["solved"] and kept["dropped"]["balance"] > 50


SPLITS = ("train", "val")


@pytest.mark.parametrize("most", [1, 3])
def test_so_many_traces_of_a_row_by_the_recipes_seed(project: Path, most: int) -> None:
    sifted.make(SIFT, *TASKS)
    found = load(f"sft.traces_per_row={most}", "max_rows_per_task=40")
    made = traces.of_task(found, DATA, "demo_quality")
    rows = Counter(one.id for one in made.train)
    assert max(rows.values()) == most and len(made.val) == 4
    ids = [row for (row,) in samples.columns(DATA, "demo_quality", "train", "id")]
    chosen = {ids[number] for number in row_plan.of(found, Path("data"), "demo_quality").rows}
    assert rows.keys() | {one.id for one in made.val} <= chosen
    assert made == traces.of_task(load(*(f"sft.traces_per_row={most}", "max_rows_per_task=40")), DATA, "demo_quality")
    assert made.val != traces.of_task(load("seed=7", "max_rows_per_task=40"), DATA, "demo_quality").val


def test_no_verdict_has_more_traces_than_the_others_together() -> None:
    import random

    def counts(**there: int) -> dict[str, int]:
        made = [traces.Trace(str(n), label, "t") for label, count in there.items() for n in range(count)]
        return dict(Counter(one.label for one in traces._balanced(made, random.Random(1))))

    assert counts(yes=9, no=4) == {"yes": 4, "no": 4}
    assert counts(one=2, two=30, three=5) == {"one": 2, "two": 7, "three": 5}
    assert counts(one=3, two=4, three=5) == {"one": 3, "two": 4, "three": 5}
    assert counts(yes=3) == {} == counts()


def test_a_trace_with_a_control_token_is_dropped(project: Path) -> None:
    says = {0: "an <image>", 1: "the end<|im_end|>", 2: "plain", 3: "plain"}
    sifted.make(SIFT, *TASKS, says=lambda one: trace(one.label, says[one.vote]))
    made = traces.of_task(load(), DATA, "demo_quality")
    assert {one.text for one in made.train} == {trace("yes", "plain"), trace("no", "plain")}
    assert made.counts.dropped["control token"] == 1000 and made.counts.dropped["repeated"] == 500


def test_plan_says_what_trains_and_whose_traces_they_are(project: Path) -> None:
    sifted.make(SIFT, *TASKS, says=mixed)
    found = {check.text for check in preflight(load()) if check.level != "error"}
    other = [text for text in found if text.startswith("sift runs/sift: the traces are of another model, m, than ")]
    assert len(other) == 1 and other[0].endswith("this is distillation")
    kept = traces.of_task(load(), DATA, "demo_quality").counts
    assert (
        f"task demo_quality: {kept.solved} of 500 training rows have a correct trace; {kept.held_out} rows are held out"
        f" to validate, and {kept.traces} traces of the others train (yes {kept.traces // 2}, no {kept.traces // 2})"
    ) in found
    on_gpus = recipe.load("sft_traces", "qwen3-vl-4b", "8x80gb", ",".join(TASKS))
    assert "per update" in next(iter(times.check(on_gpus, DATA))).text
    updates = -(-traces.rows(load(), DATA) // 32)
    assert any(text.startswith(f"an epoch: {updates} updates") for text in found)
    shutil.rmtree(SIFT)
    own = judges.subject(load().model.path, "rl")
    sifted.make(SIFT, *TASKS, of=own)
    assert any(text.endswith("tiny, which is trained") for text in (check.text for check in preflight(load())))


def test_the_longest_trace_counts(project: Path) -> None:
    sifted.make(SIFT, "demo_quality", says=lambda one: trace(one.label, "It is a circle. " * 60))
    (wrong,) = errors(preflight(load(names=("demo_quality",))))
    assert wrong.startswith("demo_quality/train/") and "sft.max_length is 256" in wrong


def test_a_sift_of_something_else_is_refused(project: Path) -> None:
    def refused(*sets: str, names: tuple[str, ...] = TASKS) -> str:
        found = errors(preflight(load(*sets, names=names)))
        assert found
        return found[0]

    assert "runs/sift, the recipe's sift:, is no folder of mtrl sift" in refused()
    sifted.make(SIFT, "demo_quality")
    assert "no task demo_safety" in refused()
    lines = (SIFT / "predictions.jsonl").read_text().splitlines(keepends=True)
    (SIFT / "predictions.jsonl").write_text("".join(lines[:-1]))
    assert "not finished" in refused(names=("demo_quality",))
    sifted.make(SIFT, *TASKS)
    assert refused("max_rows_per_task=1").startswith("task demo_quality: ")  # one row validates, none is left
    assert any("is not converted" in text for text in errors(preflight(load(), Path("other"))))
    rows = list(samples.read(DATA, "demo_quality", "train"))
    file = samples.path_of(DATA, "demo_quality", "train")
    samples.write(file, [replace(rows[0], answer="no" if rows[0].answer == "yes" else "yes"), *rows[1:]])
    assert any("other rows or labels" in text for text in errors(preflight(load())))
    samples.write(file, rows)
    prompt = Path("prompts/rl/demo_quality.jinja")
    prompt.write_text(f"Look. {prompt.read_text()}")
    assert any("another prompt" in text for text in errors(preflight(load())))


def test_a_task_with_traces_of_one_verdict_is_refused(project: Path) -> None:
    sifted.make(SIFT, "demo_quality", says=lambda one: trace("yes"))
    (wrong,) = errors(preflight(load(names=("demo_quality",))))
    assert "in the sift runs/sift are of yes alone" in wrong


@pytest.mark.parametrize(
    ("name", "sets", "message"),
    [
        (
            "sft_unified",
            ["sift=runs/sift"],
            "sift is for method sft_traces and rl.keep_pass_rate, and this sft_unified",
        ),
        ("sft_unified", ["sft.traces_per_row=2"], "sft.traces_per_row is for method sft_traces"),
        ("sft_traces", ["sift=null"], "method sft_traces needs sift"),
        ("sft_traces", ["sft.traces_per_row=null"], "method sft_traces needs sft.traces_per_row"),
        ("sft_traces", ["style=sft"], "which trains on the rl prompts"),
        ("sft_traces", ["sft.batch_size=auto"], "sft.batch_size is auto, and the recipe trains on as many rows"),
    ],
)
def test_settings_that_do_not_go_together(name: str, sets: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipe.load(name, "tiny", "cpu", sets=sets)


def test_the_export_may_answer_as_long_as_the_sift(project: Path, tmp_path: Path) -> None:
    sifted.make(SIFT, *TASKS, of=judges.subject(load().model.path, "rl"))
    run = a_run(tmp_path, "sft_traces", [5])
    with pytest.raises(UserError, match="does not say how long the traces may be"):
        export(run, "last", tmp_path / "out")
    run.set("planned")
    prepare(run, load(), DATA, "")
    run.set("done")
    card = export(run, "last", tmp_path / "out")
    assert (card["method"], card["style"], card["max_new_tokens"]) == ("sft_traces", "rl", 32)


def test_a_run_does_not_resume_with_another_sift(project: Path, cli: Any) -> None:
    sifted.make(SIFT, *TASKS)
    run = Run(Path("runs/x"))
    prepare(run, load(), DATA, "")
    run.set("failed")
    shutil.rmtree(SIFT)
    sifted.make(SIFT, *TASKS, says=mixed)
    with pytest.raises(UserError, match=r"another data; different now: sift/predictions\.jsonl"):
        prepare(run, load(), DATA, "")


def test_tables_2_and_3_say_that_they_have_no_row_for_it(project: Path, cli: Any) -> None:
    evaluate(judge("mine", "sft_traces", *TASKS, style="rl"), TASKS, "mine/eval", trace("yes"))
    for number in (2, 3):
        done: Result = cli("tables", number)
        said = "runs/mine/eval: demo_quality (Table 2 has no row SFT-Traces)"
        assert done.code == 0 and (said in " ".join(done.out.split())) is (number == 2), done.out
    assert "SFT-Traces" in cli("tables").out


def test_the_hint_on_few_validations_has_numbers(project: Path, cli: Any) -> None:
    sifted.make(SIFT, *TASKS)
    done: Result = cli("plan", "sft_traces", "--tasks", ",".join(TASKS), "--model", "tiny", "--hardware", "cpu")
    assert "next: --set sft.validate_every=" in done.out + done.err and "=auto" not in done.out + done.err
