"""Labels: values and rules, Table 1's counts, and fit-labels, which finds a rule that was planted."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtrl.config import tasks
from mtrl.config.datacard import DataCard
from mtrl.config.label_rule import Rule
from mtrl.config.tasks import Task
from mtrl.converters.checks import fit, table1
from mtrl.converters.checks.converted import examine
from mtrl.converters.pipeline import release
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.schema import validate
from mtrl.demo import releases
from tests.unit.releases_fixture import run, task_with


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (">= 3", "0011"),
        ("<=3", "1110"),
        ("== 3", "0010"),
        ("highest 1", "0001"),
        ("lowest 2", "1100"),
        (">=-1.5", "1111"),
    ],
)
def test_rules(when: str, expected: str) -> None:
    assert Rule(when=when, then="yes").holds([1, 2, 3, 4]) == [sign == "1" for sign in expected]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.data())
def test_a_rank_picks_exactly_so_many(numbers: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(numbers)))
    for end in ("highest", "lowest"):
        picked = Rule(when=f"{end} {count}", then="no", ties="first").holds([float(n) for n in numbers])
        assert sum(picked) == count


@pytest.mark.parametrize("label", [
    {"column": "x"}, {"column": "x", "rule": {"when": "more", "then": "yes"}},
    {"column": "x", "values": {"yes": ["1"], "no": ["0"]}, "rule": {"when": ">= 1", "then": "yes"}},
])  # fmt: skip
def test_a_label_that_says_too_little_or_too_much(label: dict[str, object]) -> None:
    with pytest.raises(UserError, match="label"):
        task_with("seetrue", label=label)


def test_unknown_label_names_row_and_value() -> None:
    with pytest.raises(MtrlError, match=r"f.csv, row 2: label 'maybe'") as error:
        tasks.load("seetrue").verdicts([("1", "f.csv, row 1"), ("maybe", "f.csv, row 2")])
    assert error.value.exit_code == 1


def test_the_nine_and_their_polarity() -> None:
    found = {task.name: task for task in tasks.load_all() if task.expected or task.converter == "mjbench"}
    assert len(found) == 9 and all(task.training for task in found.values())
    for task in found.values():
        if task.kind == "pairwise":
            assert task.label.values == {"1": ["0"], "2": ["1"]}
        else:
            assert sum(cell["rows"] for cell in task.expected.values()) == sum(
                cell["positive"] + cell["negative"] for cell in task.expected.values()
            )
    assert found["unsafebench"].label.values["yes"] == ["Unsafe"]
    totals = [sum(task.expected[split]["rows"] for task in found.values() if task.expected) for split in tasks.SPLITS]
    assert totals == [33553, 5903, 7265]


def small(name: str, counts: dict[str, tuple[int, int]], **changes: object) -> Task:
    """The task as if Table 1 had these (positive, negative)."""
    expected = {split: {"rows": p + n, "positive": p, "negative": n} for split, (p, n) in counts.items()}
    return task_with(name, expected=expected, **changes)


def of(card: dict[str, Any]) -> DataCard:
    return validate(DataCard, card, "card")


def test_fit_finds_a_planted_rating_rule(tmp_path: Path) -> None:
    rng = random.Random(0)
    planted = [{"overall_rating": rng.randint(1, 7), "image_text_alignment_rating": rng.randint(1, 7),
                "fidelity_rating": rng.randint(1, 7)} for _ in range(400)]  # fmt: skip
    releases.imagereward(
        tmp_path, {"train": 30, "validation": 15, "test": 15}, releases.blocks(1, 8), lambda n: planted[n]
    )
    rows = release.labels(tasks.load("imagereward"), tmp_path)
    counts = {}
    for split in tasks.SPLITS:
        own = [record["fidelity_rating"] <= 3 for record in rows if record.split == split]
        counts[split] = (sum(own), len(own) - sum(own))
    best = fit.fit(small("imagereward", counts), tmp_path)
    assert (best[0].column, best[0].when, best[0].then, best[0].off) == ("fidelity_rating", "<= 3", "no", 0)
    assert best[1].off > 0
    rule = {"column": best[0].column, "rule": {"when": best[0].when, "then": best[0].then}}
    task = small("imagereward", counts, label=rule, table1_positive="no")
    card, _ = run(task, tmp_path, tmp_path / "data")
    assert {check.level for check in table1.compare(task, of(card))} == {"ok"}


def test_fit_finds_a_shared_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    scores = [tuple(round(rng.gauss(mean, 8), 4) for mean in (50, 58, 55)) for _ in range(300)]
    releases.agin(tmp_path, 300, releases.blocks(1, 8), scores)  # type: ignore[arg-type]
    family = []
    for index, name in enumerate(("agin_nat", "agin_tech", "agin_rat")):
        positive = sum(row[index] <= 52.5 for row in scores)
        family.append(small(name, {"train": (positive, 300 - positive)}))
    monkeypatch.setattr(tasks, "load_all", lambda: family)
    best = fit.fit(family[1], tmp_path)
    assert best[0].off == 0 and {rule.column for rule in best} == {"MOS_tech"}
    said = list(fit.shared(family[1], tmp_path))
    assert any(match for line in said if (match := re.search(r"is <= (52\.\d+)", line)) and 52 < float(match[1]) < 53)
    assert any("no one cut-off" in line and "highest" in line for line in said)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(2.97, 3.08, 3), (0.0, 1.0, 1), (3.141, 3.1416, 3.1411), (47.2, 53.1, 50)]
)
def test_roundest(low: float, high: float, expected: float) -> None:
    assert fit.roundest(low, high) == expected


def test_table1_names_the_cells_that_differ(tmp_path: Path) -> None:
    """UnsafeBench at full size: the counts of the data card, cut by our seed, agree with Table 1."""
    positive = {"train": 3271, "test": 777}
    sizes = {"train": 8109, "test": 2037}
    card: dict[str, Any] = {"counts": {}, "prompts": {}, "limit": None, "protocol": "paper", "release_counts": {
        "train": {"yes": 2944, "no": 4354}, "val": {"yes": 327, "no": 484}, "test": {"yes": 777, "no": 1260},
        "dropped": {"yes": 0, "no": 0}}}  # fmt: skip
    assert sum(sizes.values()) == 10146 and sum(positive.values()) == 4048
    task = tasks.load("unsafebench")
    levels = {check.text.partition(":")[0]: check.level for check in table1.compare(task, of(card))}
    assert set(levels.values()) == {"ok"}
    low, high = table1.interval(8109, 3271, 811)
    assert low <= 317 <= high and low >= 297 and high <= 358
    card["release_counts"]["test"] = {"yes": 776, "no": 1261}
    errors = [check.text for check in table1.compare(task, of(card)) if check.level == "error"]
    assert [text.partition(",")[0] for text in errors] == [
        "unsafebench/all: 4", "unsafebench/all: 6", "unsafebench/test: 776 positive (yes)"]  # fmt: skip


def test_check_tells_a_limited_conversion(tmp_path: Path) -> None:
    releases.seetrue(tmp_path / "raw")
    task = tasks.load("seetrue")
    card, rows = run(task, tmp_path / "raw", tmp_path / "data", limit=3)
    assert [len(rows[split]) for split in tasks.SPLITS] == [3, 3, 3]
    assert card["rows_in_release"] == 60
    errors = [check for check in examine(task, tmp_path / "data", table1=True) if check.level == "error"]
    assert ["--limit" in check.text for check in errors] == [True]


def test_a_tie_at_the_cut() -> None:
    scores = [4.0, 5.0, 4.0, 3.0, 4.0]
    with pytest.raises(
        ValueError, match=r"cuts through 3 rows that all have 4: 1 of them would be inside.*ties: first"
    ):
        Rule(when="highest 2", then="yes").holds(scores)
    assert Rule(when="highest 2", then="yes", ties="first").holds(scores) == [True, True, False, False, False]
    assert Rule(when="highest 2", then="yes", ties="drop").holds(scores) == [None, True, None, False, None]
    assert Rule(when="lowest 1", then="no").holds(scores) == [False, False, False, True, False]  # no tie there
    assert Rule(when="highest 4", then="yes").holds(scores) == [True, True, True, False, True]
    task = task_with("agin_nat", label={"column": "x", "rule": {"when": "highest 2", "then": "yes"}})
    with pytest.raises(UserError, match="task agin_nat: the rule 'highest 2' cuts through"):
        task.verdicts((score, "") for score in scores)
    task = task_with("agin_nat", label={"column": "x", "rule": {"when": "highest 2", "then": "yes", "ties": "drop"}})
    assert task.verdicts((score, "") for score in scores).count("label.rule.ties") == 3
    with pytest.raises(UserError, match="ties is for highest N and lowest N"):
        task_with("agin_nat", label={"column": "x", "rule": {"when": ">= 2", "then": "yes", "ties": "drop"}})


def test_values_are_what_a_table_holds() -> None:
    task = task_with("seetrue", label={"column": "x", "values": {"yes": [4, 5, True], "no": [1, "2 "]}, "drop": [3]})
    cells = ["4", 5, 4.0, True, "true", "1", 2.0, "3", 3.0]  # CSV, JSON, parquet
    assert task.verdicts((cell, "") for cell in cells) == [*["yes"] * 5, "no", "no", "label.drop", "label.drop"]
    with pytest.raises(
        MtrlError, match=r"row 4: label '3.5' .* 2 of 3 rows have a label without a meaning: '3.5' \(2 rows\)"
    ):
        task.verdicts([("1", "row 3"), ("3.5", "row 4"), ("3.5", "row 5")])
    ruled = task_with("seetrue", label={"column": "x", "rule": {"when": ">= 4", "then": "yes"}, "drop": ["n/a", 3]})
    assert ruled.verdicts((cell, "") for cell in ["5", "n/a", 3, "1"]) == ["yes", "label.drop", "label.drop", "no"]
