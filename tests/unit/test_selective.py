"""The threshold of mtrl certify: by hand, against SciPy, and in simulated draws whose true error is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from numpy.random import Generator
from scipy.stats import binom, binomtest

from mtrl.evaluate.metrics import selective, temperature
from mtrl.evaluate.metrics.calibration import calibration
from mtrl.evaluate.metrics.prediction import Prediction
from mtrl.evaluate.metrics.selective import Item

ALPHA, DELTA = 0.1, 0.05


def row(name: str, verdict: str | None, label: str, sure: float | None, order: str = "given", **more) -> Prediction:
    return Prediction(
        id=name, task="t", order=order, vote=0, response="", verdict=verdict, lenient=verdict, label=label,
        confidence=sure, **more,
    )  # fmt: skip


def of(sure: list[float], right: list[bool]) -> list[Item]:
    return [Item(str(n), str(n), r, c) for n, (c, r) in enumerate(zip(sure, right, strict=True))]


def test_an_item_of_one_image_and_of_a_pair() -> None:
    rows = [
        row("a", "yes", "yes", 0.9, cluster="c"),
        row("b", None, "yes", None),
        row("c", "no", "yes", None),
        row("same", "1", "1", 0.9), row("same", "2", "2", 0.8, "turned"),
        row("first", "1", "1", 0.9), row("first", "1", "2", 0.9, "turned"),
        row("half", "1", "1", 0.9), row("half", None, "2", None, "turned"),
        row("tie", "tie", "1", 0.6), row("tie", "tie", "2", 0.7, "turned"),
    ]  # fmt: skip
    found = {item.id: item for item in selective.items(rows)}
    assert found["a"] == Item("a", "c", True, 0.9)
    assert (found["b"].why, found["c"].why, found["b"].confidence) == ("invalid", "no confidence", None)
    assert found["same"] == Item("same", "same", True, 0.8)  # the less certain of both orders
    assert (found["first"].why, found["half"].why) == ("orders differ", "invalid")
    assert found["tie"] == Item("tie", "tie", False, 0.6)


def test_the_fewest_rows() -> None:
    for alpha, delta in ((0.1, 0.05), (0.05, 0.1), (0.01, 0.01)):
        n = selective.fewest(alpha, delta)
        assert n == math.ceil(math.log(delta) / math.log(1 - alpha))
        assert (1 - alpha) ** n <= delta < (1 - alpha) ** (n - 1)
    assert selective.threshold(of([0.9] * 28, [True] * 28), ALPHA, DELTA).threshold is None
    assert selective.threshold(of([0.9] * 29, [True] * 29), ALPHA, DELTA).threshold == 0.9


def test_the_sequence_ends_at_the_first_test_that_does_not_pass() -> None:
    """120 right, then 20 wrong, then 1,000 right: all together would pass, and are not tested."""
    sure = list(np.linspace(1, 0.5, 1140))
    right = [True] * 400 + [False] * 60 + [True] * 680
    found = selective.threshold(of(sure, right), ALPHA, DELTA)
    assert binom.cdf(60, 1140, ALPHA) <= DELTA and found.decided < 460
    assert found.threshold == sure[found.decided - 1]
    tests = [binomtest(max(0, n - 400), n, ALPHA, alternative="less").pvalue for n in range(380, 460)]
    assert found.decided == 380 + next(k for k, p in enumerate(tests) if p > DELTA) - 1
    assert found.bound <= ALPHA and binom.cdf(found.wrong, found.decided, found.bound) == pytest.approx(DELTA)


def test_equal_confidences_are_decided_together() -> None:
    right = [True] * 50 + [False] * 50
    assert selective.threshold(of([0.99] * 100, right), ALPHA, DELTA).threshold is None
    assert selective.threshold(of([0.99] * 50 + [0.98] * 50, right), ALPHA, DELTA)[:4] == (0.99, 100, 50, 0)


def test_rows_that_are_never_decided_count_as_rows() -> None:
    some = of([0.9] * 60, [True] * 60) + [Item(f"x{n}", f"x{n}", False, None, "invalid") for n in range(40)]
    found = selective.threshold(some, ALPHA, DELTA)
    assert (found.threshold, found.n, found.decided) == (0.9, 100, 60)
    low, high = selective.coverage(found)
    assert low < 0.6 < high and (low, high) == pytest.approx(binomtest(60, 100).proportion_ci(method="exact"))
    assert selective.threshold([Item("a", "a", True, None, "invalid")] * 50, ALPHA, DELTA).threshold is None


def test_one_row_of_each_cluster_whatever_its_place_or_answer() -> None:
    rows = [Item(f"{n}", f"c{n % 30}", True, n / 300) for n in range(300)]
    chosen = selective.independent(rows)
    assert len(chosen) == 30 == len({item.unit for item in chosen})
    again = selective.independent(Item(i.id, i.unit, False, 0.5) for i in reversed(rows))
    assert {item.id for item in chosen} == {item.id for item in again}
    assert len({int(item.id) // 30 for item in chosen}) > 4  # not always the first of a cluster


def test_the_curve_is_the_share_of_wrong_verdicts_over_the_share_decided() -> None:
    found = selective.curve([*of([0.9, 0.8, 0.8, 0.7], [True, False, True, False]), Item("x", "x", False, None)])
    assert [tuple(point) for point in found] == [(0.2, 0, 0.9), (0.6, pytest.approx(1 / 3), 0.8), (0.8, 0.5, 0.7)]
    assert len(selective.curve(of(list(np.linspace(0, 1, 5000)), [True] * 5000))) == selective.POINTS
    assert selective.curve([Item("x", "x", False, None)]) == []


class World(NamedTuple):
    """Rows whose chance of being wrong is known at every confidence."""

    draw: Callable[[Generator, int], tuple[np.ndarray, np.ndarray]]
    """From a number of rows: confidence and how likely each is wrong."""


def _of_error(error: Callable[[np.ndarray], np.ndarray]) -> World:
    def draw(generator: Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        sure = generator.uniform(0, 1, size)
        return sure, error(sure)

    return World(draw)


WORLDS = {
    "at the limit everywhere": _of_error(lambda c: np.full_like(c, ALPHA + 1e-4)),
    "better where surer": _of_error(lambda c: 0.3 * (1 - c)),
    "good, then bad": _of_error(lambda c: np.where(c > 0.5, 0.02, 0.5)),
    "just too bad below": _of_error(lambda c: np.where(c > 0.6, 0.05, 0.15)),
    "surest ones are worst": _of_error(lambda c: np.where(c > 0.67, 0.13, 0.075)),
    "surest ones are much worse": _of_error(lambda c: np.where(c > 0.8, 0.3, 0.06)),
    "in steps": World(lambda g, n: (lambda c: (c, 0.25 * (1 - c)))(g.integers(1, 6, n) / 5)),
}


def failures(world: World, clusters: int, each: int, draws: int, seed: int) -> int:
    """In how many draws the verdicts above the threshold are wrong more often than alpha. In a cluster of `each` rows
    all have one confidence and, with probability 0.8, are right or wrong together."""
    generator = np.random.default_rng(seed)
    sure, error = world.draw(generator, 400_000)
    order = np.argsort(-sure)
    above, risk = sure[order], np.cumsum(error[order]) / np.arange(1, len(order) + 1)
    last = np.flatnonzero(np.append(above[1:] != above[:-1], True))
    found = 0
    for _ in range(draws):
        sure, error = world.draw(generator, clusters)
        chance = generator.uniform(size=(clusters, each))
        chance = np.where(generator.uniform(size=(clusters, each)) < 0.8, chance[:, :1], chance)
        sizes = generator.integers(1, each + 1, clusters)
        rows = [
            Item(f"{c}-{k}", str(c), bool(chance[c, k] >= error[c]), float(sure[c]))
            for c in range(clusters)
            for k in range(sizes[c])
        ]
        at = selective.threshold(selective.independent(rows), ALPHA, DELTA).threshold
        if at is not None:
            decided = np.searchsorted(-above, -at, "right")
            found += risk[last[np.searchsorted(last, max(decided, 1) - 1)]] > ALPHA
    return int(found)


def allowed(draws: int) -> int:
    """More failures than this would have a probability under 1 in 1,000 with a true rate of delta."""
    return int(binom.ppf(0.999, draws, DELTA))


@pytest.mark.parametrize("each", [1, 8])
@pytest.mark.parametrize("name", WORLDS)
def test_the_guarantee_holds_in_simulated_draws(name: str, each: int) -> None:
    assert failures(WORLDS[name], 200, each, 100, 1) <= allowed(100)


@pytest.mark.long
@pytest.mark.parametrize("each", [1, 8])
@pytest.mark.parametrize("clusters", [60, 300])
@pytest.mark.parametrize("name", WORLDS)
def test_the_guarantee_holds_in_a_thousand_draws(name: str, clusters: int, each: int) -> None:
    assert failures(WORLDS[name], clusters, each, 1000, 2) <= allowed(1000)


def test_rows_of_a_cluster_as_if_independent_would_break_it() -> None:
    """What the one row of each cluster is for: with all rows the same simulation fails far too often."""
    generator, found = np.random.default_rng(3), 0
    for _ in range(100):
        wrong = np.repeat(generator.uniform(size=40) < ALPHA + 1e-3, 8)
        rows = of(list(np.linspace(1, 0.5, 320)), list(~wrong))
        found += selective.threshold(rows, ALPHA, DELTA).threshold is not None
    assert found > allowed(100)


def overconfident(size: int, seed: int, choices: tuple[str, ...] = ("yes", "no")) -> list[Prediction]:
    """Answers that are calibrated at temperature 3."""
    generator, made = np.random.default_rng(seed), []
    for n in range(size):
        logits = generator.normal(0, 1.5, len(choices))
        true = np.exp(logits) / np.exp(logits).sum()
        said = np.exp(3 * logits) / np.exp(3 * logits).sum()
        label, best = choices[generator.choice(len(choices), p=true)], int(np.argmax(said))
        shares = dict(zip(choices, said.tolist(), strict=True)) if len(choices) > 2 else None
        made.append(row(str(n), choices[best], label, float(said[best]), probabilities=shares))
    return made


@pytest.mark.parametrize("choices", [("yes", "no"), ("a", "b", "c")])
def test_a_known_temperature_is_found_and_measured_on_other_rows(choices: tuple[str, ...]) -> None:
    found = temperature.scaling(overconfident(4000, 0, choices), choices)
    assert found and found.temperature == pytest.approx(3, rel=0.1) and found.fitted_on == found.measured_on == 2000
    assert found.helps and found.ece > 0.1 and found.ece_scaled < 0.03 and found.brier_scaled < found.brier


def test_a_temperature_is_of_half_the_clusters_and_keeps_the_order() -> None:
    rows = overconfident(300, 1)
    together = [row(r.id, r.verdict, r.label, r.confidence, cluster=str(int(r.id) // 100)) for r in rows]
    found = temperature.scaling(together, ("yes", "no"))
    assert found and (found.fitted_on, found.measured_on) == (100, 200)
    assert temperature.scaling(together[:100], ("yes", "no")) is None  # one cluster
    new = temperature.scaled(rows, ("yes", "no"), 3)
    order = sorted(range(300), key=lambda n: rows[n].confidence)
    assert order == sorted(range(300), key=lambda n: new[n].confidence)
    calibrated = temperature.scaling(temperature.scaled(overconfident(4000, 2), ("yes", "no"), 3), ("yes", "no"))
    assert calibrated and calibrated.temperature == pytest.approx(1, rel=0.1)
    assert temperature.scaling([row(str(n), "yes", "yes", 0.9) for n in range(10)], ("yes", "no")) is None
    assert calibration(new, ("yes", "no"))
