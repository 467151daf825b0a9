"""Pairs decided from single answers: what is asked, what is kept, which image wins, and where the numbers are shown."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageStat

from mtrl.config import samples, tasks
from mtrl.config.kinds import Pointwise
from mtrl.core.errors import UserError
from mtrl.core.files import read_json, read_jsonl
from mtrl.evaluate.metrics import from_scores
from mtrl.evaluate.metrics.from_scores import decided, how
from mtrl.evaluate.metrics.prediction import Prediction
from mtrl.paper import matrix, results
from mtrl.paper.cell import Place
from mtrl.reward_plugins.judge import POINTWISE
from tests.unit.standin import Reply, completion, standin
from tests.unit.test_tables import texts

FOLDER = Path("runs/eval-m-from-scores")
PAIRS = 30


def of_image(image: bytes) -> float:
    """A judge's probability of yes for an image: its brightness, which an engine that scales it does not change."""
    with Image.open(io.BytesIO(image)) as opened:
        return round(ImageStat.Stat(opened.convert("L")).mean[0] / 255, 4)


def answer(number: int, body: dict[str, Any]) -> Reply:
    """The stand-in's answer about its first image; of a pair, always the first one."""
    shown = [part for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    if len(shown) == 2:
        return completion("1")
    sure = of_image(base64.b64decode(shown[0]["image_url"]["url"].partition(",")[2]))
    listed = [{"token": word, "logprob": math.log(p)} for word, p in (("yes", sure), ("no", 1 - sure))]
    status, headers, text = completion("yes" if sure > 0.5 else "no")
    whole = json.loads(str(text))
    top = max(listed, key=lambda one: one["logprob"])
    whole["choices"][0]["logprobs"] = {"content": [{**top, "top_logprobs": listed}]}
    return status, headers, json.dumps(whole)


def evaluate(cli, url: str, *more: object) -> Any:
    asked = ("--endpoint", url, "--served-model", "m", "--style", "sft")
    done = cli("eval", *asked, *more)
    assert done.code == 0, done.err
    return done


def test_each_image_is_asked_alone_and_the_pair_follows(project: Path, cli) -> None:
    with standin(answer) as server:
        done = evaluate(cli, server.url, "--pairs-from-scores", "--limit", PAIRS)
        assert len(server.asked) == 2 * PAIRS
        evaluate(cli, server.url, "--pairs-from-scores", "--limit", PAIRS)  # nothing is left to ask
        assert len(server.asked) == 2 * PAIRS
        lines = (FOLDER / "predictions.jsonl").read_text().splitlines(keepends=True)
        (FOLDER / "predictions.jsonl").write_text("".join(lines[:-3]))  # a kill: the last three are asked again
        evaluate(cli, server.url, "--pairs-from-scores", "--limit", PAIRS)
        assert len(server.asked) == 2 * PAIRS + 3
    for body in server.asked:
        content = body["messages"][0]["content"]
        assert sum(part["type"] == "image_url" for part in content) == 1 and body["logprobs"] is True
        assert any("match" in part.get("text", "") for part in content)  # demo_alignment's prompt
    rows = list(samples.read(Path("data"), "demo_pairs", "test"))[:PAIRS]
    kept = {(line["id"], line["order"]): line for line in read_jsonl(FOLDER / "predictions.jsonl")}
    right = 0
    for row in rows:
        first, second = (of_image((Path("data") / name).read_bytes()) for name in row.images)
        for order, sure, place in (("given", first, "1"), ("turned", second, "2")):
            line = kept[row.id, order]
            assert line["confidence"] == pytest.approx(max(sure, 1 - sure), abs=0.005)
            assert line["label"] == ("yes" if row.answer == place else "no")  # yes: the better image
        a, b = (line["confidence"] for line in (kept[row.id, "given"], kept[row.id, "turned"]))
        assert {kept[row.id, order]["verdict"] for order in ("given", "turned")} == {"yes"}  # so P(yes) is a and b
        right += row.answer == ("1" if a > b else "2")
    metrics = read_json(FOLDER / "metrics.json")["demo_pairs"]
    assert metrics["n"] == PAIRS and metrics["accuracy"] == right / PAIRS and "pairwise" not in metrics
    assert set(metrics["confusion"]) == {"1", "2"} and metrics["macro_f1_ci95"]
    how_asked = {"task": "demo_alignment", "better": "higher"}
    assert metrics["from_scores"] == {"pointwise": how_asked, "equal": 0.0, "unknown": 0.0}
    asked = read_json(FOLDER / "eval.json")["tasks"]["demo_pairs"]
    assert asked["pointwise"] == how_asked and asked["choices"] == ["yes", "no"]
    assert "demo_pairs (from demo_alignment)" in done.out
    before = read_json(FOLDER / "metrics.json")
    again = cli("score", FOLDER)
    assert again.code == 0 and "60 answers parsed again: 0 verdicts changed" in again.out
    assert read_json(FOLDER / "metrics.json") == before
    page = (FOLDER / "report.html").read_text()
    assert "first image: " in page and "pairs from answers to demo_alignment" in page


def test_another_protocol_in_the_same_folder_is_refused(project: Path, cli) -> None:
    with standin(answer) as server:
        evaluate(cli, server.url, "--pairs-from-scores", "--limit", 2, "--out", "runs/x")
        asked = ("--endpoint", server.url, "--served-model", "m", "--style", "sft", "--tasks", "demo_pairs")
        done = cli("eval", *asked, "--confidence", "--limit", 2, "--out", "runs/x")
    assert done.code == 2 and "has another evaluation" in done.err and "choices" in done.err


def test_the_table_shows_both_rows_and_compare_compares_them(project: Path, cli) -> None:
    with standin(answer) as server:
        evaluate(cli, server.url, "--pairs-from-scores")
        before = {
            cell.label: cell.folder for cell in matrix.cells(3, "tiny", "cpu", [], [], Place(Path("data"), FOLDER))
        }
        evaluate(cli, server.url, "--tasks", "demo_pairs", "--out", "runs/pairwise")
    assert before["zero_shot"] != FOLDER
    paper = Path("recipes/paper.yaml")
    paper.write_text(
        paper.read_text().replace("{zero_shot: , sft_unified", "{zero_shot: {demo_pairs: 61}, sft_unified")
    )
    rows = texts(results.of_runs(3, Path("runs"), Path("data")).rows)
    assert "paper 61.00" in rows["Off-the-shelf"]["demo_pairs"]
    single = rows["Off-the-shelf, from single answers"]["demo_pairs"]
    assert "paper" not in single and "[" in single
    done = cli("tables", 3)
    assert "not the paper's protocol" in " ".join(done.out.split())
    assert "from single answers" in cli("tables").out  # the evaluations by run
    done = cli("compare", "runs/pairwise", FOLDER)
    assert done.code == 0, done.err
    assert "demo_pairs: B was asked demo_alignment about each image" in " ".join(done.out.split())


def test_without_log_probabilities_every_pair_counts_as_wrong_and_says_so(project: Path, cli) -> None:
    with standin(lambda n, body: completion("yes")) as server:
        done = evaluate(cli, server.url, "--pairs-from-scores", "--limit", 4)
    assert read_json(FOLDER / "metrics.json")["demo_pairs"]["invalid_rate"] == 1
    assert "100.0 % an answer without a value" in " ".join(done.out.split())


def one(order: str, label: str, sure: float | None, verdict: str | None = "yes", **more: Any) -> Prediction:
    return Prediction(
        id="a", task="t", order=order, vote=0, response=str(verdict), verdict=verdict, lenient=verdict,  # type: ignore[arg-type]
        label=label, confidence=sure, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "better", "verdict"),
    [
        ((0.9, "yes"), (0.6, "yes"), "higher", "1"),
        ((0.9, "yes"), (0.6, "yes"), "lower", "2"),
        ((0.9, "no"), (0.6, "no"), "higher", "2"),  # P(yes) is 0.1 and 0.4
        ((0.9, "no"), (0.6, "no"), "lower", "1"),
        ((0.999999999, "yes"), (0.999999998, "yes"), "higher", "1"),
        ((0.8, "yes"), (0.8, "yes"), "higher", from_scores.EQUAL),
        ((None, None), (0.8, "yes"), "higher", from_scores.UNKNOWN),
        ((None, "yes"), (None, "yes"), "higher", from_scores.UNKNOWN),
    ],
)
def test_the_better_value_wins(first: Any, second: Any, better: Any, verdict: str) -> None:
    asked = Pointwise(task="p", better=better)
    best, worst = ("yes", "no") if better == "higher" else ("no", "yes")
    rows = [one("turned", worst, *second), one("given", best, *first)]
    (pair,) = decided(rows, POINTWISE, asked)
    assert pair.label == "1" and (pair.verdict or pair.finish_reason) == verdict
    found = how([pair], asked)
    assert (found.equal, found.unknown) == (verdict == from_scores.EQUAL, verdict == from_scores.UNKNOWN)
    assert decided(rows[:1], POINTWISE, asked) == []  # the other image is not answered yet


def test_scores_of_a_scale_are_compared_by_their_expectation() -> None:
    choices = ("1", "2", "3")
    low, high = ({"1": 0.6, "2": 0.3, "3": 0.1}, {"1": 0.5, "2": 0.3, "3": 0.2})
    rows = [
        one("given", "1", 0.6, "1", probabilities=low),
        one("turned", "3", 0.5, "1", probabilities=high),
    ]  # both verdicts are 1
    (pair,) = decided(rows, choices, Pointwise(task="p"))
    assert (pair.label, pair.verdict) == ("2", "2")


def test_what_does_not_fit_is_an_error(project: Path, cli) -> None:
    asked = ("--endpoint", "http://127.0.0.1:9/v1", "--served-model", "m", "--pairs-from-scores")
    done = cli("eval", *asked, "--tasks", "demo_quality")
    assert done.code == 2 and "task demo_quality is no pair of images without ties" in done.err
    file = Path("recipes/tasks/demo_pairs.yaml")
    right = file.read_text()
    file.write_text("".join(line for line in right.splitlines(keepends=True) if not line.startswith("pointwise")))
    done = cli("eval", *asked, "--tasks", "demo_pairs")
    assert done.code == 2 and "task demo_pairs does not say which pointwise task" in done.err
    file.write_text(right.replace("task: demo_alignment", "task: demo_pairs"))
    done = cli("eval", *asked)
    assert done.code == 2 and "name a task about one image" in done.err
    for wrong in ("tie: true", "pair: {fields: [a, b]}"):
        file.write_text(right + f"{wrong}\n")
        with pytest.raises(UserError, match="pointwise is for pairs of images without ties"):
            tasks.load("demo_pairs")
    file = Path("recipes/tasks/demo_quality.yaml")
    file.write_text(file.read_text() + "pointwise: {task: demo_alignment}\n")
    with pytest.raises(UserError, match="pointwise is for kind: pairwise"):
        tasks.load("demo_quality")


@pytest.mark.parametrize("name", ["mjbench_alignment", "mjbench_safety", "mjbench_quality"])
def test_the_papers_pairs_name_a_task_whose_prompts_use_no_field_that_they_lack(name: str) -> None:
    from mtrl.config import prompting

    task = tasks.load(name)
    assert task.pointwise
    single = tasks.load(task.pointwise.task)
    assert single.kind == "pointwise" and single.capability == task.capability
    assert task.pointwise.better == ("lower" if name == "mjbench_safety" else "higher")
    assert all(set(prompting.fields(single, style)) <= {"caption"} for style in prompting.STYLES)
