"""The numbers of a table: of the right judge and of today's data, and marked with the reason where that is not sure."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mtrl.config import recipe
from mtrl.core.errors import UserError
from mtrl.demo.walkthrough import tiny
from mtrl.evaluate import predictions, run, scores
from mtrl.evaluate.engines.base import Answer
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.identity import Identity
from mtrl.evaluate.judges import served, subject
from mtrl.evaluate.metrics.task import SCHEMA
from mtrl.evaluate.recording import Recording
from mtrl.evaluate.subject import Subject
from mtrl.paper import results, scored, tables
from tests.conftest import DEMO
from tests.unit.metrics_fixture import task_metrics
from tests.unit.test_tables import texts

DATA, RUNS = Path("data"), Path("runs")


class Always:
    """An engine that gives everything one answer."""

    def __init__(self, text: str) -> None:
        self.text = text

    def describe(self) -> dict[str, Any]:
        return {"engine": "test"}

    def answers(self, asked: Iterable[Request], _: Any) -> Iterator[Answer]:
        return (Answer(one, self.text, 1, "stop", 0.1) for one in asked)


def evaluate(judge: Subject, tasks: Iterable[str], out: str, answer: str = "yes") -> scores.Scores:
    return run.evaluate(
        judge, list(tasks), DATA, "test", RUNS / out, 1, None, lambda *_: Always(answer), lambda *_: None
    )


def judge(name: str, method: str = "sft_single", *trained_on: str, **more: Any) -> Subject:
    """A judge that an endpoint serves under this name."""
    told = served(name)
    return replace(told, method=method, trained=trained_on, run=name if trained_on else "", model="tiny", **more)


def row(label: str, number: int = 2) -> dict[str, str]:
    return texts(results.of_runs(number, RUNS, DATA).rows)[label]


def test_six_single_judges_fill_their_own_columns_only(project: Path, cli) -> None:
    """Each scored on all tasks, as an older mtrl did by itself: the last one scored must not take every column."""
    for task in DEMO:
        evaluate(judge(f"sft_single-{task}", "sft_single", task), DEMO, f"sft_single-{task}/eval")
    found = scored.rows("sft_single", scored.everything(RUNS, DATA)[0])
    assert {t: c.name for t, c in found["SFT-Single"].items()} == {t: f"sft_single-{t}" for t in DEMO}
    done = cli("tables", 2)
    assert done.code == 0 and "SFT-Single of demo_quality: not trained on this task" in " ".join(done.out.split())
    assert "Judges: SFT-Single = sft_single-demo_quality, sft_single-demo_alignment, sft_single-demo_safety" in done.out


def test_single_judges_of_two_kinds_make_two_rows(project: Path) -> None:
    for stem in ("big", "small"):
        for task in DEMO[:2]:
            evaluate(judge(f"{stem}-{task}", "sft_single", task), [task], f"{stem}-{task}/eval")
    assert set(results.of_runs(2, RUNS, DATA).rows.index) >= {"SFT-Single: big", "SFT-Single: small"}


def test_a_judge_is_scored_on_what_it_was_trained_on(project: Path) -> None:
    assert judge("a", "sft_single", "demo_safety").default_tasks == ["demo_safety"]
    assert judge("a", "sft_unified", "mine", "demo_safety").default_tasks == ["mine", "demo_safety"]
    assert judge("a", "sft_unified", "demo_safety").default_tasks == judge("b", "zero_shot").default_tasks == list(DEMO)


def test_eval_without_tasks_scores_its_own_and_says_how_to_score_others(project: Path, cli) -> None:
    from tests.unit.standin import completion, standin

    shutil.copytree(tiny(), "exports/x")
    found = recipe.load("sft_single", "tiny", "cpu", "demo_safety").model_dump(mode="json")
    card = {"method": "sft_single", "style": "sft", "image": found["image"], "max_new_tokens": 16, "step": 3}
    Path("exports/x/mtrl.json").write_text(
        json.dumps({**card, "tasks": ["demo_safety"], "run": "mine", "recipe": found, "files": {}})
    )
    with standin(lambda *_: completion("yes")) as server:
        done = cli("eval", "--endpoint", server.url, "--served-model", "m", "--ckpt", "exports/x")
    assert done.code == 0, done.err
    assert "demo_safety" in done.out and "Pass --tasks A,B for others" in done.out
    result = json.loads(Path("runs/eval-m/metrics.json").read_text())
    assert set(DEMO) & set(result) == {"demo_safety"}
    assert result["judged_by"] == {"name": "m", "step": 3, "model": "tiny", "trained_on": ["demo_safety"]}


def test_two_judges_of_one_method_are_two_rows_that_name_them(project: Path) -> None:
    """Scoring the older one again must not put its numbers in place of the newer one's."""
    evaluate(judge("old/model", "zero_shot"), DEMO, "a", "no")
    evaluate(judge("new/model", "zero_shot"), DEMO[:1], "b", "yes")
    before = texts(results.of_runs(2, RUNS, DATA).rows)
    assert {"Off-the-shelf: old/model", "Off-the-shelf: new/model"} <= set(before) and "Off-the-shelf" not in before
    assert row("Off-the-shelf: new/model")["demo_safety"] == "-" and row("Off-the-shelf: new/model")["mean"] == "-"
    time.sleep(0.05)
    scores.score(RUNS / "a")
    assert texts(results.of_runs(2, RUNS, DATA).rows) == before


def test_newest_is_when_the_answers_were_generated(project: Path) -> None:
    one = judge("m", "zero_shot")
    first = evaluate(one, DEMO[:1], "first", "no")
    time.sleep(0.2)
    evaluate(one, DEMO[:1], "second", "yes")
    newest = row("Off-the-shelf")["demo_quality"]
    again = scores.score(RUNS / "first")  # its file is the newer one now
    assert again.tasks["demo_quality"].answered == first.tasks["demo_quality"].answered
    assert row("Off-the-shelf")["demo_quality"] == newest
    assert json.loads((RUNS / "first/eval.json").read_text())["answered"] == {
        "demo_quality": first.tasks["demo_quality"].answered
    }


def test_answers_of_a_killed_evaluation_have_their_time(project: Path) -> None:
    evaluate(judge("m", "zero_shot"), DEMO[:1], "a")
    identity = json.loads((RUNS / "a/eval.json").read_text())
    rows = predictions.load(RUNS / "a").rows
    again = Identity.model_validate({k: v for k, v in identity.items() if k != "answered"})
    store = Recording(RUNS / "b", again)
    next(iter(store.append([rows[0]])))  # and is killed here
    assert json.loads((RUNS / "b/eval.json").read_text())["answered"]["demo_quality"] >= identity["answered"][DEMO[0]]
    store.__exit__()


def test_scores_of_other_labels_are_marked(project: Path, cli) -> None:
    """A conversion with other labels after the evaluation."""
    evaluate(judge("m", "zero_shot"), DEMO, "a")
    assert "†" not in "".join(row("Off-the-shelf").values())
    text = Path("recipes/tasks/demo_safety.yaml").read_text()
    labels = next(line for line in text.splitlines() if "yes" in line and "no" in line and "values" in line)
    swapped = labels.replace("yes:", "?:").replace("no:", "yes:").replace("?:", "no:")
    Path("recipes/tasks/demo_safety.yaml").write_text(text.replace(labels, swapped))
    assert cli("convert", "demo_safety", "--raw", "raw").code == 0
    found = row("Off-the-shelf")
    assert "†1" in found["demo_safety"] and "†" in found["mean"] and "†" not in found["demo_quality"]
    done = cli("tables", 2)
    assert "†1 runs/a: of other samples than data/demo_safety holds now" in done.out
    for form in ("markdown", "latex"):
        assert "of other samples than data/" in cli("tables", 2, "--format", form).out


def test_scores_of_a_part_of_the_release_are_marked(project: Path, cli) -> None:
    assert cli("convert", "demo_quality", "--raw", "raw", "--limit", "20").code == 0
    evaluate(judge("m", "zero_shot"), DEMO, "a")
    assert "†1" in row("Off-the-shelf")["demo_quality"]
    assert "of data that was converted with --limit 20 (data/demo_quality)" in cli("tables", 2).out
    shutil.rmtree("data/demo_quality")  # seen also where the data is not
    assert "was converted with --limit 20" in cli("tables", 2).out
    assert cli("convert", "demo_quality", "--raw", "raw").code == 0
    assert "of other samples than data/demo_quality holds now" in cli("tables", 2).out


def test_another_prompt_and_other_weights_are_marked(project: Path, cli) -> None:
    model = Path("model")
    shutil.copytree(tiny(), model)
    evaluate(subject("model"), DEMO[:2], "a")
    assert "†" not in "".join(row("Off-the-shelf").values())
    with Path("prompts/sft/demo_quality.jinja").open("a") as file:
        file.write("Look twice.\n")
    assert "runs/a: asked with another prompt than the present one" in cli("tables", 2).out
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "note": 1}))
    assert "runs/a: of a checkpoint that model no longer holds" in cli("tables", 2).out
    assert "†" in row("Off-the-shelf")["demo_alignment"]


def test_an_older_evaluation_says_how_to_complete_it(project: Path, cli) -> None:
    evaluate(judge("m", "zero_shot"), DEMO[:1], "a")
    file = RUNS / "a/metrics.json"
    new = json.loads(file.read_text())
    old = {k: v for k, v in new.items() if k not in ("judged_by", "fingerprint")}
    old["demo_quality"] = {k: v for k, v in old["demo_quality"].items() if k not in scores.OF_TASK[2:]}
    file.write_text(json.dumps({**old}))
    assert "of samples that are not recorded: mtrl score runs/a" in cli("tables", 2).out
    assert cli("score", "runs/a").code == 0 and "†" not in row("Off-the-shelf")["demo_quality"]
    evaluate(judge("s", "rl_single", "demo_quality"), DEMO[:1], "s")
    single = json.loads((RUNS / "s/metrics.json").read_text())
    (RUNS / "s/metrics.json").write_text(json.dumps({k: v for k, v in single.items() if k != "judged_by"}))
    assert row("RL-Single")["demo_quality"] == "-"  # nobody knows what it was trained on


def test_rl_without_reasoning_is_not_the_papers_row(project: Path, cli) -> None:
    evaluate(judge("bare", "rl_multitask", *DEMO), DEMO[:1], "bare")
    assert row("MT-RL-Judge")["demo_quality"] == "-"
    assert "MT-RL-Judge asked for the bare verdict: the paper's reasons first" in " ".join(cli("tables", 2).out.split())
    evaluate(judge("thinks", "rl_multitask", *DEMO, style="rl"), DEMO[:1], "thinks")
    assert row("MT-RL-Judge")["demo_quality"] != "-"


def test_the_result_of_ones_own_task_is_shown(project: Path, cli) -> None:
    """mtrl tables shows what was just computed, and not the paper's commands in its place."""
    for kind in ("tasks", "prompts"):
        root = Path("recipes/tasks") if kind == "tasks" else Path("prompts/sft")
        end = ".yaml" if kind == "tasks" else ".jinja"
        shutil.copy(root / f"demo_safety{end}", root / f"mine{end}")
    shutil.copy("prompts/rl/demo_safety.jinja", "prompts/rl/mine.jinja")
    assert cli("convert", "mine", "--raw", "raw").code == 0
    evaluate(judge("my-run", "sft_unified", "mine"), ["mine"], "my-run/eval")
    done = cli("tables")
    lines = " ".join(done.out.split())
    assert done.code == 0 and "Every evaluation, by run" in lines and "my-run (SFT-Unified): mine" in lines
    assert "mtrl sft recipes/sft_unified.yaml" not in done.out and "mtrl tables 2 lists them" in done.out
    assert "Every evaluation" in cli("tables", "--format", "markdown").out


def test_without_a_number_every_evaluation_is_shown_by_run(project: Path, cli) -> None:
    """The paper's tasks too, and what is no cell of the paper's tables: another split, a part, votes, another task."""
    evaluate(judge("multi", "sft_unified", *DEMO), DEMO, "multi/eval")
    evaluate(judge("single", "sft_single", "demo_quality"), ["demo_safety"], "single/eval")
    for name, change in (("v", {"split": "val"}), ("part", {"limit": 3})):
        shutil.copytree("runs/multi/eval", f"runs/{name}")
        file = Path(f"runs/{name}/metrics.json")
        content = json.loads(file.read_text())
        content["demo_safety"] |= change
        file.write_text(json.dumps({key: value for key, value in content.items() if key != "demo_quality"}))
    frame = texts(tables.by_run(RUNS, DATA).rows)
    assert len(frame) == 3 + 1 + 2 * 2
    assert frame["multi (SFT-Unified): demo_quality"]["of"] == "test"
    assert (
        frame["single (SFT-Single): demo_safety"]["accuracy"] == frame["multi (SFT-Unified): demo_safety"]["accuracy"]
    )
    parts = {name.rpartition(" in ")[2]: cells["of"] for name, cells in frame.items() if "demo_safety in" in name}
    assert sorted(["test", *parts.values()]) == ["test", "test, --limit 3", "val"]
    shown = cli("tables").out
    assert "Every evaluation, by run" in shown and "single (SFT-Single)" in shown and "test, --limit 3" in shown
    assert "Every evaluation" not in cli("tables", 2).out


def test_a_test_split_of_one_class_has_no_macro_f1(project: Path, cli) -> None:
    """All 20 right would be a Macro-F1 of 50, and says nothing."""
    samples = [s for s in _samples("demo_safety") if s.answer == "yes"][:20]
    from mtrl.config.samples import path_of, write

    write(path_of(DATA, "demo_safety", "test"), samples)
    Path("data/demo_safety/inputs.json").unlink()  # as if it had been converted so
    result = evaluate(judge("m", "zero_shot"), DEMO, "a")
    assert result.tasks["demo_safety"].one_class == "yes" and result.tasks["demo_quality"].one_class is None
    assert result.mean_macro_f1 is None
    found = row("Off-the-shelf")
    assert found["demo_safety"] == "one class (yes, accuracy 100.0)" and found["mean"] == "-"
    done = cli("score", "runs/a")
    line = next(line for line in done.out.splitlines() if "demo_safety" in line)
    assert "one class" in line and "100.00" in line and " 50.00" not in line
    assert 'demo_safety: every item of the test split has the label "yes"' in done.out
    page = Path("runs/a/report.html").read_text()
    assert "one class" in page


def test_compare_names_the_judges_and_marks_by_the_same_rules(project: Path, cli) -> None:
    evaluate(judge("sft-a", "sft_single", "demo_quality", step=7), DEMO, "a")
    assert cli("convert", "demo_safety", "--raw", "raw", "--limit", "20").code == 0
    evaluate(judge("new/model", "zero_shot"), DEMO[:2], "b", "no")
    with Path("prompts/sft/demo_quality.jinja").open("a") as file:
        file.write("Look twice.\n")
    done = cli("compare", "a", "b")
    lines = " ".join(done.out.split())
    assert done.code == 0 and "A: sft-a step 7, SFT-Single (runs/a)" in lines, done.err
    assert "B: new/model, Off-the-shelf (runs/b)" in lines
    assert "note: demo_alignment: A was not trained on it" in lines
    assert "note: demo_quality: B is asked with another prompt than the present one" in lines


def _samples(task: str) -> list[Any]:
    from mtrl.config.samples import read

    return list(read(DATA, task, "test"))


TASK = task_metrics()
WRONG: list[Any] = [None, "0.5", True, [], {}, float("nan"), float("inf"), float("-inf"), -0.1, 1.5, 10**400]


@pytest.mark.parametrize(
    "key", ["macro_f1", "invalid_rate", "macro_f1_ci95", "confusion", "split", "limit", "answered"]
)
@pytest.mark.parametrize("value", WRONG, ids=lambda value: repr(value)[:12])
def test_a_wrong_number_is_no_cell_and_gets_one_line(tmp_path: Path, cli, key: str, value: Any) -> None:
    if (key, repr(value)) in (("limit", "None"), ("macro_f1_ci95", "None"), ("confusion", "{}"), ("answered", "None")):
        return
    if (key, value) in (("answered", 1.5), ("limit", 10**400)):
        return
    content = {"schema": 2, "method": "zero_shot", "checkpoint": "m", "votes": 1, "seetrue": {**TASK, key: value}}
    (tmp_path / "a").mkdir()
    (tmp_path / "a/metrics.json").write_text(json.dumps(content))
    done = cli("tables", 2, "--runs", tmp_path, "--data", tmp_path / "data")
    assert done.code == 0, done.err
    lines = [line for line in done.out.splitlines() if line.startswith("not in the table: ")]
    assert len(lines) == 1 and len(lines[0]) < 400
    if (
        isinstance(value, float | int) and abs(value) > 2
    ) or value != value:  # no number that JSON takes: the whole file
        assert f"{tmp_path}/a/metrics.json" in lines[0]
    else:
        assert "a: seetrue" in lines[0] and key in lines[0]
    assert next(line for line in done.out.splitlines() if "Off-the-shelf" in line).count("paper") == 0


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        "x",
        3,
        None,
        {},
        {"schema": "2"},
        {"schema": [2]},
        {"method": 3},
        {"method": "sft"},
        {"method": ["zero_shot"]},
        {"votes": 0},
        {"votes": "1"},
        {"votes": None},
        {"votes": float("nan")},
        {"checkpoint": 5},
        {"style": "x"},
        {"judged_by": 3},
        {"judged_by": {"name": ""}},
        {"judged_by": {"name": "a", "trained_on": "b"}},
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, cli, wrong: Any) -> None:
    content = {"schema": 2, "method": "zero_shot", "votes": 1, "seetrue": TASK}
    file = tmp_path / "a/metrics.json"
    file.parent.mkdir()
    file.write_text(json.dumps({**content, **wrong} if isinstance(wrong, dict) and wrong else wrong))
    with pytest.raises(UserError) as said:
        scores.read(file)
    assert "\n" not in str(said.value) and str(file) in str(said.value)
    done = cli("tables", 2, "--runs", tmp_path)
    assert done.code == 0 and f"not in the table: {file}" in done.out


def test_a_score_tasks_row_has_its_correlation(tmp_path: Path) -> None:
    rated = {"value": 0.5, "ci95": [0.25, 0.75], "worst": 0.125}
    score = {"valid": 9, **dict.fromkeys(("srcc", "plcc", "kendall", "kappa"), rated), "mae": {**rated, "ci95": None}}
    about = {"schema": SCHEMA, "method": "zero_shot", "checkpoint": "m", "votes": 1}
    for name, task in (("a", task_metrics(score=score, invalid_rate=0.1)), ("b", task_metrics())):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps({**about, "checkpoint": name, "stars": task}))
    frame = texts(tables.by_run(tmp_path).rows)
    rows = {name.partition(" ")[0]: cells for name, cells in frame.items()}
    assert rows["a"][tables.SRCC] == "0.500 [0.250, 0.750], at worst 0.125" and rows["a"]["invalid"] == "10.00"
    assert rows["a"]["Macro-F1 [95%]"] == "-" and rows["b"][tables.SRCC] == "-"
    shutil.rmtree(tmp_path / "a")
    assert tables.SRCC not in tables.by_run(tmp_path).rows.columns
