"""Graded values equal scikit-learn's and scipy's numbers; pairs are counted as ImageReward's test.py does."""

from __future__ import annotations

import gc
import json
import time
import warnings
from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from mtrl.evaluate.metrics import intervals
from mtrl.evaluate.metrics.graded import Graded, Item, graded
from tests.unit.releases_fixture import SHARED

NAMES = ("auc", "average_precision", "srcc", "plcc", "pair_accuracy")


@pytest.fixture(autouse=True)
def no_warning() -> Iterator[None]:
    gc.collect()  # what other tests left open is not a warning of these
    with warnings.catch_warnings(action="error"):
        yield


def expected(items: list[Item]) -> dict[str, float]:
    """By the libraries, of items that have everything; a score is higher for the first choice."""
    found = dict.fromkeys(NAMES, np.nan)
    value, first, score, *_ = zip(*items, strict=True)
    if len(set(first)) == 2:
        found |= {"auc": roc_auc_score(first, value), "average_precision": average_precision_score(first, value)}
    if len(set(value)) > 1 and len(set(score)) > 1 and len(items) > 2:
        found |= {"srcc": spearmanr(value, score)[0], "plcc": pearsonr(value, score)[0]}
    pairs = [(a, b) for a, b in combinations(items, 2) if a.group == b.group and a.score != b.score]
    if pairs:
        right = sum((a.value - b.value) * (a.score - b.score) > 0 for a, b in pairs)
        found["pair_accuracy"] = right / len(pairs)
    return found


def values(found: Graded) -> dict[str, float]:
    about = {name: getattr(found, name) for name in NAMES}
    return {name: np.nan if of is None or of.value is None else of.value for name, of in about.items()}


@st.composite
def judged(draw: st.DrawFn) -> list[Item]:
    one = st.tuples(st.integers(0, 12), st.booleans(), st.integers(1, 7), st.sampled_from("ab"))
    drawn = draw(st.lists(one, min_size=1, max_size=50))
    return [
        Item(v / 12, first, score + 10.0 * first, group, "one")  # one cluster: no interval, which takes longer
        for v, first, score, group in drawn
    ]


@settings(max_examples=200)
@given(judged())
def test_equal_to_scikit_learn_and_scipy(items: list[Item]) -> None:
    found = graded(items)
    assert values(found) == pytest.approx(expected(items), nan_ok=True)
    assert (found.n, found.missing, found.low_is_first) == (len(items), 0, False)
    low = graded([item._replace(score=-item.score) for item in items])  # ranks: 1 is best
    assert low.low_is_first == (len({item.first for item in items}) == 2)
    if low.low_is_first:
        assert values(low) == pytest.approx(values(found), nan_ok=True)
    assert Graded.model_validate_json(found.model_dump_json()) == found


def test_the_interval_is_that_of_a_loop_over_the_same_draws() -> None:
    draw = np.random.default_rng(3)
    items = []
    for n in range(60):
        first = bool(draw.random() < 0.5)
        value = round(min(1.0, max(0.0, float(draw.normal(0.6 if first else 0.4, 0.2)))), 2)
        items.append(Item(value, first, float(draw.integers(1, 5) + 3 * first), f"g{n // 3:02}", f"g{n // 3:02}"))
    found = graded(items)
    names = sorted({item.unit for item in items})
    place = [names.index(item.unit) for item in items]
    loop = []
    for times in next(intervals._drawn(np.ones(20, int), 1000, 1000, 0)):
        drawn = [
            item._replace(group=f"{item.group}-{copy}")  # a cluster that is drawn twice is two of them
            for item, unit in zip(items, place, strict=True)
            for copy in range(times[unit])
        ]
        loop.append(list(expected(drawn).values()))
    for name, drawn in zip(NAMES, np.array(loop).T, strict=True):
        assert getattr(found, name).ci95 == pytest.approx(intervals.bounds(drawn)), name


def test_an_item_without_a_value_is_counted_and_left_out() -> None:
    items = [Item(0.9, True, 5.0, "a", "1"), Item(None, False, 1.0, "a", "2"), Item(0.2, False, 2.0, "a", "3")]
    found = graded(items)
    assert (found.n, found.missing, found.pairs) == (2, 1, 1)
    assert found.auc.value == found.pair_accuracy.value == 1
    assert graded([Item(None, True)]) is None


def test_pairs_are_of_one_group_with_other_scores_and_equal_values_are_wrong() -> None:
    items = [
        Item(0.9, None, 5.0, "a"), Item(0.9, None, 4.0, "a"),  # equal values: wrong
        Item(0.1, None, 4.0, "a"),  # below the first: right; of the second's score: no pair
        Item(0.5, None, 1.0, "b"), Item(0.4, None, 2.0, "b"),  # the wrong order
        Item(0.5, None, 9.0, ""), Item(0.4, None, 1.0, ""),  # of no group
    ]  # fmt: skip
    found = graded(items)
    assert (found.pairs, found.pair_accuracy.value) == (3, pytest.approx(1 / 3))
    assert found.auc is None and found.average_precision is None


@pytest.mark.parametrize(
    ("items", "numbers"),
    [
        ([Item(0.1 * n, True, float(n), "g", str(n)) for n in range(6)], {"srcc", "plcc", "pair_accuracy"}),
        ([Item(0.5, n < 3, float(-n), "g", str(n)) for n in range(6)], {"auc", "average_precision", "pair_accuracy"}),
        ([Item(0.1 * n, n > 3, 2.0, "g", str(n)) for n in range(6)], {"auc", "average_precision"}),
        ([Item(0.1 * n, n > 0, float(n), "", str(n)) for n in range(2)], {"auc", "average_precision"}),
        ([Item(0.1 * n, n > 3, None, "", str(n)) for n in range(6)], {"auc", "average_precision"}),
        ([Item(0.3, True, 2.0, "", "1")], set()),
    ],
    ids=["one label", "one value", "one score", "two items", "no scores", "one item"],
)
def test_what_is_not_defined_is_none(items: list[Item], numbers: set[str]) -> None:
    assert {name for name, value in values(graded(items)).items() if value == value} == numbers


def test_one_cluster_has_no_interval() -> None:
    found = graded([Item(0.1 * n, n > 3, float(n), "g", "one") for n in range(6)])
    assert found.auc.value == 1 and found.auc.ci95 is found.srcc.ci95 is found.pair_accuracy.ci95 is None


def test_many_items_are_quick() -> None:
    draw = np.random.default_rng(4)
    first, noise, score = draw.random(20_000) < 0.4, draw.random(20_000), draw.normal(50, 9, 20_000)
    items = [
        Item(float(v), bool(f), float(s), f"g{n // 4}", f"g{n // 4}")
        for n, (v, f, s) in enumerate(zip(0.6 * noise + 0.3 * first, first, score + 9 * first, strict=True))
    ]
    begun = time.process_time()
    found = graded(items)
    assert time.process_time() - begun < 5  # 0.6 s here
    low, high = found.auc.ci95
    assert low < found.auc.value < high < low + 0.04


def test_imagerewards_ranks_give_its_own_number_of_pairs() -> None:
    file = SHARED / "imagereward" / "test.json"
    if not file.exists():
        pytest.skip("needs shared/data")
    draw, items = np.random.default_rng(5), []
    for entry in json.loads(file.read_text()):
        for rank in entry["ranking"]:  # 1 is best
            group = str(entry["id"])
            items.append(Item(float(draw.normal(-rank)), rank <= 2, float(rank), group, group))
    found = graded(items)
    assert found.low_is_first and found.pairs == 6399  # of 7,230: test.py skips equal ranks
    assert found.pair_accuracy.value > 0.6 and found.srcc.value > 0.3
