"""The numbers of a score task equal scipy's and scikit-learn's; no invalid answer is given a number unsaid."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, pearsonr, spearmanr
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from mtrl.evaluate.metrics import intervals
from mtrl.evaluate.metrics import score as metrics
from mtrl.evaluate.metrics.classification import cells, resampled, table
from mtrl.evaluate.metrics.prediction import Voted

FIVE = ("1", "2", "3", "4", "5")


@pytest.fixture(autouse=True)
def no_warning() -> Iterator[None]:
    with warnings.catch_warnings(action="error"):
        yield


def rows(labels: list[int], verdicts: list[int | None], clusters: list[int] | None = None) -> list[Voted]:
    about = zip(labels, verdicts, clusters or range(len(labels)), strict=True)
    return [
        Voted(str(n), "given", str(a), "invalid" if b is None else str(b), f"c{unit}")
        for n, (a, b, unit) in enumerate(about)
    ]


def scored(items: list[Voted], choices: tuple[str, ...]) -> metrics.Score:
    drawn = resampled([items], [item.unit for item in items], choices, metrics.numbers)
    return metrics.score(table(items, choices), drawn)


def expected(labels: list[int], verdicts: list[int], choices: tuple[str, ...]) -> dict[str, float]:
    """By the libraries, on the numbers themselves."""
    found = dict.fromkeys(metrics.NAMES, np.nan)
    if not labels:
        return found
    found["mae"] = mean_absolute_error(labels, verdicts)
    if len({*labels, *verdicts}) > 1:
        found["kappa"] = cohen_kappa_score(labels, verdicts, labels=list(map(int, choices)), weights="quadratic")
    if len(set(labels)) > 1 and len(set(verdicts)) > 1 and len(labels) > 2:
        for name, of in (("srcc", spearmanr), ("plcc", pearsonr), ("kendall", kendalltau)):
            found[name] = of(labels, verdicts)[0]
    return found


@st.composite
def tables(draw: st.DrawFn) -> tuple[tuple[str, ...], list[int], list[int | None]]:
    low, size = draw(st.integers(0, 3)), draw(st.sampled_from([3, 5, 11]))
    of = st.integers(low, low + size - 1)
    pairs = draw(st.lists(st.tuples(of, st.none() | of), min_size=1, max_size=60))
    return tuple(str(low + n) for n in range(size)), [a for a, _ in pairs], [b for _, b in pairs]


@settings(max_examples=200)
@given(tables())
def test_equal_to_scipy_and_scikit_learn(drawn: tuple[tuple[str, ...], list[int], list[int | None]]) -> None:
    choices, labels, verdicts = drawn
    size = len(choices)
    known = [(a, b) for a, b in zip(labels, verdicts, strict=True) if b is not None]
    value = expected([a for a, _ in known], [b for _, b in known], choices)
    low = int(choices[0])
    counts = np.zeros((size, size + 1, 1), int)
    for a, b in zip(labels, verdicts, strict=True):
        counts[a - low, size if b is None else b - low] += 1
    if len(known) > 2:
        assert dict(zip(metrics.NAMES, metrics.numbers(counts)[:, 0], strict=True)) == pytest.approx(value, nan_ok=True)
    found = metrics.values_of(counts[..., 0])
    assert {k: np.nan if v is None else v for k, v in found.items()} == pytest.approx(value, nan_ok=True)


def naive(items: list[Voted], choices: tuple[str, ...], resamples: int) -> np.ndarray:
    """A loop over the draws of mtrl's own generator, the numbers by the libraries."""
    names = sorted({item.unit for item in items})
    place = [names.index(item.unit) for item in items]
    found = []
    for times in next(intervals._drawn(np.ones(len(names), int), resamples, resamples, 0)):
        drawn = [item for item, unit in zip(items, place, strict=True) for _ in range(times[unit])]
        read = [(int(item.label), int(item.verdict)) for item in drawn if item.verdict != "invalid"]
        of = expected([a for a, _ in read], [b for _, b in read], choices)
        found.append([of[name] for name in metrics.NAMES])
    return np.array(found).T


def test_the_interval_is_that_of_a_loop_over_the_same_draws() -> None:
    draw = np.random.default_rng(1)
    labels = draw.integers(1, 6, 60)
    verdicts = [int(v) if draw.random() < 0.9 else None for v in np.clip(labels + draw.integers(-1, 3, 60), 1, 5)]
    # every cluster is of another kind, in the order of its name: the draws of kinds are those of clusters
    items = rows(labels.tolist(), verdicts, (np.arange(60) // 6).tolist())
    units = [item.unit for item in items]
    drawn = intervals.of_counts(
        lambda of: metrics.numbers(of.reshape(5, 6, -1)), [cells(items, FIVE)], 30, units, resamples=300
    )
    loop = naive(items, FIVE, 300)
    assert drawn == pytest.approx(loop)
    found = scored(items, FIVE)
    for name, one in zip(metrics.NAMES, loop, strict=True):
        assert getattr(found, name).ci95 == pytest.approx(intervals.bounds(one), abs=0.1), name


def test_an_invalid_score_is_left_out_and_the_worst_case_gives_it_the_farthest_verdict() -> None:
    labels, verdicts = [1, 2, 3, 4, 5, 5, 1], [1, 2, 3, 4, 5, None, None]
    found = scored(rows(labels, verdicts), FIVE)
    assert found.valid == 5
    assert (found.srcc.value, found.mae.value) == (pytest.approx(1), 0)
    filled = expected(labels, [1, 2, 3, 4, 5, 1, 5], FIVE)
    for name in metrics.NAMES:
        assert getattr(found, name).worst == pytest.approx(filled[name]), name
    assert found.mae.worst == 8 / 7


def test_a_middle_label_is_given_the_end_that_is_worse() -> None:
    labels, verdicts = [3, 1, 2, 4, 5, 5], [None, 1, 2, 4, 5, 5]
    found = scored(rows(labels, verdicts), FIVE)
    ends = [expected(labels, [end, *verdicts[1:]], FIVE) for end in (1, 5)]
    assert ends[0]["srcc"] != ends[1]["srcc"]
    assert found.srcc.worst == pytest.approx(min(end["srcc"] for end in ends))
    # a judge that is wrong throughout: its invalid answers cannot make it look better
    turned = scored(rows([1, 2, 3, 4, 5, 3], [5, 4, 3, 2, 1, None]), FIVE)
    assert turned.srcc.value == turned.srcc.worst == pytest.approx(-1)


def test_without_invalid_answers_the_worst_case_is_the_value() -> None:
    found = scored(rows([1, 2, 3, 4, 5, 2], [1, 3, 3, 4, 4, 2]), FIVE)
    for name in metrics.NAMES:
        assert getattr(found, name).worst == pytest.approx(getattr(found, name).value)


@pytest.mark.parametrize(
    ("labels", "verdicts", "numbers"),
    [
        ([3, 3, 3, 3], [1, 2, 3, 4], {"kappa", "mae"}),
        ([1, 2, 3, 4], [3, 3, 3, 3], {"kappa", "mae"}),
        ([3, 3, 3, 3], [3, 3, 3, 3], {"mae"}),
        ([1, 2, 3, 4], [None] * 4, set()),
        ([1, 5], [1, 4], {"kappa", "mae"}),
        ([2], [2], {"mae"}),
    ],
    ids=["one label", "one verdict", "one value", "all invalid", "two items", "one item"],
)
def test_what_is_not_defined_is_none(labels: list[int], verdicts: list[int | None], numbers: set[str]) -> None:
    found = scored(rows(labels, verdicts), FIVE)
    assert {name for name in metrics.NAMES if getattr(found, name).value is not None} == numbers
    for name in set(metrics.NAMES) - numbers:
        assert getattr(found, name).ci95 is None
    assert metrics.Score.model_validate_json(found.model_dump_json()) == found


def test_an_interval_of_a_selection_of_resamples_is_none() -> None:
    nearly = rows([1, 2, 3, 4, 5, 1, 2, 3], [3] * 7 + [4])  # a third of the resamples have the one verdict 3 alone
    found = scored(nearly, FIVE)
    assert found.srcc.value is not None and found.srcc.ci95 is None and found.mae.ci95 is not None


def test_one_cluster_has_no_interval() -> None:
    found = scored(rows([1, 2, 3, 4], [1, 2, 4, 4], [0] * 4), FIVE)
    assert found.srcc.value is not None and found.srcc.ci95 is None


def test_a_scale_of_0_to_100_in_clusters_is_quick() -> None:
    draw, scale = np.random.default_rng(2), tuple(map(str, range(101)))
    labels = draw.integers(0, 101, 3000)
    verdicts = np.clip(labels + draw.integers(-20, 21, 3000), 0, 100)
    items = rows(labels.tolist(), verdicts.tolist(), (np.arange(3000) // 3).tolist())
    begun = time.process_time()
    found = scored(items, scale)
    assert time.process_time() - begun < 20  # 4 s here
    low, high = found.srcc.ci95
    assert low < found.srcc.value < high < low + 0.05
