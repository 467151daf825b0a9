"""The analysis of mtrl study: it finds what was planted in generated evaluations, and nothing else."""

from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from mtrl.core.errors import UserError
from mtrl.core.files import write_json
from mtrl.demo import study_analysis, study_outcomes, study_page, study_results, study_statistics, study_verdict
from mtrl.demo.study_verdict import Effect
from tests.unit import study_fixture as made

SHARES = {"A": 0.3, "B": 0.45, "C": 0.3, "D": 0.6, "E": 0.6}
SEEDS = [1, 2, 3, 4, 5, 6]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GRPO (D, E) keeps 30 points more pairs than SFT, reasoning changes nothing, more prompts add 15."""
    home = tmp_path_factory.mktemp("study")
    return made.study(home, made.plan(), lambda arm, seed: SHARES[arm] + 0.01 * (seed % 3), SEEDS)


# outcomes


def test_each_pair_has_one_outcome(tmp_path: Path) -> None:
    known = ["right", "invalid", "flipped", "wrong"]
    rows = [one for number, name in enumerate(known) for one in made.pair(number, name, "2", "c")]  # type: ignore[arg-type]
    both_invalid = made.row("study_pairs", "pair-9", "1", None), made.row("study_pairs", "pair-9", "2", None, "turned")
    found = study_outcomes.load(made.evaluation(tmp_path / "e", "sft", [*rows, *both_invalid]), pairs_only=True)
    assert [pair.outcome for pair in found.pairs] == [*known, "invalid"]
    assert found.share("invalid") == 0.4 and found.pairs[0].caption == "c"
    assert found.accuracy("given") == 2 / 5 and found.accuracy("turned") == 2 / 5  # flipped: "1" twice, label 2, then 1


def test_macro_f1_is_the_mean_of_the_three_tasks_of_a_shift(tmp_path: Path) -> None:
    from sklearn.metrics import f1_score

    share = {name: 0.5 + 0.05 * place for place, name in enumerate(made.TESTED)}
    rows = [one for name in made.TESTED for one in made.pointwise(name, share[name])]
    folder = made.evaluation(tmp_path / "e", "sft", [*rows, *made.pair(0, "right", "1", "c")])
    found = study_outcomes.load(folder).macro_f1
    for shift, names in study_outcomes.POINTWISE.items():
        of = [[r for r in rows if r.task == name] for name in names]
        scores = [f1_score([r.label for r in task], [r.verdict for r in task], average="macro") for task in of]
        assert math.isclose(found[shift], sum(scores) / 3)


def test_an_evaluation_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    folder = made.whole(tmp_path / "e", "sft", {"right": 1.0}, random.Random(0))
    lines = (folder / "predictions.jsonl").read_text().splitlines(keepends=True)
    (folder / "predictions.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(UserError, match="119 answers to task study_pairs; 120 were asked for"):
        study_outcomes.load(folder)
    made.evaluation(tmp_path / "p", "sft", made.pairs({"right": 1.0}, random.Random(0)))
    with pytest.raises(UserError, match="lacks task study_quality, "):
        study_outcomes.load(tmp_path / "p")


# results


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"asked": {"samples_sha256": "other"}}, "another samples_sha256 than"),
        ({"asked": {"prompt_sha256": "other"}}, "another prompt_sha256 than"),
        ({"sampling": {"max_tokens": 8, "temperature": 0.0, "votes": 1}}, "another max_tokens than"),
        ({"checkpoint": "another judge"}, "are of two judges"),
        ({"step": 50}, "is of step 50, not of step 100"),
    ],
)
def test_evaluations_that_cannot_be_compared_are_refused(tmp_path: Path, changed: dict, said: str) -> None:
    plan = made.plan()
    for arm in ("A", "D"):
        made.cell(tmp_path, plan, "b1", arm, 2, {"right": 0.5})
    made.whole(tmp_path / "runs/b1-D-2/eval-sft", "sft", {"right": 0.5}, random.Random(0), **changed)
    with pytest.raises(UserError, match=said) as refused:
        study_results.load(tmp_path, plan, [2])
    assert "mtrl study" in refused.value.then


@pytest.mark.parametrize(
    ("changed", "said"), [({"plan": "0" * 64}, "of another plan"), ({"seed": 3}, "seed 3"), ({"kl": -1.0}, "kl: ")]
)
def test_a_result_that_does_not_belong_there_is_refused(tmp_path: Path, changed: dict, said: str) -> None:
    made.cell(tmp_path, made.plan(), "b1", "A", 2, {"right": 0.5}, **changed)
    with pytest.raises(UserError, match=said):
        study_results.load(tmp_path, made.plan(), [2])


def test_a_cell_without_its_result_is_not_read(tmp_path: Path) -> None:
    run = made.cell(tmp_path, made.plan(), "b1", "A", 1, {"right": 0.5})
    found = study_results.load(tmp_path, made.plan(), [1])
    assert list(found.cells) == [("b1", "A", 1)] and list(found.cells["b1", "A", 1].steps) == [50, 100]
    (run / "cell.json").unlink()
    assert not study_results.load(tmp_path, made.plan(), [1]).cells


# statistics


@pytest.mark.parametrize(
    "values", [[1, 2, 3, -1, 5, 2, 2, 3], [0.1, 0.1, -0.1], [0, 0, 0, 0], [3, 3, 3, 3, 3, 3, 3, 3]]
)
def test_the_sign_flip_test_is_the_enumeration(values: list[float]) -> None:
    flips = [abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in
             itertools.product((1, -1), repeat=len(values))]  # fmt: skip
    exact = sum(flip >= abs(sum(values)) - 1e-9 for flip in flips) / len(flips)
    assert math.isclose(study_statistics.sign_flip(values), exact)


def test_holm() -> None:
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, and no less than that for 0.04
    assert np.allclose(study_statistics.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert study_statistics.holm([0.9, 0.8]) == [1.0, 1.0] and study_statistics.holm([]) == []


def test_the_interval_covers_the_truth() -> None:
    """8 seeds, 32 captions of 19 pairs; seeds and captions differ. Plain percentiles cover 0.90 of the first kind."""
    rng, runs, true = np.random.default_rng(1), 200, 0.1
    for seeds, captions in ((0.1, 0.0), (0.1, 0.1)):
        hits = 0
        for _ in range(runs):
            shift = rng.normal(0, captions, 32)[None] + rng.normal(0, seeds, 8)[:, None]
            right = rng.binomial(19, np.clip(0.5 + true + shift, 0, 1)) - rng.binomial(19, 0.5, (8, 32))
            low, high = study_statistics.interval(right, np.full(32, 19), ["b"] * 8, 400, int(rng.integers(1 << 30)))
            hits += low <= true <= high
        assert hits / runs >= 0.92


def test_the_interval_draws_seeds_within_bases_and_the_same_captions_for_all() -> None:
    sizes = np.array([10, 10])
    by_base = np.array([[1, 1], [1, 1], [5, 5], [5, 5]])  # all seeds of a base agree
    assert study_statistics.interval(by_base, sizes, ["x", "x", "y", "y"], 500) == (0.3, 0.3)
    low, high = study_statistics.interval(by_base, sizes, ["x"] * 4, 500)
    assert low < 0.2 and high > 0.4
    by_caption = np.array([[10, 0], [10, 0], [10, 0]])  # all seeds agree, captions do not
    low, high = study_statistics.interval(by_caption, sizes, ["x"] * 3, 500)
    assert (low, high) == (0.0, 1.0)
    assert study_statistics.interval(by_caption[:1], sizes, ["x"], 500) is None


def test_power_is_that_of_the_t_test() -> None:
    from scipy.stats import ttest_1samp

    drawn = np.random.default_rng(0).normal(1.0, 1.0, (20000, 9))
    assert abs(np.mean(ttest_1samp(drawn, 0, axis=1).pvalue < 0.05) - study_statistics.power(9, 1, 1, 0.05)) < 0.01
    assert study_statistics.power(12, 10, 10, 0.05) < 0.9 <= study_statistics.power(13, 10, 10, 0.05)
    assert study_statistics.seeds_for(10, 10, 0.05, 0.9) == 13
    assert study_statistics.seeds_for(0.0, 10, 0.05, 0.9) == 2
    assert study_statistics.seeds_for(1e9, 10, 0.05, 0.9) == study_statistics.MOST_SEEDS


def test_correlation_within_blocks_ignores_their_differences() -> None:
    from scipy.stats import spearmanr

    x, y = [1, 2, 3, 11, 12, 13], [3, 2, 1, 13, 12, 11]
    assert math.isclose(study_statistics.spearman(x, y), spearmanr(x, y).statistic)
    assert math.isclose(study_statistics.spearman(x, y, ["a"] * 3 + ["b"] * 3), -1)
    assert study_statistics.spearman([1, 1], [1, 2]) is None


# analysis


def test_planted_effects_are_found(planted: Path) -> None:
    plan = made.plan()
    results = study_results.load(planted, plan, SEEDS)
    found = {one.effect.name: one for one in study_analysis.comparisons(results, plan, ["b1"])}
    assert list(found) == ["E - A", "D - A", "C - A", "E - C", "B - A"]
    verdicts = {name: one.verdict for name, one in found.items()}
    assert verdicts["E - A"] == "supported" and verdicts["C - A"] == "not shown"
    for name, true in {"E - A": 0.3, "D - A": 0.3, "C - A": 0.0, "E - C": 0.3, "B - A": 0.15}.items():
        low, high = found[name].effect.interval
        assert low <= true <= high and found[name].effect.units == 6
    assert found["E - A"].holm is None and found["E - A"].effect.p == 2 / 64  # all 6 seeds have one sign
    assert found["D - A"].holm == 4 * 2 / 64 and verdicts["D - A"] == "not shown"  # by Holm, six seeds are too few
    effects = study_analysis.factorial(results, plan, ["b1"])
    assert [round(one.value, 1) for one in effects] == [0.3, 0.0, 0.0]
    each = [study_analysis.score(results.cells["b1", "E", s]) - study_analysis.score(results.cells["b1", "A", s])
            for s in SEEDS]  # fmt: skip
    assert math.isclose(found["E - A"].effect.value, sum(each) / 6)


def test_two_bases_are_stacked_and_an_unfinished_one_is_left_out(tmp_path: Path) -> None:
    plan = made.plan(bases={"b1": 1, "b2": 2}, seeds=[1, 2], least_seeds=2)
    made.study(tmp_path, plan, lambda arm, seed: SHARES[arm], [1, 2])
    results = study_results.load(tmp_path, plan, [1, 2])
    scope = study_analysis.scope(results, plan, [1, 2])
    assert scope.bases == ["b1", "b2"] and not scope.partial
    assert study_analysis.comparisons(results, plan, scope.bases)[0].effect.units == 4
    (tmp_path / "runs/b2-C-2/cell.json").unlink()
    results = study_results.load(tmp_path, plan, [1, 2])
    scope = study_analysis.scope(results, plan, [1, 2])
    assert scope.bases == ["b1"] and scope.partial and scope.done == {"b1": 2, "b2": 1}


@pytest.mark.parametrize(
    ("value", "interval", "p", "verdict"),
    [
        (0.10, (0.01, 0.2), 0.01, "supported"),
        (0.09, (0.01, 0.2), 0.01, "smaller than the margin"),
        (0.20, (0.01, 0.3), 0.05, "not shown"),
        (0.20, (-0.01, 0.3), 0.01, "not shown"),
        (-0.20, (-0.3, -0.01), 0.01, "opposite"),
        (0.30, None, 0.01, "not shown"),
    ],
)
def test_verdicts_follow_the_rules(value: float, interval: tuple | None, p: float, verdict: str) -> None:
    plan = made.plan()
    found = study_verdict.judged(("E", "A"), Effect("E - A", 8, value, interval, p), None, 0.0, plan)
    assert found.verdict == verdict and not found.fails(plan)
    assert verdict in study_verdict.sentence(found, plan)
    by_holm = study_verdict.judged(("E", "A"), Effect("E - A", 8, value, interval, 0.001), p, 0.031, plan)
    assert by_holm.verdict == verdict and by_holm.fails(plan)
    assert "Guard failed" in study_verdict.claim(by_holm, plan)
    assert ("Guard failed" in study_verdict.sentence(by_holm, plan)) is (interval is not None)


def test_the_guard_is_the_difference_in_domain(tmp_path: Path) -> None:
    plan = made.plan(seeds=[1, 2], least_seeds=2)
    for seed, arm in itertools.product([1, 2], plan.arms):
        made.cell(tmp_path, plan, "b1", arm, seed, {"right": 0.5}, right=1.0 if arm == "E" else 0.9)
    found = study_analysis.comparisons(study_results.load(tmp_path, plan, [1, 2]), plan, ["b1"])
    assert {one.effect.name: one.fails(plan) for one in found} == {
        "E - A": True, "D - A": False, "C - A": False, "E - C": True, "B - A": False
    }  # fmt: skip
    assert 0.09 < found[0].guard < 0.11


def test_the_pilot_sets_the_number_of_seeds(tmp_path: Path) -> None:
    plan = made.plan()
    assert study_analysis.needed(study_results.Results({}, {}), plan).used == plan.least_seeds
    for seed, right in zip(plan.pilot, (0.3, 0.5, 0.9), strict=True):
        made.cell(tmp_path, plan, "b1", "E", seed, {"right": right})
        made.cell(tmp_path, plan, "b1", "A", seed, {"right": 0.3})
    found = study_analysis.needed(study_results.load(tmp_path, plan, plan.pilot), plan)
    assert found.deviation > 0.2 and found.asked > 8 and found.used == 8
    assert study_analysis.seeds(tmp_path, plan) == plan.seeds
    calm = made.plan(margin=90)
    for file in tmp_path.glob("runs/*/cell.json"):
        write_json(file, {**json.loads(file.read_text()), "plan": calm.sha256})
    assert study_analysis.seeds(tmp_path, calm) == [1, 2, 3, 4, 5, 6]  # at least least_seeds


def test_distance_and_score(tmp_path: Path) -> None:
    plan = made.plan(trajectory=[])
    for seed in SEEDS:
        for arm, (right, kl) in {"A": (0.2, 5.0), "E": (0.8, 1.0)}.items():
            made.cell(tmp_path, plan, "b1", arm, seed, {"right": right}, kl=kl + 0.1 * seed)
    results = study_results.load(tmp_path, plan, SEEDS)
    found = study_analysis.correlation(results, lambda cell: cell.result.kl)
    assert found.n == 12 and found.overall < -0.6 and abs(found.within) < 0.7


# page


def test_the_page(planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = study_page.write(planted, made.plan())
    text = page.read_text()
    assert page == planted / "study.md" and max(map(len, text.splitlines())) <= 120
    assert "The data support the claim in this world: E has clearly more unseen pairs right than A." in text
    assert "| E - A | +2" in text and "Not finished" not in text and "](study.svg)" in text
    assert "Without a pilot of two seeds" in text
    row = next(line for line in text.splitlines() if line.startswith("| **A** | **verdict** | **3"))
    assert row.count("|") == 14
    plot = ElementTree.parse(planted / "study.svg")
    dots = plot.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(dots) == 30 + 5 * 3 + 30  # by arm; base and two checkpoints of seed 1; over the distance
    assert "prefers-color-scheme:dark" in (planted / "study.svg").read_text()


def test_a_part_of_a_study_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = made.plan(bases={"b1": 1, "b2": 2})
    assert "Not finished: every arm is done for 0 of 6 seeds on b1" in study_page.write(tmp_path, plan).read_text()
    made.cell(tmp_path, plan, "b1", "A", 1, {"right": 0.5})
    assert "0 of 6 seeds on b1" in study_page.write(tmp_path, plan).read_text()
    made.study(tmp_path, plan, lambda arm, seed: SHARES[arm], [1])
    text = study_page.write(tmp_path, plan).read_text()
    assert "1 of 6 seeds on b1, 1 of 6 seeds on b2" in text and "Each base by itself" in text
    assert "no verdicts before one base is finished" in text and "supported" not in text
    made.study(tmp_path, made.plan(bases={"b1": 1}), lambda arm, seed: SHARES[arm], SEEDS, plan=plan.sha256)
    text = study_page.write(tmp_path, plan).read_text()
    assert "6 of 6 seeds on b1, 1 of 6 seeds on b2" in text and "on b1; the first row" in text and "supported" in text


def test_the_page_in_a_clone(planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only between the markers, and only for the plan that mtrl ships."""
    monkeypatch.chdir(tmp_path)
    docs = tmp_path / "docs/study.md"
    docs.parent.mkdir()
    docs.write_text("before\n<!-- results -->\nNot run yet.\n<!-- end of results -->\nafter\n")
    assert study_page.write(planted, made.plan()) == planted / "study.md" and "Not run yet." in docs.read_text()
    monkeypatch.setattr(study_page.study_plan, "load", made.plan)
    for _ in range(2):
        assert study_page.write(planted, made.plan()).resolve() == docs
    text = docs.read_text()
    assert text.startswith("before\n<!-- results -->\n") and text.endswith("<!-- end of results -->\nafter\n")
    assert "Not run yet." not in text and (tmp_path / "docs/study.svg").exists()
    docs.write_text("before\n<!-- results -->\n")
    with pytest.raises(UserError, match="once each"):
        study_page.write(planted, made.plan())


# distance


def test_the_distance_of_a_model_from_itself_is_0(converted: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    from mtrl.demo import walkthrough

    base, other = walkthrough.tiny(), tmp_path / "other"
    shutil.copytree(base, other)
    weights = load_file(base / "model.safetensors")
    weights["model.language_model.norm.weight"] *= 1.5
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    found = []
    for judge in (base, other):
        done = subprocess.run(
            [sys.executable, "-m", "mtrl.demo.study_kl", "--base", base, "--judge", judge, "--data", "data",
             "--tasks", "demo_quality,demo_alignment,demo_safety", "--style", "rl", "--prompts", "7"],
            cwd=converted, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    same, changed = found
    assert same["kl"] == 0 and same["prompts"] == 7 and same["cut"] == 0
    assert 0 < changed["kl"] < 1000 and changed["tokens"] == same["tokens"]  # the same answers
    assert math.isclose(changed["kl"] * 7, changed["kl_per_token"] * changed["tokens"])
