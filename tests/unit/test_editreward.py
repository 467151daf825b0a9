"""EditReward-Bench of TIGER-Lab: its converter, on generated releases in the real layout."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtrl.core.errors import MtrlError, UserError
from mtrl.demo import releases_pairs as releases
from mtrl.evaluate.metrics.editreward import Official, official
from mtrl.evaluate.metrics.prediction import Prediction
from tests.unit.releases_fixture import asked, run, task_with


@pytest.mark.parametrize("ways", [2, 3, 4])
def test_the_letters_are_the_groups(ways: int, tmp_path: Path) -> None:
    """Of a group's edits, best first, each row's better candidate is the one that comes first."""
    orders = ["BA", "AB", "="] if ways == 2 else ["BAC", "CBA", "ACB"] if ways == 3 else ["DBAC", "ABCD", "CADB"]
    releases.editreward(tmp_path / "raw", ways, best_first=orders)
    task = task_with(f"editreward_{ways}way")
    card, rows = run(task, tmp_path / "raw", tmp_path / "data")
    pairs = ways * (ways - 1) // 2
    assert len(rows["test"]) == 3 * pairs and card["rejects"] == {}
    assert len({row.group for row in rows["test"]}) == 3 and all(len(row.group) == 32 for row in rows["test"])
    draw = releases.blocks(9)
    for n, row in enumerate(rows["test"]):
        group = n // pairs
        edits = [releases.encoded(draw((ways + 1) * group + place), "PNG") for place in range(ways + 1)]
        stored = [(tmp_path / "data" / name).read_bytes() for name in row.images]
        assert stored[0] == edits[0] and row.fields == {"instruction": f"make the sky colour {group}"}
        letters = ["ABCD"[edits.index(data) - 1] for data in stored[1:]]
        want = "tie" if orders[group] == "=" else "12"[letters != sorted(letters, key=orders[group].find)]
        assert row.answer == want
    assert card["release_counts"]["test"].get("tie") == (1 if ways == 2 else None)


def test_the_source_stays_where_it_is(tmp_path: Path) -> None:
    releases.editreward(tmp_path / "raw", 3, groups=8)
    task = task_with("editreward_3way")
    run(task, tmp_path / "raw", tmp_path / "data")
    for orders in asked(task, tmp_path / "data").values():
        given, turned = orders["given"], orders["turned"]
        assert turned.images == (given.images[0], given.images[2], given.images[1])
        assert {given.label, turned.label} == {"1", "2"}


@pytest.mark.parametrize(
    ("column", "value"),
    [("ranking", "A>C"), ("ranking", "A<B"), ("ranking", None), ("comparison_type", "AvsA"), ("comparison_type", "")],
)
def test_letters_that_do_not_fit_name_the_row(column: str, value: str | None, tmp_path: Path) -> None:
    releases.editreward(tmp_path / "raw", 3, best_first=["ABC"])
    file = tmp_path / "raw/editreward/3pair/train-00000-of-00001.parquet"
    table = pq.read_table(file)
    place, cells = table.schema.get_field_index(column), table[column].to_pylist()
    pq.write_table(table.set_column(place, column, pa.array([value, *cells[1:]], pa.string())), file)
    with pytest.raises(UserError, match=r"row 1: ranking is .* and the row compares .*; the same two letters were"):
        run(task_with("editreward_3way"), tmp_path / "raw", tmp_path / "data")


def test_bad_releases(tmp_path: Path) -> None:
    (tmp_path / "raw/editreward/2pair").mkdir(parents=True)
    with pytest.raises(UserError, match="has no parquet files"):
        run(task_with("editreward_2way"), tmp_path / "raw", tmp_path / "data")
    releases.editreward(tmp_path / "raw", 2)
    with pytest.raises(UserError, match="no 3pair in"):
        run(task_with("editreward_3way"), tmp_path / "raw", tmp_path / "data")
    (tmp_path / "raw/editreward/2pair").rename(tmp_path / "raw/editreward/3pair")
    with pytest.raises(MtrlError, match="label 'tie' in column 'ranking' is unknown to task editreward_3way"):
        run(task_with("editreward_3way"), tmp_path / "raw", tmp_path / "data")


def test_a_group_is_right_where_all_its_pairs_are(tmp_path: Path) -> None:
    releases.editreward(tmp_path / "raw", 3, groups=5)
    task = task_with("editreward_3way")
    _, rows = run(task, tmp_path / "raw", tmp_path / "data")

    def answers(verdicts: dict[int, str | None], order: str = "given", vote: int = 0) -> list[Prediction]:
        """Right ones, but for the rows of these numbers."""
        about = {"task": task.name, "order": order, "vote": vote, "response": "", "lenient": None}
        return [
            Prediction(id=row.id, verdict=verdicts.get(n, row.answer), label=row.answer, group=row.group, **about)
            for n, row in enumerate(rows["test"])
        ]

    assert official(answers({}), 3) == Official(5, 5)
    wrong = {0: None, 1: "1" if rows["test"][1].answer == "2" else "2", 14: None}  # of the first and the last group
    found = official([*answers(wrong), *answers({}, "turned"), *answers({}, vote=1)], 3)
    assert found == Official(3, 5) and found.accuracy == 0.6
    assert official(answers({})[1:], 3) == Official(4, 5)  # a group with a pair that was not asked is not right
    assert official([], 3).accuracy is None
