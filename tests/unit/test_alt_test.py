"""A judge next to several annotators: the human ceiling, and the alternative annotator test.

The data sets of the test's authors are no part of this repository. Where they are, the test is compared with every
number that the authors' notebook prints:

    git clone https://github.com/nitaytech/AltTest && ALT_TEST=AltTest python -m pytest tests/unit/test_alt_test.py
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr, ttest_1samp, wilcoxon
from sklearn.metrics import f1_score

from mtrl.commands import outcome
from mtrl.config import datacard, prompting
from mtrl.config.kinds import IMAGES
from mtrl.config.majority import majority
from mtrl.config.samples import Sample
from mtrl.config.tasks import Task
from mtrl.evaluate import notes, predictions, requests, rescore
from mtrl.evaluate.engines.base import Answer
from mtrl.evaluate.html import report
from mtrl.evaluate.identity import Identity
from mtrl.evaluate.metrics import alt_test, from_scores
from mtrl.evaluate.metrics.annotators import annotators
from mtrl.evaluate.metrics.prediction import Prediction
from mtrl.evaluate.metrics.task import of_task
from mtrl.evaluate.recording import Recording
from mtrl.evaluate.scores import read, score
from tests.unit.test_annotators import COLUMNS, converted, wide

AUTHORS = Path(os.environ.get("ALT_TEST", "/nowhere"))
YES_NO = ("yes", "no")
STARS = ("1", "2", "3", "4", "5")
Planted = dict[str, float]  # annotator: how often the verdict is the right one


def planted(
    n: int, people: Planted, judge: float, seed: int = 0, per_cluster: int = 1, **more: Any
) -> list[Prediction]:
    """Items of two kinds; each annotator, and the judge, is right as often as is said."""
    draw = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        right = YES_NO[draw.integers(2)]
        said = {name: right if draw.random() < rate else YES_NO[right == "yes"] for name, rate in people.items()}
        verdict = right if draw.random() < judge else YES_NO[right == "yes"]
        cluster = f"c{number // per_cluster}" if per_cluster > 1 else ""
        rows.append(
            Prediction(id=str(number), task="t", order="given", vote=0, response="", verdict=verdict, lenient=verdict,
                       label=right, annotators=said, cluster=cluster, **more)
        )  # fmt: skip
    return rows


def alternative(rows: list[Prediction], choices: tuple[str, ...] = YES_NO) -> alt_test.AltTest:
    found = annotators(rows, choices)
    assert found is not None
    return found.alt_test


THREE = {"ann": 0.9, "ben": 0.9, "cem": 0.9}


def test_the_ceiling_is_that_of_the_planted_annotators() -> None:
    """Two of the other two agree: then both are right with 0.9 ** 2 / (0.9 ** 2 + 0.1 ** 2)."""
    found = annotators(planted(4000, THREE, 0.8), YES_NO)
    others = 0.81 / 0.82
    for side, rate in ((found.human, 0.9), (found.judge, 0.8)):
        assert side.accuracy == pytest.approx(rate * others + (1 - rate) * (1 - others), abs=0.01)
        low, high = side.headline.ci95
        assert low < side.headline.value < high
    assert found.difference.ci95[1] < -0.05
    assert found.n == pytest.approx(3 * 4000 * 0.82, rel=0.02)  # pairs whose others tie are left out


def test_the_ceiling_is_scikit_learns_on_the_same_pairs() -> None:
    rows = planted(200, {**THREE, "dan": 0.7}, 0.75, per_cluster=2)
    truth, human, judge = [], [], []
    for row in rows:
        for name, verdict in row.annotators.items():
            others = [said for who, said in row.annotators.items() if who != name]
            if abs(others.count("yes") * 2 - len(others)) > 1:  # of three to one, this annotator could make a tie
                truth.append("yes" if others.count("yes") * 2 > len(others) else "no")
                human.append(verdict)
                judge.append(row.verdict)
    found = annotators(rows, YES_NO)
    assert found.n == len(truth)
    assert found.human.headline.value == pytest.approx(f1_score(truth, human, average="macro"))
    assert found.judge.headline.value == pytest.approx(f1_score(truth, judge, average="macro"))
    assert found.difference.value == pytest.approx(found.judge.headline.value - found.human.headline.value)


def test_items_that_are_left_out_for_a_tie_do_not_raise_the_ceiling() -> None:
    """Labels are missing at random, and ties are left out as the conversion does. With the disagreements gone, humans
    would look better than they are: of two labels that are left, both are the same."""
    draw, four = np.random.default_rng(2), {**THREE, "dan": 0.9}
    rows = []
    for row in planted(6000, four, 0.8):
        said = {name: verdict for name, verdict in row.annotators.items() if draw.random() < 0.7}
        if (label := majority(list(said.values()))) is not None:
            rows.append(replace(row, annotators=said, label=label))
    found = annotators(rows, YES_NO)
    # the others of a compared pair agree by two votes or more, nearly always on the right verdict
    assert found.human.accuracy == pytest.approx(0.9, abs=0.012) and found.judge.accuracy == pytest.approx(
        0.8, abs=0.02
    )
    kept = [row for row in rows if len(row.annotators) == 2]
    assert annotators(kept, YES_NO) is None and all(len(set(row.annotators.values())) == 1 for row in kept)
    assert found.left_out > 2 * len(kept)
    assert not any(found.alt_test.unmet) and found.alt_test.winning_rate["crowd workers"] == 0.0


def test_a_worse_annotator_is_seen() -> None:
    by_name = annotators(planted(400, {**THREE, "dan": 0.6}, 0.9), YES_NO).by_name
    assert by_name["dan"].human < 0.7 < min(by_name[name].human for name in THREE)
    assert all(one.judge > 0.8 for one in by_name.values())


def test_the_ceiling_of_scores_is_spearmans() -> None:
    draw = np.random.default_rng(1)
    rows, truth, human, judge = [], [], [], []
    for number in range(120):
        right = int(draw.integers(1, 6))
        near = [str(int(np.clip(right + draw.integers(-1, 2), 1, 5))) for _ in range(4)]
        verdict = None if number % 10 == 0 else near[3]
        said = dict(zip(("ann", "ben", "cem"), near, strict=False))
        rows.append(
            Prediction(id=str(number), task="t", order="given", vote=0, response="", verdict=verdict, lenient=verdict,
                       label=str(right), annotators=said)
        )  # fmt: skip
        for name in said if verdict else ():
            others = [int(value) for who, value in said.items() if who != name]
            truth.append(math.floor(sum(others) / 2 + 0.5))
            human.append(int(said[name]))
            judge.append(int(verdict))
    found = annotators(rows, STARS)
    assert found.n == len(truth) == 3 * 108
    assert found.human.headline.value == pytest.approx(spearmanr(truth, human).statistic)
    assert found.judge.headline.value == pytest.approx(spearmanr(truth, judge).statistic)
    assert found.human.headline.ci95 and found.difference.ci95


def test_nothing_to_compare_is_none() -> None:
    alone = planted(10, {"ann": 0.9}, 0.9)
    assert annotators(alone, YES_NO) is None
    assert annotators([replace(row, annotators={}) for row in alone], YES_NO) is None
    assert of_task(alone, YES_NO).annotators is None and "annotators" not in of_task(alone, YES_NO).model_fields_set


def test_one_verdict_of_all_others_has_no_headline() -> None:
    rows = [replace(row, annotators=dict.fromkeys(THREE, "yes"), label="yes") for row in planted(40, THREE, 0.9)]
    found = annotators(rows, YES_NO)
    assert found.human.headline.value is None and found.difference.ci95 is None and found.human.accuracy == 1


def test_a_judge_as_good_as_the_annotators_wins_and_one_that_guesses_does_not() -> None:
    assert set(alternative(planted(400, THREE, 0.95)).winning_rate.values()) == {1.0}
    guess = alternative(planted(400, THREE, 0.5))
    assert set(guess.winning_rate.values()) == {0.0} and guess.advantage < 0.7


def test_epsilon_is_how_much_worse_a_judge_may_be() -> None:
    rate = alternative(planted(600, THREE, 0.8)).winning_rate
    assert rate["crowd workers"] <= rate["skilled annotators"] <= rate["experts"] == 1.0


def test_the_p_values_and_the_correction_are_the_papers() -> None:
    """Against scipy's t-test, and the step-up procedure as the paper writes it."""
    rows = planted(120, {**THREE, "dan": 0.75, "eve": 0.85}, 0.84, seed=3)
    found = alternative(rows)
    for who, epsilon in alt_test.EPSILONS.items():
        values = []
        for name in rows[0].annotators:
            differences = []
            for row in rows:
                others = [said for other, said in row.annotators.items() if other != name]
                human, judge = (np.mean([x == said for said in others]) for x in (row.annotators[name], row.verdict))
                differences.append(int(human >= judge) - int(judge >= human))
            values.append(ttest_1samp(differences, epsilon, alternative="less").pvalue)
            assert found.p_values[name][who] == pytest.approx(values[-1])
        harmonic = sum(1 / rank for rank in range(1, len(values) + 1))
        passed = [rank for rank, p in enumerate(sorted(values), 1) if p <= rank / len(values) * 0.05 / harmonic]
        assert found.winning_rate[who] == max(passed, default=0) / len(values)


def test_an_invalid_answer_loses_and_equal_ones_have_no_spread() -> None:
    rows = [replace(row, annotators=dict.fromkeys(THREE, row.label)) for row in planted(60, THREE, 1.0)]
    assert set(alternative(rows).winning_rate.values()) == {1.0}
    assert alternative([replace(row, verdict=None) for row in rows]).advantage == 0.0
    stars = [replace(row, verdict=None, label="3", annotators=dict.fromkeys(THREE, "3")) for row in rows]
    assert annotators(stars, STARS) is None  # of a scale there are only valid answers to compare
    assert alt_test._score("invalid", ["3"], scale=True) == -math.inf


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (planted(29, THREE, 0.9), "3 annotators with 30 items each .* 0 of 3 have that many"),
        (planted(58, THREE, 0.9, per_cluster=2), r"30 independent items \(clusters\) each .* 0 of 3"),
    ],
)
def test_it_says_when_it_does_not_apply(rows: list[Prediction], message: str) -> None:
    found = alternative(rows)
    assert re.search(message, found.unmet) and not found.winning_rate and found.advantage is None
    assert any("does not apply" in line for line in notes.of_annotators("t", of_task(rows, YES_NO)))


def test_two_annotators_of_scores_have_a_ceiling_and_no_test() -> None:
    rows = [
        replace(row, label="3", verdict=str(2 + n % 3), annotators={"ann": str(1 + n % 4), "ben": str(2 + n % 4)})
        for n, row in enumerate(planted(60, THREE, 0.9))
    ]
    found = annotators(rows, STARS)
    assert found.human.headline.value and "2 of 2 have that many" in found.alt_test.unmet


def test_an_annotator_with_few_items_is_not_tested() -> None:
    rows = planted(100, {**THREE, "dan": 0.9}, 0.9)
    few = [replace(row, annotators={**row.annotators} if n < 20 else without(row, "dan")) for n, row in enumerate(rows)]
    found = annotators(few, YES_NO)
    assert list(found.alt_test.p_values) == ["ann", "ben", "cem"] and found.by_name["dan"].n <= 20


def without(row: Prediction, name: str) -> dict[str, str]:
    return {who: said for who, said in row.annotators.items() if who != name}


def test_rows_that_repeat_make_no_judge_significant() -> None:
    """Ten copies of each item say nothing new: with their clusters the p-values are the same."""
    rows = planted(40, THREE, 0.95, seed=5)
    copies = [replace(row, id=f"{row.id} {n}", cluster=row.id) for row in rows for n in range(10)]
    as_if = [replace(row, cluster="") for row in copies]
    once, clustered, naive = (alternative(found).p_values["ann"]["crowd workers"] for found in (rows, copies, as_if))
    assert clustered == pytest.approx(once) and naive < once / 3


def test_wilcoxons_test_would_let_worse_judges_win() -> None:
    """Why there is none for fewer than 30 items: the mean is epsilon exactly, so 5% may win."""
    draw, wins = np.random.default_rng(0), np.zeros(2)
    for _ in range(300):
        differences = draw.choice([0, 1, -1], 25, p=[0.8, 0.15, 0.05])
        ours = alt_test.p_value(differences.tolist(), list(map(str, range(25))), 0.1)
        wins += [wilcoxon(differences - 0.1, alternative="less").pvalue <= 0.05, ours <= 0.05]
    assert wins[0] / 300 > 0.5 and wins[1] / 300 < 0.15


@pytest.mark.skipif(not AUTHORS.is_dir(), reason="ALT_TEST does not name a clone of nitaytech/AltTest")
def test_the_numbers_of_the_authors_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """All 52 that it prints. Some of their scores are not whole, so the score is written out here."""
    epsilons = {"wax": 0.1, "cebab_aspects": 0.1, "cebab_stars": 0.1, "framing": 0.15, "10k_prompts": 0.15}
    epsilons |= {"lesion": 0.15, "lgbteen": 0.2, "mtbench": 0.2, "summeval": 0.2}
    scales = {"summeval", "10k_prompts", "cebab_stars", "lesion"}
    cells = json.loads((AUTHORS / "alt_test_example.ipynb").read_text())["cells"]
    printed = "".join("".join(out.get("text", [])) for cell in cells for out in cell.get("outputs", []))
    rows = re.findall(r"^(\S+) (\S+) \[\w+\]:\s+Winning Rate=([\d.]+)\s+Advantage Probability=([\d.]+)", printed, re.M)
    for name, model, rate, advantage in rows:
        people, judges = (
            json.loads((AUTHORS / "data" / name / f"{who}_annotations.json").read_text()) for who in ("human", "llm")
        )
        monkeypatch.setattr(alt_test, "EPSILONS", {"": epsilons[name]})
        if name in scales:
            monkeypatch.setattr(
                alt_test, "_score", lambda x, others, _: -math.sqrt(np.mean((np.array(others) - x) ** 2))
            )
        items: dict[str, dict[str, Any]] = {}
        for who, its in people.items():
            for item, verdict in its.items():
                if item in judges[model]:
                    items.setdefault(item, {})[who] = verdict
        pairs = [
            alt_test.Pair(who, verdict, judges[model][item], others, item)
            for item, its in items.items()
            for who, verdict in its.items()
            if (others := [said for other, said in its.items() if other != who])
        ]
        found = alt_test.alt_test(pairs, ())
        assert (f"{found.winning_rate['']:.2f}", f"{found.advantage:.2f}") == (rate, advantage), (name, model)
        monkeypatch.undo()
    assert len(rows) == 52


def test_pairs_from_single_answers_keep_the_annotators() -> None:
    """Each image is asked alone; what annotators say of the pair is turned into a verdict on it, and back."""
    label = {"columns": ["ann", "ben"], "values": {"1": ["left"], "2": ["right"]}}
    pair = Task(name="pairs", title="t", capability="quality", kind="pairwise", pointwise={"task": "one"}, label=label)
    one = Task(
        name="one", title="t", capability="quality", label={"column": "x", "values": {"yes": ["a"], "no": ["b"]}}
    )
    sample = Sample("x", "pairs", "pairwise", ("a", "b"), {}, "1", "test", annotators={"ann": "1", "ben": "2"})
    shown = [requests.first_image(sample, pair, one), requests.first_image(sample.swapped(IMAGES), pair, one)]
    assert [each.annotators for each in shown] == [{"ann": "yes", "ben": "no"}, {"ann": "no", "ben": "yes"}]
    rows = [
        Prediction(id="x", task="pairs", order=order, vote=0, response="", verdict="yes", lenient="yes",
                   confidence=sure, label=each.answer, annotators=each.annotators)
        for order, each, sure in zip(("given", "turned"), shown, (0.9, 0.6), strict=True)
    ]  # fmt: skip
    (decided,) = from_scores.decided(rows, YES_NO, pair.pointwise)
    assert decided.verdict == "1" and decided.annotators == sample.annotators


def evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: list[str]) -> Path:
    """An evaluation of a converted table with three annotators; the judge answers the label, but each fifth time no."""
    monkeypatch.chdir(tmp_path)
    task, _ = converted(tmp_path, COLUMNS, wide(*labels))
    data, out, sha = tmp_path / "data", tmp_path / "eval", prompting.sha256(task, "sft")
    asked = list(requests.build(task, "sft", data, "train"))
    card = datacard.read(data, task.name)
    about = {
        "split": "train", "samples_sha256": "", "limit": None, "prompt_sha256": sha, "requests": len(asked),
        "choices": list(task.choices), "agreement": card.agreement,
    }  # fmt: skip
    identity = {
        "path": "m", "method": "zero_shot", "style": "sft", "tasks": {task.name: about},
        "sampling": {"max_tokens": 16, "temperature": 0.0, "votes": 1},
    }  # fmt: skip
    with Recording(out, Identity.model_validate(identity)) as store:
        for n, request in enumerate(asked):
            text = request.label if n % 5 else "no"
            list(store.append([predictions.of_answer(Answer(request, text, 1, "stop", 0.1), "sft", sha)]))
    score(out)
    return out


def test_from_a_table_to_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    out = evaluated(tmp_path, monkeypatch, ["ggb", "bbb", "ggg", "bgb", "gb-"] * 16)
    rescore.reread(out)
    ((name, task),) = score(out).tasks.items()
    assert task.annotators == read(out / "metrics.json").tasks[name].annotators
    assert task.agreement.ties == 16 and task.agreement.items == 80
    outcome.show(out, score(out), predictions.FILE)
    said = " ".join(capsys.readouterr().out.split())
    assert "human ceiling" in said and "16 of the 80 items of the release have no majority" in said
    assert "alternative annotator test" in said and f"{task.agreement.alpha:.3f}" in said
    page = report.write(out, tmp_path / "data").read_text()
    assert f"Annotators of {name}" in page and ">ben</th>" in page and "Winning rate" in page


def test_a_prediction_with_an_unknown_annotators_verdict_is_refused(tmp_path: Path, monkeypatch) -> None:
    out = evaluated(tmp_path, monkeypatch, ["ggb", "bbb"] * 8)
    file = out / predictions.FILE
    file.write_text(file.read_text().replace('"cem": "no"', '"cem": "perhaps"', 1))
    with pytest.raises(Exception, match="a label or verdict that is not yes or no"):
        predictions.load(out)
