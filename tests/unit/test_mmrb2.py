"""MMRB2: its converter, on generated releases in the real layout, and its official number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtrl.config.kinds import OTHER
from mtrl.core.errors import MtrlError, UserError
from mtrl.demo import releases_pairs as releases
from mtrl.demo.releases_pairs import Mmrb2Pair
from mtrl.evaluate.metrics.mmrb2 import Official, official
from mtrl.evaluate.metrics.prediction import Prediction
from tests.unit.releases_fixture import asked, run, task_with


def test_pairs_of_the_release(tmp_path: Path) -> None:
    pairs = [Mmrb2Pair(f"<image_1> at {n}" if n == 3 else f"a cat, {n} ", "AB"[n % 3 == 0]) for n in range(40)]
    releases.mmrb2(tmp_path / "raw", pairs=pairs)
    task = task_with("mmrb2_t2i")
    card, rows = run(task, tmp_path / "raw", tmp_path / "data")
    assert card["release_counts"]["test"] == {"1": 26, "2": 14}
    assert card["rejects"] == card["left_out"] == {} and not rows["train"] and not rows["val"]
    assert [row.fields["caption"] for row in rows["test"][:4]] == ["a cat, 0", "a cat, 1", "a cat, 2", "at 3"]
    first = rows["test"][0]
    assert first.id.startswith("oneigbench_0_") and first.group == "oneigbench/Text_Rendering/0"
    assert len({row.group for row in rows["test"]}) == 40
    assert first.source["models"] == ["imagen4", "gpt-image-1"] and len(first.source["human_annotations"]) == 3
    assert {row.source["swapped"] for row in rows["test"]} == {True, False}  # drawn by id
    for row, pair in zip(rows["test"], pairs, strict=True):
        assert (row.answer == "1") == ((pair.chosen == "A") != row.source["swapped"])
    for orders in asked(task, tmp_path / "data").values():
        assert orders["turned"].images == orders["given"].images[::-1]
        assert orders["turned"].label == OTHER[orders["given"].label]


def test_images_come_from_their_row_and_side(tmp_path: Path) -> None:
    """Image 2n and 2n + 1 of the generator are A and B of row n, over both files."""
    releases.mmrb2(tmp_path / "raw", rows=12)
    _, rows = run(task_with("mmrb2_t2i"), tmp_path / "raw", tmp_path / "data")
    draw = releases.blocks(7)
    for n, row in enumerate(rows["test"]):
        way = -1 if row.source["swapped"] else 1
        want = [releases.encoded(draw(2 * n + side), "JPEG", quality=95) for side in (0, 1)]
        assert [(tmp_path / "data" / name).read_bytes() for name in row.images][::way] == want
        assert row.source["files"][::way] == [f"response_{side}_images 1 of row {n % 6 + 1}" for side in "ab"]


def test_an_edit_swaps_its_two_results_and_keeps_its_source(tmp_path: Path) -> None:
    """Images 3n, 3n + 1 and 3n + 2 of the generator are source, A and B of row n."""
    releases.mmrb2(tmp_path / "raw", "edit", rows=14)
    task = task_with("mmrb2_edit")
    card, rows = run(task, tmp_path / "raw", tmp_path / "data")
    assert card["rejects"] == {"2 images in the prompt, not 1": 1, "not one image on each side": 1}
    assert len(rows["test"]) == 12 and card["rows_in_release"] == 14
    draw, orders = releases.blocks(7), asked(task, tmp_path / "data")
    for n, row in enumerate(rows["test"]):
        assert row.fields == {"instruction": f"prompt {n}"}
        source, a, b = (releases.encoded(draw(3 * n + place), "JPEG", quality=95) for place in range(3))
        for order, swapped in (("given", row.source["swapped"]), ("turned", not row.source["swapped"])):
            shown = orders[row.id][order]
            assert [path.read_bytes() for path in shown.images] == [source, *((b, a) if swapped else (a, b))]
            assert shown.prompt.count("<image>") == 3
        assert {order.label for order in orders[row.id].values()} == {"1", "2"}


def test_rows_that_do_not_fit_are_counted_by_reason(tmp_path: Path) -> None:
    odd = [
        Mmrb2Pair("two on a side", "A", sides=(1, 2)),
        Mmrb2Pair("none on a side", "B", sides=(0, 1)),
        Mmrb2Pair("x", "B", 1),
    ]
    releases.mmrb2(tmp_path / "raw", pairs=[*odd, Mmrb2Pair("fits", "A")])
    card, rows = run(task_with("mmrb2_t2i"), tmp_path / "raw", tmp_path / "data")
    assert card["rejects"] == {"1 images in the prompt, not 0": 1, "not one image on each side": 2}
    assert [row.fields["caption"] for row in rows["test"]] == ["fits"]
    assert card["rows_in_release"] == 4


def changed(raw: Path, column: str, value: Any) -> None:
    """Puts `value` into the first row of the first file."""
    file = raw / "mmrb2" / "t2i" / "test-00000-of-00002.parquet"
    table = pq.read_table(file)
    place = table.schema.get_field_index(column)
    cells = [value, *table[column].to_pylist()[1:]]
    pq.write_table(
        table.set_column(place, table.schema.field(column), [pa.array(cells, table.schema.field(place).type)]), file
    )


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("chosen", "tie", r"row 1: label 'TIE' in column 'chosen' is unknown to task mmrb2_t2i"),
        ("chosen", None, r"row 1: label '' in column 'chosen' is unknown"),
        ("prompt_metadata", "{", r"row 1: prompt_metadata is '\{'; a JSON dict was expected"),
        ("human_annotations", "{}", r"row 1: human_annotations is '\{\}'; a JSON list was expected"),
    ],
)
def test_a_bad_cell_names_its_row(column: str, value: Any, said: str, tmp_path: Path) -> None:
    releases.mmrb2(tmp_path / "raw")
    changed(tmp_path / "raw", column, value)
    with pytest.raises(MtrlError, match=said):
        run(task_with("mmrb2_t2i"), tmp_path / "raw", tmp_path / "data")


def test_images_that_are_no_lists_are_an_error(tmp_path: Path) -> None:
    file = releases.mmrb2(tmp_path / "raw") / "t2i" / "test-00000-of-00002.parquet"
    table = pq.read_table(file)
    place = table.schema.get_field_index("response_a_images")
    for cells in (["a.png"] * len(table), [["a.png"]] * len(table), [cell[0] for cell in table[place].to_pylist()]):
        pq.write_table(table.set_column(place, "response_a_images", pa.array(cells)), file)
        with pytest.raises(UserError, match=r"row 1: response_a_images is .*; a list of images was expected"):
            run(task_with("mmrb2_t2i"), tmp_path / "raw", tmp_path / "data")


def test_a_release_that_is_not_there_or_not_whole(tmp_path: Path, cli) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "raw").mkdir()
    with pytest.raises(UserError, match="no t2i in"):
        run(task_with("mmrb2_t2i"), tmp_path / "raw", tmp_path / "data")
    (tmp_path / "raw/mmrb2/t2i").mkdir(parents=True)
    with pytest.raises(UserError, match="has no parquet files"):
        run(task_with("mmrb2_t2i"), tmp_path / "raw", tmp_path / "data")
    releases.mmrb2(tmp_path / "raw")
    found = cli("convert", "mmrb2_t2i", "--raw", tmp_path / "raw", "--out", tmp_path / "data")
    assert found.code == 0 and "the release has 20 rows, and 1,000 by its authors' count" in found.out
    file = tmp_path / "raw/mmrb2/t2i/test-00001-of-00002.parquet"
    pq.write_table(pq.read_table(file).drop(["chosen"]), file)
    with pytest.raises(UserError, match="has no column chosen"):
        run(task_with("mmrb2_t2i"), tmp_path / "raw", tmp_path / "data")


def test_no_command_trains_on_it(cli) -> None:  # type: ignore[no-untyped-def]
    for verb, recipe in (("plan", "sft_unified"), ("sft", "sft_unified"), ("rl", "rl_multitask")):
        for dry in ([], ["--dry-run"] if verb != "plan" else []):
            found = cli(verb, recipe, "--model", "tiny", "--hardware", "cpu", "--tasks", "seetrue,mmrb2_t2i", *dry)
            said = " ".join(found.err.split())
            assert (
                found.code == 2
                and f"task mmrb2_t2i is for evaluation only, and {recipe} trains: MMRB2, CC BY-NC" in said
            )
            assert f"{verb if verb != 'plan' else 'sft'} {recipe} --tasks seetrue --model tiny --hardware cpu" in said


# The official number


def judged(judge: Any, chosen: str = "A" * 532 + "B" * 468) -> list[Prediction]:
    """Every pair in both orders; `judge`(number, the release's side that is shown first) gives the verdict."""
    rows = []
    for number, better in enumerate(chosen):
        first = "AB"[number % 2]  # the seeded order of the conversion
        for order, shown in (("given", first), ("turned", "BA"["AB".index(first)])):
            label, verdict = "1" if shown == better else "2", judge(number, shown)
            about = {"id": str(number), "task": "mmrb2_t2i", "order": order, "vote": 0, "response": ""}
            rows.append(Prediction(**about, verdict=verdict, lenient=verdict, label=label))  # type: ignore[arg-type]
    return rows


@pytest.mark.parametrize(("a", "number"), [(532, 53.20), (555, 55.50)])
def test_the_sample_judge_of_the_authors(a: int, number: float) -> None:
    """It says A of every pair, in both orders: compute_accuracy.py gives 53.20 (text to image) and 55.50 (edit)."""
    found = official(judged(lambda _, shown: "1" if shown == "A" else "2", "A" * a + "B" * (1000 - a)))
    assert found == Official(2 * a, 2000) and found.missing == 0
    assert found.accuracy is not None and round(100 * found.accuracy, 2) == number


def test_each_order_counts_alone_and_what_is_missing_leaves_the_denominator() -> None:
    first = judged(lambda *_: "1")
    assert official(first).accuracy == 0.5
    assert official(judged(lambda number, _: "1" if number < 100 else None)) == Official(100, 200)
    half = official(row for row in first if row.order == "given")
    assert half.judged == half.missing == 1000
    nothing = official(judged(lambda *_: None))
    assert nothing.accuracy is None and nothing.missing == 2000


def test_of_several_votes_the_first_counts() -> None:
    from dataclasses import replace

    right = judged(lambda number, shown: "1" if (shown == "A") == (number < 532) else "2")
    wrong = [replace(row, vote=vote, verdict=OTHER[row.label]) for row in right for vote in (1, 2)]
    assert official([*wrong, *right]) == Official(2000, 2000)
