"""Metrics equal scikit-learn's, and are computed from predictions alone."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from mtrl.config.samples import Key
from mtrl.core.errors import UserError
from mtrl.evaluate import predictions
from mtrl.evaluate.engines.base import Answer
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.identity import Identity
from mtrl.evaluate.metrics import task as metrics
from mtrl.evaluate.metrics.prediction import Prediction
from mtrl.evaluate.recording import Recording
from mtrl.evaluate.scores import score

CHOICES = ("yes", "no")


def rows(labels: list[str], verdicts: list[str | None], order: str = "given") -> list[Prediction]:
    return [
        Prediction(id=str(i), task="t", order=order, vote=0, response="?", label=a, verdict=b, lenient=b)
        for i, (a, b) in enumerate(zip(labels, verdicts, strict=True))
    ]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(CHOICES), st.sampled_from(["yes", "no", None])), min_size=1, max_size=80))
def test_equal_to_scikit_learn(pairs: list[tuple[str, str | None]]) -> None:
    labels, verdicts = [a for a, _ in pairs], [b for _, b in pairs]
    found = metrics.of_task(rows(labels, verdicts), CHOICES)
    named = [v or "invalid" for v in verdicts]
    assert found.macro_f1 == pytest.approx(f1_score(labels, named, labels=CHOICES, average="macro", zero_division=0))
    assert found.accuracy == pytest.approx(accuracy_score(labels, named))
    assert found.invalid_rate == pytest.approx(named.count("invalid") / len(named))
    assert sum(sum(counts.values()) for counts in found.confusion.values()) == found.n == len(pairs)
    with warnings.catch_warnings(action="ignore"):
        kappa = cohen_kappa_score(labels, named)
    assert found.kappa == (None if np.isnan(kappa) else pytest.approx(kappa))
    for choice, about in found.per_class.items():
        for key, of in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
            expected = of(labels, named, labels=[choice], average="macro", zero_division=0)
            assert getattr(about, key) == pytest.approx(expected), (choice, key)
        assert about.support == labels.count(choice)
    constant = max(CHOICES, key=labels.count)
    for key, value in found.baselines["majority"]:
        of = f1_score if key == "macro_f1" else accuracy_score
        more = {"labels": CHOICES, "average": "macro", "zero_division": 0} if key == "macro_f1" else {}
        assert value == pytest.approx(of(labels, [constant] * len(labels), **more))
    assert found.calibration is None and found.votes_curve is None and found.pairwise is None
    assert found.clusters == len(pairs)
    if len(pairs) == 1:
        assert found.macro_f1_ci95 is None
    else:
        low, high = found.macro_f1_ci95
        assert 0 <= low <= high <= 1


def test_an_invalid_answer_is_never_dropped_or_flipped() -> None:
    found = metrics.of_task(rows(["yes", "no"], ["yes", None]), CHOICES)
    assert (found.n, found.accuracy, found.invalid_rate) == (2, 0.5, 0.5)
    assert found.confusion["no"] == {"yes": 0, "no": 0, "invalid": 1}


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(CHOICES), st.sampled_from(CHOICES), st.integers(0, 1000)), min_size=1, max_size=80
    )
)
def test_calibration_equals_scikit_learn(drawn: list[tuple[str, str, int]]) -> None:
    sure = [thousandths / 1000 for *_, thousandths in drawn]
    items = rows([a for a, *_ in drawn], [b for _, b, _ in drawn])
    items = [replace(row, confidence=c) for row, c in zip(items, sure, strict=True)]
    unread = replace(items[0], id="unread", verdict=None, lenient=None, confidence=None)
    found = metrics.of_task([*items, unread], CHOICES).calibration
    assert found.n == len(drawn) == sum(b.n for b in found.bins)
    right = np.array([a == b for a, b, _ in drawn], dtype=int)
    accuracies, confidences = calibration_curve(right, sure, n_bins=15)
    assert [b.accuracy for b in found.bins] == pytest.approx(list(accuracies))
    assert [b.confidence for b in found.bins] == pytest.approx(list(confidences))
    gaps = [b.n * abs(a - c) for b, a, c in zip(found.bins, accuracies, confidences, strict=True)]
    assert found.ece == pytest.approx(sum(gaps) / len(drawn))
    first = [c if b == "yes" else 1 - c for (_, b, _), c in zip(drawn, sure, strict=True)]
    assert found.brier == pytest.approx(brier_score_loss([int(a == "yes") for a, *_ in drawn], first, pos_label=1))


def test_a_sure_and_right_judge_is_calibrated() -> None:
    right = [replace(row, confidence=1.0) for row in rows(["yes", "no"], ["yes", "no"])]
    found = metrics.of_task(right, CHOICES).calibration
    assert (found.ece, found.brier) == (0, 0)
    wrong = [replace(row, confidence=1.0) for row in rows(["yes", "no"], ["no", "yes"])]
    found = metrics.of_task(wrong, CHOICES).calibration
    assert (found.ece, found.brier) == (1, 1)


def test_an_invalid_order_makes_no_tie_and_is_wrong() -> None:
    # pair 0: right, then unreadable; pair 1: a tie; pair 2: right in both orders; pair 3 was asked once
    given_, turned = rows(["1", "1", "1", "1"], ["1", "1", "1", "1"]), rows(["2", "2", "2"], [None, "1", "2"], "turned")
    found = metrics.of_task(given_ + turned, ("1", "2")).pairwise
    assert (found.pairs, found.flip_rate) == (3, 0.5)
    assert found.accuracy_with_ties == found.consistent_accuracy == pytest.approx(1 / 3)
    assert found.accuracy_without_ties == 0.5
    assert found.accuracy_both_orders == pytest.approx(4 / 6)
    assert found.first_position_rate == 0.8


def test_always_first_is_half_right_over_both_orders_and_never_in_both() -> None:
    labels = ["1"] * 643 + ["2"] * 86  # MJ-Bench's alignment labels, as released
    other = [{"1": "2", "2": "1"}[label] for label in labels]
    found = metrics.of_task(rows(labels, ["1"] * 729) + rows(other, ["1"] * 729, "turned"), ("1", "2"))
    assert found.accuracy == found.baselines["always_first"].accuracy == pytest.approx(643 / 729)
    assert found.macro_f1 == pytest.approx(found.baselines["always_first"].macro_f1)
    assert found.pairwise.accuracy_both_orders == 0.5
    assert found.pairwise.consistent_accuracy == 0 and found.pairwise.flip_rate == 1
    assert found.pairwise.accuracy_without_ties is None


def test_pairs_in_both_orders() -> None:
    # pair 0 right in both orders; pair 1 takes the first image both times
    given_, turned = rows(["1", "1"], ["1", "1"]), rows(["2", "2"], ["2", "1"], "turned")
    found = metrics.of_task(given_ + turned, ("1", "2"))
    assert found.n == 2 and found.accuracy == 1.0
    assert found.pairwise.model_dump() == {
        "pairs": 2,
        "consistent_accuracy": 0.5,
        "accuracy_both_orders": 0.75,
        "accuracy_with_ties": 0.5,
        "accuracy_without_ties": 1.0,
        "flip_rate": 0.5,
        "first_position_rate": 0.75,
    }


def test_votes_take_the_majority() -> None:
    votes = [
        Prediction(id="1", task="t", order="given", vote=v, response="?", label="yes", verdict=x, lenient=x)
        for v, x in enumerate(["no", "yes", "yes"])
    ]
    found = metrics.of_task(votes, CHOICES)
    assert found.accuracy == 1.0
    # the first vote is wrong; two votes are a tie, which falls to the first; three have a majority
    assert [(k.votes, k.macro_f1) for k in found.votes_curve] == [(1, 0.0), (2, 0.0), (3, 0.5)]


def identity(**changes: object) -> Identity:
    task = {
        "split": "test",
        "prompt_sha256": "p",
        "samples_sha256": "s",
        "limit": None,
        "requests": 2,
        "choices": ["yes", "no"],
    }
    sampling = {"max_tokens": 16, "temperature": 0.0, "votes": 1}
    about = {
        "checkpoint": "c",
        "path": "x",
        "method": "zero_shot",
        "style": "sft",
        "sampling": sampling,
        "tasks": {"t": task},
        **changes,
    }
    return Identity.model_validate(about)


def answer(number: int, response: str) -> Prediction:
    request = Request(str(number), "t", "given", 0, "?", (), "yes", CHOICES)
    return predictions.of_answer(Answer(request, response, 1, "stop", 0.1), "sft", "p")


def test_predictions_survive_a_kill_at_any_byte(tmp_path: Path) -> None:
    with Recording(tmp_path, identity()) as store:
        list(store.append([answer(0, "yes"), answer(1, "no\u2028<script>")]))
    whole = (tmp_path / "predictions.jsonl").read_bytes()
    for cut in range(len(whole)):
        (tmp_path / "predictions.jsonl").write_bytes(whole[:cut])
        with Recording(tmp_path, identity()) as store:
            left = [n for n in (0, 1) if Key("t", str(n), "given", 0) not in store.rows]
            list(store.append([answer(n, "yes" if n == 0 else "no\u2028<script>") for n in left]))
        assert (tmp_path / "predictions.jsonl").read_bytes() == whole, cut
    assert score(tmp_path).tasks["t"].accuracy == 0.5


def test_another_evaluation_is_refused_and_names_what_differs(tmp_path: Path) -> None:
    Recording(tmp_path, identity()).__exit__()
    with pytest.raises(UserError, match="different now: checkpoint, style"):
        Recording(tmp_path, identity(checkpoint="d", style="rl"))
    task = identity().tasks["t"].model_copy(update={"prompt_sha256": "q"})
    other = identity(tasks={"t": task})
    with pytest.raises(UserError, match="task t: prompt_sha256"):
        Recording(tmp_path, other)


def test_two_writers_are_refused(tmp_path: Path) -> None:
    with Recording(tmp_path, identity()), pytest.raises(UserError, match="another mtrl eval"):
        Recording(tmp_path, identity())


def test_unfinished_tasks_have_no_numbers(tmp_path: Path) -> None:
    with Recording(tmp_path, identity()) as store:
        list(store.append([answer(0, "yes")]))
    assert "t" not in score(tmp_path).tasks
    assert json.loads((tmp_path / "metrics.json").read_text())["mean_macro_f1"] is None


def test_a_score_task_has_the_numbers_of_its_scale() -> None:
    five = ("1", "2", "3", "4", "5")
    labels, verdicts = ["1", "2", "3", "4", "5", "5"], ["1", "3", "3", "4", "4", None]
    sure = dict.fromkeys(five, 0.2)
    items = [
        replace(row, score=float(n), probabilities={**sure, "1": 0.1, "5": 0.3} if row.verdict == "4" else sure)
        for n, row in enumerate(rows(labels, verdicts))
    ]
    found = metrics.of_task(items, five)
    known = [1, 2, 3, 4, 5], [1, 3, 3, 4, 4]
    assert found.score.valid == 5 and found.invalid_rate == pytest.approx(1 / 6)
    assert found.score.srcc.value == pytest.approx(spearmanr(*known).statistic)
    assert found.score.srcc.worst < found.score.srcc.value < 1 and found.score.mae.value == pytest.approx(2 / 5)
    expected_score = [3.0, 3.0, 3.0, 3.4, 3.4, 3.0]
    assert found.graded.srcc.value == pytest.approx(spearmanr(expected_score, range(6)).statistic)
    assert found.graded.auc is None and found.graded.missing == 0
    assert found.macro_f1_ci95 is not None
    assert metrics.of_task(rows(["yes", "no"], ["yes", "no"]), CHOICES).score is None


def test_graded_values_are_of_one_order_and_of_all_votes() -> None:
    labels, verdicts = ["yes", "no", "yes", "no"], ["yes", "no", "no", None]
    first = [replace(row, confidence=0.8, score=50.0 + n, group="g") for n, row in enumerate(rows(labels, verdicts))]
    first[3] = replace(first[3], confidence=None)
    second = [replace(row, vote=1, verdict="yes", confidence=0.6) for row in first[:1]]
    found = metrics.of_task(first + second, CHOICES).graded
    # P(yes): the mean of 0.8 and 0.6, 0.2, 0.2, and none
    assert (found.n, found.missing, found.pairs) == (3, 1, 3)
    assert found.auc.value == pytest.approx(roc_auc_score([1, 0, 1], [0.7, 0.2, 0.2]))
    assert found.srcc.value == pytest.approx(spearmanr([0.7, 0.2, 0.2], [50, 51, 52]).statistic)
    assert found.pair_accuracy.value == 0  # 51 and 52 have equal values, which is wrong
    assert metrics.of_task(rows(labels, verdicts), CHOICES).graded is None
    pair = [
        replace(row, confidence=0.9) for row in rows(["1", "2"], ["1", "2"]) + rows(["2", "1"], ["2", "2"], "turned")
    ]
    found = metrics.of_task(pair, ("1", "2")).graded
    assert (found.n, found.auc.value, found.srcc) == (2, 1, None)
