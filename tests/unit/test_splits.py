"""Splits by protocol: sizes as published, nothing shared where nothing may be, official test rows kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtrl.config import tasks
from mtrl.config.tasks import SPLITS, Split
from mtrl.converters.base import Row
from mtrl.converters.pipeline.splits import DROPPED, assign, sizes


def row(number: int, caption: str = "", group: str = "", split: str | None = None) -> Row:
    return Row(f"r{number}", (), "yes", Path("f"), {"caption": caption}, split, group)


@pytest.mark.parametrize("name", ["agin_nat", "agin_tech", "agin_rat", "seetrue", "unsafebench"])
def test_sizes_are_table_1s(name: str) -> None:
    task = tasks.load(name)
    cut = {split: cell["rows"] for split, cell in task.expected.items() if split not in task.split.kept}
    official = [row(number, split="test") for number in range(2037)] if name == "unsafebench" else []
    rows = [row(len(official) + number) for number in range(sum(cut.values()))]
    placed = assign(official + rows, task.split)
    assert {split: placed[len(official) :].count(split) for split in cut} == cut
    assert placed[: len(official)] == ["test"] * len(official)


CAPTIONS = st.sampled_from(["", "a", "A ", "b", "c", "d", "e", "f"])
OFFICIAL = st.sampled_from([None, None, None, "train", "val", "test"])


@settings(max_examples=200)
@given(
    st.lists(st.tuples(CAPTIONS, st.sampled_from(["", "g", "h"]), OFFICIAL, st.integers(0, 30)), max_size=60),
    st.integers(0, 5),
)
def test_grouped_shares_nothing(drawn: list[tuple[str, str, str | None, int]], seed: int) -> None:
    rows = [row(n, caption, group, split) for n, (caption, group, split, _) in enumerate(drawn)]
    pictures = [[(f"image{image}", "")] for *_, image in drawn]
    rule = Split(protocol="grouped", official=["test"], parts={"train": 0.7, "val": 0.3}, seed=seed)
    placed = assign(rows, rule, pictures)
    assert placed == assign(rows, rule, pictures)
    for index, (_, _, split, _) in enumerate(drawn):
        assert (placed[index] == "test") == (split == "test")  # whole, and nothing else
    for key in (lambda n: " ".join(drawn[n][0].casefold().split()), lambda n: drawn[n][1], lambda n: str(drawn[n][3])):
        where: dict[str, set[str]] = {}
        for n, split in enumerate(placed):
            if key(n) and split != DROPPED:
                where.setdefault(key(n), set()).add(split)
        assert all(len(found) == 1 for found in where.values())


@given(st.integers(0, 5000), st.integers(0, 3))
def test_order_of_the_release_does_not_matter(total: int, seed: int) -> None:
    rows = [row(number) for number in range(min(total, 200))]
    rule = Split(seed=seed)
    forward = dict(zip([r.id for r in rows], assign(rows, rule), strict=True))
    assert forward == dict(zip([r.id for r in rows[::-1]], assign(rows[::-1], rule), strict=True))
    assert sum(sizes(total, rule.parts).values()) == total
    assert min(sizes(total, {"val": 0.3, "test": 0.7}).values()) >= 0


def test_rows_of_one_column_value_stay_together() -> None:
    rows = [row(number, group=str(number % 9)) for number in range(90)]
    placed = assign(rows, Split(group="g"))
    assert all(len({placed[n] for n in range(90) if n % 9 == g}) == 1 for g in range(9))
    assert set(placed) <= set(SPLITS)
    assert len(set(zip([r.group for r in rows], assign(rows, Split()), strict=True))) > 9  # without it they do not
