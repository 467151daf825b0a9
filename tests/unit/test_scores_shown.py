"""Scores and graded values, from a release to what a user reads: `mtrl score`, the report, `mtrl compare`."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from mtrl.config import samples
from mtrl.config.tasks import Task
from mtrl.demo import releases
from mtrl.evaluate import scores
from mtrl.evaluate.metrics.graded import Graded
from mtrl.evaluate.metrics.prediction import Prediction
from mtrl.evaluate.metrics.task import of_task
from mtrl.evaluate.predictions import as_line
from tests.unit.releases_fixture import asked, mos, run, task_with

FIVE = ("1", "2", "3", "4", "5")
CHOICES = {"quality": FIVE, "match": ("yes", "no")}


def rows(task: str, far: int, invalid: int, n: int = 60) -> list[Prediction]:
    """Verdicts up to `far` steps off; the first `invalid` answers cannot be read. Three items per prompt."""
    draw = random.Random(far)
    found = []
    for number in range(n):
        place = number % 5
        near = min(4, max(0, place + draw.randint(-far, far)))
        sure = {choice: 0.6 if k == near else 0.1 for k, choice in enumerate(FIVE)}
        five = task == "quality"
        say = [FIVE[near] if five else ("yes" if near > 2 else "no"), None][number < invalid]
        found.append(
            Prediction(
                id=f"{number}", task=task, order="given", vote=0, response=say or "well", verdict=say, lenient=say,
                label=FIVE[place] if five else ("yes" if place > 2 else "no"), cluster=f"c{number // 3}",
                group=f"g{number // 3}", score=20.0 * place + draw.random(), confidence=0.6 if say else None,
                probabilities=sure if five and say else None,
            )
        )  # fmt: skip
    return found


def folder(path: Path, far: int, invalid: int = 4) -> Path:
    found = {task: rows(task, far, invalid) for task in CHOICES}
    tasks = {
        task: {"split": "test", "prompt_sha256": "p", "samples_sha256": "s", "limit": None, "requests": len(of),
               "choices": list(CHOICES[task])}
        for task, of in found.items()
    }  # fmt: skip
    path.mkdir(parents=True)
    about = {"method": "zero_shot", "path": "m", "style": "sft", "sampling": {"votes": 1}, "tasks": tasks}
    (path / "eval.json").write_text(json.dumps(about))
    (path / "predictions.jsonl").write_text("".join(as_line(row) for of in found.values() for row in of))
    return path


def cells(out: str, head: str, task: str) -> list[str]:
    """The row of a task in the table whose head has `head`."""
    table = out[out.index(head) :]
    line = next(line for line in table.splitlines() if re.match(rf"│ {task}\b", line))
    return [cell.strip() for cell in line.strip("│").split("│")]


def said(value: float, ci95: list[float] | None, times: int = 1) -> str:
    digits = 1 if times == 100 else 3
    low, high = ci95 or (0.0, 0.0)
    return f"{times * value:.{digits}f} [{times * low:.{digits}f}, {times * high:.{digits}f}]"


def test_a_score_task_is_shown_by_its_correlations(tmp_path: Path, cli) -> None:
    out = folder(tmp_path / "a" / "eval", 1)
    done = cli("score", out)
    assert done.code == 0
    found = scores.read(out / scores.METRICS).tasks
    score, graded = found["quality"].score, found["match"].graded
    assert score and graded and score.valid == 56 and graded.missing == 4
    row = cells(done.out, "SRCC at worst", "quality")
    assert row[:4] == ["quality", "60", said(score.srcc.value, score.srcc.ci95), f"{score.srcc.worst:.3f}"]
    assert row[7] == said(score.mae.value, score.mae.ci95) and row[9] == "6.67"
    assert score.srcc.worst < score.srcc.ci95[0]
    row = cells(done.out, "AUC [95%]", "match")
    assert row[1:4] == ["56", "4", said(graded.auc.value, graded.auc.ci95, 100)]
    assert row[5] == said(graded.srcc.value, graded.srcc.ci95) and row[7] == str(graded.pairs)
    assert cells(done.out, "Macro-F1 [95%]", "match") and "│ quality" not in done.out[: done.out.index("SRCC at worst")]
    assert "quality: 4 of 60 answers are invalid, and SRCC, PLCC" in done.out


def test_the_report_has_scores_and_graded_values_with_their_words(tmp_path: Path, cli) -> None:
    out = folder(tmp_path / "a" / "eval", 1)
    assert cli("score", out).code == 0
    page, found = (out / "report.html").read_text(), scores.read(out / scores.METRICS).tasks
    score = found["quality"].score
    for word in ("SRCC", "SRCC at worst", "Kendall", "quadratic kappa", "MAE", "AUC", "pairs right"):
        assert re.search(f'<abbr title="[^"]{{20,}}">{word}</abbr>', page) and f"<dt>{word}</dt>" in page, word
    assert f"<b>{score.srcc.value:.3f}</b>" in page and f"{score.srcc.worst:.3f} at worst" in page
    assert f"{100 * found['match'].graded.auc.value:.1f}" in page
    assert "most frequent label on match (Macro-F1" in page  # no constant answer has an SRCC to compare with


def test_two_judges_of_a_score_task_are_compared_by_srcc(tmp_path: Path, cli) -> None:
    a, b = folder(tmp_path / "a", 3, 2), folder(tmp_path / "b", 1, 4)
    done = cli("compare", a, b, "--out", tmp_path / "c.html")
    assert done.code == 0, done.err
    row = cells(done.out, "B - A", "quality")
    assert row[3] == "SRCC" and re.fullmatch(r"\+0\.\d{3} \[\+0\.\d{3}, \+0\.\d{3}\]", row[6])
    assert cells(done.out, "B - A", "match")[3] == "Macro-F1"
    assert "quality: SRCC is of the samples to which both gave a valid answer; 3.3% and 6.7%" in done.out
    first = done.out.splitlines()[0]
    assert (
        "is better than" in first and "quality" in first and "on average" not in first
    )  # SRCC and Macro-F1 have no mean
    assert row[4] in (tmp_path / "c.html").read_text() and ">SRCC</abbr>" in (tmp_path / "c.html").read_text()


@pytest.mark.parametrize("invalid", [0, 60])
def test_no_answer_or_every_answer_is_invalid(tmp_path: Path, cli, invalid: int) -> None:
    out = folder(tmp_path / "a", 1, invalid)
    done = cli("score", out)
    assert done.code == 0, done.err
    found = scores.read(out / scores.METRICS).tasks["quality"]
    assert found.score.valid == 60 - invalid
    row = cells(done.out, "SRCC at worst", "quality")
    assert (row[2] == "-") == (invalid == 60) and (found.graded is None) == (invalid == 60)
    assert row[3] == f"{found.score.srcc.worst:.3f}"
    assert (found.score.srcc.worst == found.score.srcc.value) == (invalid == 0)


def judged(task: Task, raw: Path, data: Path) -> tuple[list[samples.Sample], list[float], Graded]:
    """The test split of a converted release, P(yes) of a judge for each sample, and what comes of them."""
    run(task, raw, data)
    test, draw, found = list(samples.read(data, task.name, "test")), random.Random(1), []
    for requests in asked(task, data).values():
        one = requests["given"]
        yes = round(0.3 + 0.3 * (one.label == "yes") + 0.39 * draw.random(), 6)
        sure = max(yes, 1 - yes)
        found.append(
            Prediction(
                id=one.id, task=task.name, order="given", vote=0, response="", verdict="yes" if yes > 0.5 else "no",
                lenient=None, label=one.label, cluster=one.cluster, group=one.group, score=one.score, confidence=sure,
            )
        )  # fmt: skip
    graded = of_task(found, task.choices).graded
    assert graded and [row.id for row in found] == [sample.id for sample in test] and not graded.low_is_first
    return test, [row.graded(task.choices) or 0.0 for row in found], graded


def test_the_releases_give_their_authors_numbers(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    releases.agin(raw, rows=200)
    test, yes, found = judged(mos("agin_nat", "<= 50"), raw, tmp_path / "agin")
    assert found.srcc and found.srcc.value == pytest.approx(
        spearmanr(yes, [sample.source["MOS_nat"] for sample in test]).statistic
    )
    releases.seetrue(raw)
    test, yes, found = judged(task_with("seetrue"), raw, tmp_path / "seetrue")
    assert found.auc and found.auc.value == pytest.approx(roc_auc_score([s.answer == "yes" for s in test], yes))
    assert found.srcc is None and found.pair_accuracy is None  # a label of 0 or 1 is no number of its own
    releases.imagereward(raw)
    test, yes, found = judged(task_with("imagereward"), raw, tmp_path / "imagereward")
    rated = [
        (s.source["prompt_id"], s.source["image_text_alignment_rating"], p) for s, p in zip(test, yes, strict=True)
    ]
    pairs = [(a, b) for n, a in enumerate(rated) for b in rated[:n] if a[0] == b[0] and a[1] != b[1]]
    right = sum((a[1] - b[1]) * (a[2] - b[2]) > 0 for a, b in pairs)
    assert found.pairs == len(pairs) > 0
    assert found.pair_accuracy and found.pair_accuracy.value == pytest.approx(right / len(pairs))


def test_probabilities_that_do_not_add_up_to_1_are_damaged(tmp_path: Path, cli) -> None:
    file = folder(tmp_path / "e", 1) / "predictions.jsonl"
    file.write_text(file.read_text().replace('"1": 0.1', '"1": 0.9'))
    done = cli("score", tmp_path / "e")
    assert done.code == 2 and "has probabilities that do not add up to 1" in done.err
