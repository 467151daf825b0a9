"""Metrics equal scikit-learn's, and are computed from predictions alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from mtrl.errors import UserError
from mtrl.evaluate import metrics, predictions, run
from mtrl.evaluate.engine import Answer
from mtrl.evaluate.requests import Request

CHOICES = ("yes", "no")


def rows(labels: list[str], verdicts: list[str | None], order: str = "given") -> list[dict]:
    return [
        {"id": str(i), "order": order, "vote": 0, "label": a, "verdict": b, "lenient": b}
        for i, (a, b) in enumerate(zip(labels, verdicts, strict=True))
    ]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(CHOICES), st.sampled_from(["yes", "no", None])), min_size=1, max_size=80))
def test_equal_to_scikit_learn(pairs: list[tuple[str, str | None]]) -> None:
    labels, verdicts = [a for a, _ in pairs], [b for _, b in pairs]
    found = metrics.of_task(rows(labels, verdicts), CHOICES)
    named = [v or "invalid" for v in verdicts]
    assert found["macro_f1"] == pytest.approx(f1_score(labels, named, labels=CHOICES, average="macro", zero_division=0))
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, named))
    assert found["invalid_rate"] == pytest.approx(named.count("invalid") / len(named))
    assert sum(sum(counts.values()) for counts in found["confusion"].values()) == found["n"] == len(pairs)
    low, high = found["macro_f1_ci95"]
    assert 0 <= low <= high <= 1


def test_the_interval_is_that_of_resampling_rows() -> None:
    generator = np.random.default_rng(1)
    labels = generator.choice(CHOICES, 600)
    verdicts = np.where(generator.random(600) < 0.75, labels, np.where(labels == "yes", "no", "yes"))
    found = metrics.of_task(rows(list(labels), list(verdicts)), CHOICES)["macro_f1_ci95"]
    drawn = []
    for _ in range(600):
        index = generator.integers(0, 600, 600)
        drawn.append(f1_score(labels[index], verdicts[index], average="macro"))
    assert found == pytest.approx(list(np.percentile(drawn, [2.5, 97.5])), abs=0.01)


def test_an_invalid_answer_is_never_dropped_or_flipped() -> None:
    found = metrics.of_task(rows(["yes", "no"], ["yes", None]), CHOICES)
    assert (found["n"], found["accuracy"], found["invalid_rate"]) == (2, 0.5, 0.5)
    assert found["confusion"]["no"] == {"yes": 0, "no": 0, "invalid": 1}


def test_pairs_in_both_orders() -> None:
    # pair 0 right in both orders; pair 1 takes the first image both times
    given_, turned = rows(["1", "1"], ["1", "1"]), rows(["2", "2"], ["2", "1"], "turned")
    found = metrics.of_task(given_ + turned, ("1", "2"))
    assert found["n"] == 2 and found["accuracy"] == 1.0
    assert found["pairwise"] == {"pairs": 2, "consistent_accuracy": 0.5, "flip_rate": 0.5, "first_position_rate": 0.75}


def test_votes_take_the_majority() -> None:
    votes = [
        {"id": "1", "order": "given", "vote": v, "label": "yes", "verdict": x, "lenient": x}
        for v, x in enumerate(["no", "yes", "yes"])
    ]
    assert metrics.of_task(votes, CHOICES)["accuracy"] == 1.0


def identity(**changes: object) -> dict:
    task = {
        "split": "test",
        "prompt_sha256": "p",
        "samples_sha256": "s",
        "limit": None,
        "requests": 2,
        "choices": ["yes", "no"],
    }
    sampling = {"max_tokens": 16, "temperature": 0.0, "votes": 1}
    return {
        "checkpoint": "c",
        "path": "x",
        "method": "zero_shot",
        "style": "sft",
        "sampling": sampling,
        "tasks": {"t": task},
        **changes,
    }


def answer(number: int, response: str) -> dict:
    request = Request(str(number), "t", "given", 0, "?", (), "yes", CHOICES)
    return predictions.row_of(Answer(request, response, 1, "stop", 0.1), "sft", "p")


def test_predictions_survive_a_kill_at_any_byte(tmp_path: Path) -> None:
    with predictions.Store(tmp_path, identity()) as store:
        list(store.append([answer(0, "yes"), answer(1, "no\u2028<script>")]))
    whole = (tmp_path / "predictions.jsonl").read_bytes()
    for cut in range(len(whole)):
        (tmp_path / "predictions.jsonl").write_bytes(whole[:cut])
        with predictions.Store(tmp_path, identity()) as store:
            left = [n for n in (0, 1) if ("t", str(n), "given", 0) not in store.rows]
            list(store.append([answer(n, "yes" if n == 0 else "no\u2028<script>") for n in left]))
        assert (tmp_path / "predictions.jsonl").read_bytes() == whole, cut
    assert run.score(tmp_path)["t"]["accuracy"] == 0.5


def test_another_evaluation_is_refused_and_names_what_differs(tmp_path: Path) -> None:
    predictions.Store(tmp_path, identity()).__exit__()
    with pytest.raises(UserError, match="different now: checkpoint, style"):
        predictions.Store(tmp_path, identity(checkpoint="d", style="rl"))
    other = identity()
    other["tasks"]["t"] = {**other["tasks"]["t"], "prompt_sha256": "q"}
    with pytest.raises(UserError, match="task t: prompt_sha256"):
        predictions.Store(tmp_path, other)


def test_two_writers_are_refused(tmp_path: Path) -> None:
    with predictions.Store(tmp_path, identity()), pytest.raises(UserError, match="another mtrl eval"):
        predictions.Store(tmp_path, identity())


def test_unfinished_tasks_have_no_numbers(tmp_path: Path) -> None:
    with predictions.Store(tmp_path, identity()) as store:
        list(store.append([answer(0, "yes")]))
    assert "t" not in run.score(tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text())["mean_macro_f1"] is None
