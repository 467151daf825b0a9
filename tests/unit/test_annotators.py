"""Several labels per row: what they come to, what is stored of each annotator, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mtrl.config import datacard, samples
from mtrl.config.kinds import IMAGES
from mtrl.config.labels import TIED, UNLABELLED
from mtrl.config.majority import agreed, majority
from mtrl.config.samples import Sample
from mtrl.config.tasks import Task
from mtrl.converters import table
from mtrl.converters.base import Row
from mtrl.converters.pipeline import counts
from mtrl.converters.pipeline.agreement import alpha
from mtrl.core.errors import MtrlError, UserError
from mtrl.demo.releases import blocks, encoded
from tests.unit.releases_fixture import asked, hashes, run, table_task

VALUES = {"yes": ["good"], "no": ["bad"]}
COLUMNS = {"columns": ["ann", "ben", "cem"], "values": VALUES, "drop": ["unsure"]}
ROWS = {"column": "label", "annotator": "who", "values": VALUES, "drop": ["unsure"]}
SCORES = {"kind": "score", "range": [1, 5]}
PAIR = {"kind": "pairwise", "source": {"file": "labels.jsonl", "images": ["image", "other"]}}
# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", sections C and D: four observers, 12 units, missing
# values; alpha is 0.743 nominal and 0.849 interval.
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)


def rows_of(tmp_path: Path, records: list[dict[str, Any]], **changes: Any) -> list[Row]:
    """The table's rows; every image is there."""
    task = table_task(tmp_path, records, **changes)
    return list(table.rows(task, tmp_path))


def said(rows: list[Row]) -> list[tuple[str, str, dict[str, str]]]:
    return [(row.id, row.answer, row.annotators) for row in rows]


def wide(*labels: str) -> list[dict[str, Any]]:
    """A row per word of three labels; "-" is an empty cell."""
    words = {"g": "good", "b": "bad", "u": "unsure", "-": ""}
    cells = [dict(zip(("ann", "ben", "cem"), map(words.get, three), strict=True)) for three in labels]
    return [{"image": f"{n}.png", **row} for n, row in enumerate(cells)]


def test_the_majority_is_the_label_and_ties_have_none(tmp_path: Path) -> None:
    found = said(rows_of(tmp_path, wide("ggb", "b-b", "gb-", "gbu", "uu-", "-b-"), label=COLUMNS))
    assert found == [
        ("0.png", "yes", {"ann": "yes", "ben": "yes", "cem": "no"}),
        ("1.png", "no", {"ann": "no", "cem": "no"}),
        ("2.png", TIED, {"ann": "yes", "ben": "no"}),
        ("3.png", TIED, {"ann": "yes", "ben": "no"}),
        ("4.png", UNLABELLED, {}),
        ("5.png", "no", {"ben": "no"}),
    ]


def test_a_row_per_annotator_is_the_same_as_a_column_per_annotator(tmp_path: Path) -> None:
    by_column = wide("ggb", "b-b", "gb-", "-b-", "bbb")
    by_row = [
        {"image": row["image"], "who": name, "label": row[name]} for name in ("ann", "ben", "cem") for row in by_column
    ]
    assert said(rows_of(tmp_path / "a", by_row, label=ROWS)) == said(rows_of(tmp_path / "b", by_column, label=COLUMNS))


def test_other_fields_are_another_item(tmp_path: Path) -> None:
    records = [
        {"image": "a.png", "text": text, "who": who, "label": label}
        for text, who, label in (("x", "ann", "good"), ("y", "ann", "bad"), ("x", "ben", "good"), ("y", "ben", "bad"))
    ]
    source = {"file": "labels.jsonl", "fields": {"caption": "text"}}
    found = rows_of(tmp_path, records, label=ROWS, source=source)
    assert [(row.fields["caption"], row.answer, len(row.annotators)) for row in found] == [
        ("x", "yes", 2),
        ("y", "no", 2),
    ]


def test_annotators_may_see_a_pair_in_either_order(tmp_path: Path) -> None:
    label = {"column": "label", "annotator": "who", "values": {"1": ["left"], "2": ["right"]}}
    records = [
        {"image": "a.png", "other": "b.png", "who": "ann", "label": "left"},
        {"image": "b.png", "other": "a.png", "who": "ben", "label": "right"},
        {"image": "b.png", "other": "a.png", "who": "cem", "label": "left"},
    ]
    (row,) = rows_of(tmp_path, records, label=label, **PAIR)
    assert row.answer == "1" and row.annotators == {"ann": "1", "ben": "1", "cem": "2"}


@pytest.mark.parametrize(
    ("cells", "rounding", "answer", "score"),
    [
        ((4, 4, 5), "nearest", "4", 13 / 3),
        ((4, None, 5), "nearest", "5", 4.5),
        ((4, None, 5), "floor", "4", 4.5),
        ((4, None, 4), None, "4", 4.0),
        (("n/a", 2, 3), "floor", "2", 2.5),
    ],
)
def test_a_score_is_the_mean_rounded_as_the_task_says(cells, rounding, answer, score, tmp_path: Path) -> None:
    label = {"columns": ["ann", "ben", "cem"], "drop": ["n/a", "3.5"], **({"round": rounding} if rounding else {})}
    full = {"image": "b.png", "ann": 1, "ben": 1, "cem": 1}
    records = [{"image": "a.png", **dict(zip(("ann", "ben", "cem"), cells, strict=True))}, full]
    row, _ = rows_of(tmp_path, records, label=label, **SCORES)
    assert (row.answer, row.score) == (answer, pytest.approx(score))


def test_a_mean_is_not_read_as_a_label_that_is_dropped(tmp_path: Path) -> None:
    records = [{"image": f"{n}.png", "ann": 2, "ben": 4} for n in range(2)]
    found = rows_of(tmp_path, records, label={"columns": ["ann", "ben"], "drop": [3]}, **SCORES)
    assert [row.answer for row in found] == ["3", "3"]


def test_a_rule_is_of_each_label(tmp_path: Path) -> None:
    label = {"columns": ["ann", "ben", "cem"], "rule": {"when": ">= 4", "then": "yes"}}
    records = [{"image": "a.png", "ann": 5, "ben": 4, "cem": 1}, {"image": "b.png", "ann": 3, "ben": 3, "cem": 5}]
    found = rows_of(tmp_path, records, label=label)
    assert [(row.answer, row.score) for row in found] == [("yes", 10 / 3), ("no", 11 / 3)]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"values": VALUES}, "label.column is missing"),
        ({"columns": ["ann"], "values": VALUES}, "two columns or more"),
        ({"columns": ["ann", "ann"], "values": VALUES}, "each once"),
        ({"column": "ann", "columns": ["ann", "ben"], "values": VALUES}, "either columns or column"),
        ({"columns": ["ann", "ben"], "annotator": "who", "values": VALUES}, "either columns or annotator"),
        ({"columns": ["ann", "ben"], "rule": {"when": "highest 2", "then": "yes"}}, "label.rule ranks rows"),
        ({"columns": ["ann", "ben"]}, r"columns: \[ann, ben\], values"),
    ],
)
def test_a_label_that_cannot_be_meant(label: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        table_task(tmp_path, [], label=label)


def test_only_a_table_has_such_columns(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="converter: table"):
        table_task(tmp_path, [], label=COLUMNS, converter="./own.py")


PLAIN = wide("ggb", "bbb")


@pytest.mark.parametrize(
    ("records", "label", "message"),
    [
        (PLAIN, {**COLUMNS, "columns": ["ann", "benn"]}, "no column 'benn'. Did you mean 'ben'"),
        ([*PLAIN, {**PLAIN[0], "image": "z.png", "ben": "fine"}], COLUMNS, "'fine' in column 'ben' is unknown"),
        (wide("gb-", "bb-", "bbu"), COLUMNS, "column 'cem' of label.columns has no label"),
        (wide("g--", "-b-", "--b"), COLUMNS, "no item has labels of two annotators, of 3 items of 3"),
        ([{"image": "a.png", "who": "ann", "label": "good"}] * 2, ROWS, "row 2 .*row 1: both are labels of .*'ann'"),
        ([{"image": "a.png", "who": "ann", "label": "good"}], ROWS, "of one annotator, 'ann'"),
        ([{"image": "a.png", "who": None, "label": "good"}], ROWS, "column 'who' is empty"),
        ([{"image": "a.png", "who": "ann", "laber": "good"}], ROWS, "no column 'label'. Did you mean 'laber'"),
        (
            [{"image": f"{who}.png", "who": who, "label": "good"} for who in ("ann", "ben")],
            ROWS,
            "no item has labels of two annotators, of 2 items of 2",
        ),
    ],
)
def test_what_the_table_cannot_mean(records, label, message: str, tmp_path: Path) -> None:
    with pytest.raises(MtrlError, match=message):
        rows_of(tmp_path, records, label=label)


@pytest.mark.parametrize(
    ("label", "message", "then"),
    [
        (
            {"columns": ["ann", "ben", "ann"]},
            "two columns or more, each once",
            "write columns: [A, B], one per annotator",
        ),
        ({"columns": ["ann"]}, "two columns or more, each once", "or for one column: A"),
        ({"columns": "ann, ben"}, "label.columns: it should be a list", "write columns: [ann, ben]"),
        ({"columns": ["ann", "ben"], "column": "ann"}, "it has both", "remove label.columns or label.column"),
        ({"columns": ["ann", "benn"]}, "Did you mean 'ben'", "correct label in recipes/tasks/"),
        ({"columns": [], "column": "labl"}, "no column 'labl'", "correct it in the task's YAML"),
    ],
)
def test_wrong_columns_have_a_next_step(label, message: str, then: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as wrong:
        rows_of(tmp_path, PLAIN, label={**COLUMNS, **label})
    assert then in wrong.value.then


def test_rows_of_one_item_are_in_one_split(tmp_path: Path) -> None:
    records = [
        {"image": "a.png", "who": who, "label": "good", "part": part} for who, part in (("a", "test"), ("b", "val"))
    ]
    with pytest.raises(UserError, match="'part' is 'val', and 'test' in row 1; they have the same images"):
        rows_of(tmp_path, records, label=ROWS, split={"column": "part"})


def test_a_mean_that_is_not_whole_asks_how_to_round(tmp_path: Path) -> None:
    records = [{"image": "a.png", "ann": 4, "ben": 5}]
    with pytest.raises(MtrlError, match=r"score 4\.5 in column 'mean of ann, ben' is not a whole number") as error:
        rows_of(tmp_path, records, label={"columns": ["ann", "ben"]}, **SCORES)
    assert "round: nearest" in error.value.then


def converted(tmp_path: Path, label: dict[str, Any], records: list[dict[str, Any]]) -> tuple[Task, dict[str, Any]]:
    """A conversion of real image files into tmp_path/data."""
    draw = blocks(3)
    for n, record in enumerate(records):
        tmp_path.joinpath(record["image"]).write_bytes(encoded(draw(n), "PNG"))
    task = table_task(tmp_path, records, label=label)
    card, _ = run(task, tmp_path, tmp_path / "data")
    return task, card


def test_the_samples_keep_the_annotators_and_the_card_counts_ties(tmp_path: Path) -> None:
    labels = ["ggb", "bbb", "gb-", "ggg", "b-b", "bgg", "ggg", "bbb", "bbb", "ggg", "--u", "gb-"]
    task, card = converted(tmp_path, COLUMNS, wide(*labels))
    assert card["left_out"] == {TIED: 2, UNLABELLED: 1}
    found = card["agreement"]
    assert (found["annotators"], found["items"], found["labels"], found["ties"]) == (3, 11, 30, 2)
    kept = [label.replace("-", "") for label in labels if label not in ("--u",)]
    assert found["alpha"] == pytest.approx(alpha([list(label) for label in kept])) and found["level"] == "nominal"
    everything = [s for split in ("train", "val", "test") for s in samples.read(tmp_path / "data", task.name, split)]
    assert len(everything) == 9 and {s.id: s.annotators for s in everything}["0.png"] == {
        "ann": "yes",
        "ben": "yes",
        "cem": "no",
    }
    assert next(iter(asked(task, tmp_path / "data").values()))["given"].annotators


def test_samples_without_annotators_are_the_same_file_as_before(tmp_path: Path) -> None:
    records = [{"image": f"{n}.png", "label": n % 2} for n in range(10)]
    task, card = converted(tmp_path, {"column": "label", "values": {"yes": ["1"], "no": ["0"]}}, records)
    assert card["agreement"] is None
    file = samples.path_of(tmp_path / "data", task.name, "train")
    assert "annotators" not in pq.read_schema(file).names
    assert next(samples.read(tmp_path / "data", task.name, "train")).annotators == {}


def test_all_ties_are_an_error_before_any_image_is_read(tmp_path: Path) -> None:
    task = table_task(tmp_path, wide("gb-", "-gb"), label=COLUMNS)
    with pytest.raises(UserError, match="ties of annotators leave out all 2 rows"):
        run(task, tmp_path, tmp_path / "data")


def test_a_changed_label_of_one_annotator_converts_again(tmp_path: Path) -> None:
    records = wide(*["ggb", "bbb"] * 5)
    converted(tmp_path, COLUMNS, records)
    before = hashes(tmp_path / "data")
    records[0]["cem"] = "good"  # the majority stays
    _, card = converted(tmp_path, COLUMNS, records)
    assert "unchanged" not in card and hashes(tmp_path / "data") != before


def test_the_other_order_of_a_pair_has_the_other_verdicts() -> None:
    sample = Sample(
        "x", "t", "pairwise", ("a", "b"), {}, "1", "test", annotators={"ann": "1", "ben": "2", "cem": "tie"}
    )
    assert sample.swapped(IMAGES).annotators == {"ann": "2", "ben": "1", "cem": "tie"}


def test_check_prints_alpha_and_ties(tmp_path: Path) -> None:
    _, card = converted(tmp_path, COLUMNS, wide(*["ggg", "bbb"] * 6, "gb-"))
    lines = [
        line for line in counts.of_card("t", datacard.DataCard.model_validate(card)) if "every row" not in line.text
    ]
    first, second = lines
    assert "3 annotators gave 38 labels to 13 items, 1 of them without a majority" in first.text and first.level == "ok"
    assert (
        "Krippendorff's alpha is 0.898 (nominal)" in first.text and "1 of 13 rows are left out by ties" in second.text
    )
    low = {**card, "agreement": {**card["agreement"], "alpha": 0.5}}
    found = counts.of_card("t", datacard.DataCard.model_validate(low))
    assert [line.level for line in found if "below 0.667" in line.text] == ["warning"]


def test_alpha_is_the_published_one() -> None:
    units = [[str(value) for value in unit if value is not None] for unit in zip(*OBSERVERS, strict=True)]
    assert round(alpha(units) or 0, 3) == 0.743
    assert round(alpha(units, interval=True) or 0, 3) == 0.849
    # the same, section A: two observers, ten units, two values
    pair = zip("0100000000", "1110010010", strict=True)
    assert round(alpha(list(map(list, pair))) or 0, 3) == 0.095


def test_alpha_is_not_defined_without_two_values_or_two_labels() -> None:
    assert alpha([["yes", "yes"], ["yes", "yes"]]) is None
    assert alpha([["yes"], ["no"]]) is None


def test_what_verdicts_come_to() -> None:
    assert majority(["a", "b", "b"]) == "b" and majority(["a", "b"]) is None and majority([]) is None
    scale = ("1", "2", "3", "4", "5")
    assert [agreed(said, scale) for said in (["4", "5"], ["1", "1", "2"], ["3"], [])] == ["5", "1", "3", None]
    assert agreed(["yes", "no"], ("yes", "no")) is None


def test_new_task_proposes_columns_of_annotators(tmp_path: Path, cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for n, row in enumerate(rows := wide(*["ggb", "bbb", "g-g"] * 4)):
        Path(row["image"]).write_bytes(encoded(blocks(3)(n), "PNG"))
    lines = ["image,rater_1,rater_2,rater_3", *(",".join(row.values()) for row in rows)]
    Path("labels.csv").write_text("\n".join(lines) + "\n")
    done = cli("new-task", "rooms", "--table", "labels.csv")
    assert done.code == 0, done.err
    yaml = Path("recipes/tasks/rooms.yaml").read_text()
    assert "columns: [rater_1, rater_2, rater_3]  # guess" in yaml and "values: {yes: [good], no: [bad]}" in yaml
    assert cli("convert", "rooms", "--raw", ".").code == 0
    assert "Krippendorff's alpha" in cli("check", "rooms").out


def test_new_task_proposes_the_column_of_annotators(tmp_path: Path, cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = ["image,annotator,label"]
    for n in range(12):
        Path(f"{n}.png").write_bytes(encoded(blocks(3)(n), "PNG"))
        lines += [f"{n}.png,{who},{'good' if n % 2 else 'bad'}" for who in ("ann", "ben")]
    Path("labels.csv").write_text("\n".join(lines) + "\n")
    assert cli("new-task", "rooms", "--table", "labels.csv").code == 0
    assert "annotator: annotator  # guess" in Path("recipes/tasks/rooms.yaml").read_text()
    assert "12 items" in cli("convert", "rooms", "--raw", ".").out


def test_a_table_with_a_label_column_has_no_columns_of_annotators(tmp_path: Path, cli, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = [f"{n}.png,{'good' if n % 2 else 'bad'},{n % 3},{n % 4}" for n in range(12)]
    Path("labels.csv").write_text("\n".join(["image,label,label_1,label_2", *cells]) + "\n")
    cli("new-task", "rooms", "--table", "labels.csv")
    assert "column: label  # guess" in Path("recipes/tasks/rooms.yaml").read_text()


def test_a_card_is_json(tmp_path: Path) -> None:
    task, _ = converted(tmp_path, COLUMNS, wide(*["ggb", "bbb"] * 5))
    assert json.loads((tmp_path / "data" / task.name / "card.json").read_text())["agreement"]["alpha"] is not None
