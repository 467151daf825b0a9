"""PPI++ and Rogan-Gladen: equal to ppi_py on its own examples; intervals cover as often as they say.

`python -m tests.unit.test_prevalence` prints how often, for docs/true-share.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from mtrl.evaluate.metrics import prevalence
from mtrl.evaluate.metrics.prevalence import RoganGladen, Sample
from tests.unit import ppi_reference

CASES = json.loads(Path(__file__).with_name("ppi_reference.json").read_text())
METHODS = ("PPI++", "Rogan-Gladen", "labels alone")


class Setting(NamedTuple):
    """A judge and a set of 2,000 images; `size` is the mean size of a cluster, `alike` the correlation inside one."""

    labels: int
    share: float
    sensitivity: float
    specificity: float
    size: int = 1
    alike: float = 0.0
    whole: bool = False
    """Whether whole clusters are labelled, in place of images."""


FEW = [  # of the settings below, those of `make test`
    Setting(100, 0.6, 0.9, 0.7),
    Setting(100, 0.6, 0.9, 0.7, size=5, alike=0.3),
]
SETTINGS = [
    *FEW,
    Setting(20, 0.5, 0.9, 0.8),
    Setting(200, 0.3, 0.7, 0.75),
    Setting(200, 0.05, 0.9, 0.9),
    Setting(100, 0.3, 0.98, 0.98),
    Setting(50, 0.9, 0.98, 0.98),
    Setting(200, 0.3, 0.9, 0.9, size=5, alike=0.3),
    Setting(200, 0.3, 0.9, 0.9, size=5, alike=0.3, whole=True),
    Setting(200, 0.6, 0.8, 0.7, size=10, alike=0.6),
    Setting(200, 0.6, 0.8, 0.7, size=10, alike=0.6, whole=True),
]
RARE = Setting(50, 0.05, 0.99, 0.99)
IMAGES = 2000


def whole_set(of: Setting, draw: np.random.Generator) -> tuple[Any, Any, Any]:
    """The label, the verdict and the cluster of each image."""
    clusters = np.arange(IMAGES)
    shares = [np.full(IMAGES, part) for part in of[1:4]]
    if of.size > 1:
        clusters = np.repeat(clusters, draw.geometric(1 / of.size, IMAGES))[:IMAGES]
        spread = (1 - of.alike) / of.alike
        shares = [draw.beta(part * spread, (1 - part) * spread, IMAGES)[clusters] for part in of[1:4]]
    labels, right, also_right = (draw.random(IMAGES) < part for part in shares)
    return labels.astype(float), np.where(labels, right, ~also_right).astype(float), clusters


def sampled(of: Setting, draw: np.random.Generator) -> tuple[Sample, float]:
    """A set with some of its labels, and the share of all its labels."""
    labels, verdicts, clusters = whole_set(of, draw)
    order = np.argsort(draw.permutation(IMAGES)[clusters], kind="stable") if of.whole else draw.permutation(IMAGES)
    known, rest = np.split(order, [of.labels])
    sample = Sample(labels[known], verdicts[known], clusters[known], verdicts[rest], clusters[rest], verdicts, clusters)
    return sample, float(labels.mean())


def intervals(sample: Sample) -> Iterator[list[float] | None]:
    """Of METHODS."""
    yield prevalence.ppi(sample)[0].ci95
    corrected = prevalence.rogan_gladen(sample)
    yield corrected.share.ci95 if isinstance(corrected, RoganGladen) else None
    yield prevalence.of_labels(sample).ci95


def coverage(of: Setting, draws: int) -> dict[str, tuple[float, float, float]]:
    """For each method: how often the interval has the share of the source, how often that of the set; mean width."""
    found: dict[str, list[tuple[bool, bool, float]]] = {name: [] for name in METHODS}
    for seed in range(draws):
        sample, own = sampled(of, np.random.default_rng(seed))
        for name, bounds in zip(METHODS, intervals(sample), strict=True):
            if bounds:
                low, high = bounds
                found[name].append((low <= of.share <= high, low <= own <= high, high - low))
    return {name: tuple(np.mean(rows, axis=0).tolist()) for name, rows in found.items()}  # type: ignore[misc]


def least(draws: int) -> float:
    """95% less three times the Monte-Carlo error."""
    return 0.95 - 3 * math.sqrt(0.95 * 0.05 / draws)


def check(of: Setting, draws: int) -> None:
    found = coverage(of, draws)
    for name, (source, own, _) in found.items():
        assert source >= least(draws) and own >= least(draws), (name, source, own)
    assert found["PPI++"][2] < 1.02 * found["labels alone"][2]  # what the judge is for


@pytest.mark.parametrize("setting", FEW, ids=str)
def test_intervals_cover_the_share_in_a_hundred_draws(setting: Setting) -> None:
    check(setting, 100)


@pytest.mark.long
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_intervals_cover_the_share_in_a_thousand_draws(setting: Setting) -> None:
    check(setting, 1000)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.get("test", str(case.get("labelled"))))
def test_equal_to_ppi_py_on_its_own_examples(case: dict[str, Any]) -> None:
    if "test" in case:
        labels, verdicts, rest = ppi_reference.of_its_tests(case["test"])
    else:
        labels, verdicts, rest = ppi_reference.of_counts(case["labelled"], case["rest"])
    own, others = np.arange(len(labels)), len(labels) + np.arange(len(rest))
    found = prevalence.power_tuned(Sample(labels, verdicts, own, rest, others, rest, others))
    assert found.value == pytest.approx(case["value"], abs=1e-12)
    bounds = [found.value + side * prevalence.Z * found.error for side in (-1, 1)]
    assert bounds == pytest.approx(case["ci95"], abs=1e-12)


def test_the_estimate_is_ppi_pys_and_its_interval_is_wider() -> None:
    case = next(case for case in CASES if case.get("labelled") == ppi_reference.OURS[0][0])
    labels, verdicts, rest = ppi_reference.of_counts(case["labelled"], case["rest"])
    own, others = np.arange(len(labels)), len(labels) + np.arange(len(rest))
    share, tuning = prevalence.ppi(Sample(labels, verdicts, own, rest, others, rest, others))
    assert share.value == pytest.approx(case["value"], abs=1e-12) and 0 < tuning < 1
    low, high = case["ci95"]
    assert high - low < share.ci95[1] - share.ci95[0] < 1.1 * (high - low)


def sample_of(counts: dict[str, int], rest: dict[str, int]) -> Sample:
    """Every image its own cluster; the set is the labelled images and the others."""
    labels, verdicts, others = ppi_reference.of_counts(counts, rest)
    every = np.arange(len(labels) + len(others))
    own, more = np.split(every, [len(labels)])
    return Sample(labels, verdicts, own, others, more, np.concatenate([verdicts, others]), every)


def test_rogan_and_gladens_formula_on_numbers_done_by_hand() -> None:
    """100 of 200 labels are 1: sensitivity 0.9, specificity 0.8; 540 of 1,000 verdicts: (0.54 + 0.8 - 1) / 0.7."""
    found = prevalence.rogan_gladen(sample_of({"1 1": 90, "1 0": 10, "0 1": 20, "0 0": 80}, {"1": 430, "0": 370}))
    assert isinstance(found, RoganGladen)
    assert found.share.value == pytest.approx(0.34 / 0.7) and found[1:] == pytest.approx((0.9, 0.8))
    of_rates = math.sqrt((0.486 * 0.3) ** 2 / 100 + (0.514 * 0.4) ** 2 / 100) / 0.7  # of the two rates alone
    assert 2 * 1.96 * of_rates < found.share.ci95[1] - found.share.ci95[0] < 3 * 1.96 * of_rates


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ({"1 1": 40, "1 0": 10}, "labels of both kinds"),
        ({"1 1": 20, "1 0": 80, "0 1": 30, "0 0": 70}, "add up to 100% or less"),
        ({"1 1": 50, "1 0": 50, "0 1": 50, "0 0": 50}, "add up to 100% or less"),
    ],
)
def test_no_rogan_gladen_without_a_judge_that_knows_something(counts: dict[str, int], why: str) -> None:
    found = prevalence.rogan_gladen(sample_of(counts, {"1": 500, "0": 500}))
    assert isinstance(found, str) and why in found


def test_a_share_is_clipped_and_says_what_the_formula_gave() -> None:
    found = prevalence.rogan_gladen(sample_of({"1 1": 45, "1 0": 5, "0 1": 20, "0 0": 30}, {"1": 300, "0": 700}))
    assert isinstance(found, RoganGladen)
    assert found.share.value == 0.0 == found.share.ci95[0] < found.share.ci95[1] and found.share.formula < 0


def test_no_rogan_gladen_where_no_share_fits_the_verdicts() -> None:
    """The judge says 1 for 90% of one kind and 40% of the other, but for 7% of the set: no mixture of them."""
    found = prevalence.rogan_gladen(sample_of({"1 1": 45, "1 0": 5, "0 1": 20, "0 0": 30}, {"1": 10, "0": 990}))
    assert isinstance(found, str) and "the formula gives -66.4%, and no share from 0% to 100% is in its" in found


def test_no_interval_has_no_width() -> None:
    """A judge that was right about every label, and labels that are all the same."""
    right = sample_of({"1 1": 60, "0 0": 40}, {"1": 3000, "0": 2000})
    assert prevalence.power_tuned(right).error < 0.01
    low, high = prevalence.ppi(right)[0].ci95
    assert high - low > 0.05
    share, tuning = prevalence.ppi(sample_of({"1 1": 50, "1 0": 10}, {"1": 4000, "0": 900}))
    assert share.value == 1 and tuning == 0 and share.ci95[0] < 0.96 and share.ci95[1] == 1


def test_copies_of_images_add_nothing() -> None:
    """Every image three times, as one cluster of three: the same intervals."""
    once, _ = sampled(Setting(100, 0.6, 0.9, 0.7), np.random.default_rng(0))
    thrice = Sample(*(np.repeat(part, 3) for part in list(vars(once).values())[:-1]))
    apart = replace(
        thrice, clusters=np.arange(300), rest_clusters=300 + np.arange(5700), every_clusters=np.arange(6000)
    )
    for name, one, three, wrong in zip(METHODS, intervals(once), intervals(thrice), intervals(apart), strict=True):
        assert one and three and wrong and three == pytest.approx(one, abs=0.003), name
        assert wrong[1] - wrong[0] < 0.7 * (one[1] - one[0]), name


def test_a_pick_by_verdict_is_noticed_and_a_random_one_is_not() -> None:
    picked = sample_of({"1 1": 100, "0 1": 30}, {"1": 2000, "0": 2000})
    assert prevalence.unlike(picked) < 1e-6
    values = [prevalence.unlike(sampled(FEW[0], np.random.default_rng(seed))[0]) for seed in range(200)]
    assert min(values) > 0.0005 and np.mean(np.array(values) < 0.05) < 0.1
    assert prevalence.unlike(sample_of({"1 1": 100}, {"1": 500})) == 1


def of_ppi_py(of: Setting, draws: int) -> float:
    """How often the interval that ppi_py gives has the share of the source."""
    found = [prevalence.power_tuned(sampled(of, np.random.default_rng(seed))[0]) for seed in range(draws)]
    return float(np.mean([abs(one.value - of.share) <= prevalence.Z * one.error for one in found]))


def test_why_there_are_pseudo_labels() -> None:
    """A rare share, an accurate judge and few labels: ppi_py's own interval has it too rarely."""
    assert of_ppi_py(RARE, 100) < 0.88 and coverage(RARE, 100)["PPI++"][0] >= least(100)


if __name__ == "__main__":
    print(
        RARE, f"ppi_py: {100 * of_ppi_py(RARE, 1000):.1f}%, PPI++ here: {100 * coverage(RARE, 1000)['PPI++'][0]:.1f}%"
    )
    for one in SETTINGS:
        print(one)
        for name, (source, own, width) in coverage(one, 1000).items():
            print(f"    {name:13} source {100 * source:.1f}%  set {100 * own:.1f}%  width {100 * width:.1f} points")
