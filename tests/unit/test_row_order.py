"""The order of the rows in a file changes no number: engines answer in any order, and tables get sorted."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mtrl.config.kinds import OTHER
from mtrl.config.samples import Order
from mtrl.core.files import write_json
from mtrl.evaluate import certify, compare, estimate, judged_set, predictions, rescore, scores, sift
from mtrl.evaluate.probing import effects, perturbations
from tests.unit.test_estimate import jsonl, judged, table

Row = dict[str, Any]
YES_NO, PAIR, SCALE = ("yes", "no"), ("1", "2", "tie"), ("1", "2", "3", "4", "5")
TASKS = {"seetrue": YES_NO, "genaibench_generation": PAIR, "mllmjudge_score": SCALE}
VARIANTS = ("blank", "other", "order", "blur-1", "hue-2")


def rows_of(task: str, judge: int, votes: int = 1, variants: tuple[str, ...] = ("",), rows: int = 60) -> list[Row]:
    """Answers to one task: clusters, some invalid ones, a pair in both orders, all that a row may have."""
    draw, choices, made = random.Random(f"{task}{judge}"), TASKS[task], []
    for number in range(rows):
        right, sure = random.Random(f"{task}{number}").choice(choices), choices is not PAIR or number % 2 == 0
        for order in get_args(Order) if choices is PAIR and not variants[0] and votes == 1 else ("given",):
            for vote, variant in ((vote, variant) for vote in range(votes) for variant in variants):
                label = OTHER[right] if order == "turned" else right
                verdict = label if draw.random() < 0.7 else draw.choice([*choices, None])
                shares = [draw.random() for _ in choices]
                top = dict(zip(choices, (share / sum(shares) for share in shares), strict=True))
                row = {
                    "id": f"r{number}", "task": task, "order": order, "vote": vote, "response": verdict or "?",
                    "verdict": verdict, "lenient": verdict, "label": label, "variant": variant,
                    "cluster": f"c{number % 50}", "group": f"g{number % 50}", "score": draw.random(),
                    "annotators": {name: draw.choice(choices) for name in "abcd"}, "latency": draw.random(),
                }  # fmt: skip
                if verdict and sure:
                    row["confidence"] = top[verdict]
                    row |= {"probabilities": top} if len(choices) > 2 else {}
                made.append(row)
    return made


def shuffled(rows: list[Any], order: int) -> list[Any]:
    """In a random order, or with 0 as they are."""
    return random.Random(order).sample(rows, len(rows)) if order else rows


def write(folder: Path, rows: list[Row], order: int, **changes: Any) -> Path:
    """An evaluation folder with these rows."""
    names = sorted({row["task"] for row in rows})
    asked = {
        name: {
            "split": "train" if changes.get("sift") else "test", "prompt_sha256": "0" * 64, "samples_sha256": "1" * 64,
            "limit": None, "requests": sum(row["task"] == name for row in rows), "choices": list(TASKS[name]),
        }
        for name in names
    }  # fmt: skip
    votes = max(row["vote"] for row in rows) + 1
    write_json(
        folder / "eval.json",
        {"schema": 1, "path": "m", "name": "m", "run": "", "method": "zero_shot", "style": "sft", "tasks": asked,
         "checkpoint": "2" * 64, "sampling": {"votes": votes}, **changes},
    )  # fmt: skip
    (folder / predictions.FILE).write_text("".join(json.dumps(row) + "\n" for row in shuffled(rows, order)))
    return folder


def scored(here: Path, order: int) -> Any:
    every = [row for task in TASKS for row in rows_of(task, 1)]
    return scores.score(write(here / "a", every, order)).tasks


def scored_votes(here: Path, order: int) -> Any:
    return scores.score(write(here / "a", rows_of("seetrue", 1, votes=4), order)).tasks


def compared(here: Path, order: int) -> Any:
    sides = [[row for task in TASKS for row in rows_of(task, judge)] for judge in (1, 2)]
    return compare.folders(write(here / "a", sides[0], order), write(here / "b", sides[1], order and order + 1))


def certified(here: Path, order: int) -> Any:
    """Without the hash of the file, whose bytes do differ."""
    folder = write(
        here / "a", [row for task in ("seetrue", "genaibench_generation") for row in rows_of(task, 1)], order
    )
    found = list(certify.certify(folder, [], 0.6, 0.4, here / "data"))
    assert any(one.decision for one in found) and all(one.scaling for one in found)
    made = [one.decision and one.decision.model_copy(update={"predictions_sha256": ""}) for one in found]
    return [replace(one, decision=decision) for one, decision in zip(found, made, strict=True)]


def probed(here: Path, order: int) -> Any:
    rows = rows_of("seetrue", 1, variants=("", *VARIANTS))
    folder = write(here / "a", rows, order, probe={"rows": 60, "seed": 0, "only": []})
    return effects.of_task(predictions.load(folder, purpose="probe"), "seetrue", {}, {})


def sifted(here: Path, order: int) -> Any:
    found = sift.load(write(here / "a", rows_of("seetrue", 1, votes=8), order, sift=True))
    return found, sift.summary(found.rows["seetrue"])


def of_table(here: Path, order: int) -> Any:
    rows, truth = judged(images=200)
    rows = [{**row, "cluster": f"c{n % 150}"} for n, row in enumerate(rows)]
    found = judged_set.read(jsonl(shuffled(rows, order)))
    file = table(shuffled(list(truth.items())[:60], order))
    return estimate.of_table(found, "photo", ("yes",), estimate.read_labels(found, ["photo"], file))


def of_evaluation(here: Path, order: int) -> Any:
    other = write(here / "a", rows_of("seetrue", 1), order)
    rows, _ = judged("seetrue", images=200)
    found = judged_set.read(jsonl(shuffled(rows, order)))
    return estimate.of_evaluation(found, "seetrue", ("yes",), judged_set.read(other))


EVERY = [scored, scored_votes, compared, certified, probed, sifted, of_table, of_evaluation]


@pytest.mark.parametrize("of", EVERY, ids=lambda of: of.__name__)
@settings(
    max_examples=3, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(order=st.integers(min_value=1))
def test_no_number_depends_on_the_order_of_the_rows(
    of: Callable[[Path, int], Any], order: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as inside:
        inside.chdir(tmp_path)
        assert of(tmp_path, order) == of(tmp_path, 0)


def test_a_file_that_is_read_again_keeps_its_order(tmp_path: Path) -> None:
    rows = [{**row, "verdict": None, "response": "yes", "confidence": None} for row in rows_of("seetrue", 1)]
    folder = write(tmp_path / "a", rows, order=3)
    before = [json.loads(line)["id"] for line in (folder / predictions.FILE).read_text().splitlines()]
    assert rescore.reread(folder).verdict == len(rows)
    assert [json.loads(line)["id"] for line in (folder / predictions.FILE).read_text().splitlines()] == before
    assert before != sorted(before)


def test_the_variants_are_of_the_probe() -> None:
    assert set(VARIANTS) <= set(perturbations.LEVELS)
