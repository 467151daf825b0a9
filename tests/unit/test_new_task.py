"""mtrl new-task: what it guesses from a table, and that its files work: convert, check and prompts on real
image files.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mtrl.config import prompting, tasks
from mtrl.converters.pipeline.label_meaning import Meaning, kind_of, meaning
from tests import hinted
from tests.conftest import SHARED


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, with a release of 40 JPEG files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my release" / "pics").mkdir(parents=True)
    for number in range(40):
        image = Image.effect_noise((64, 48), 20 + 5 * number).convert("RGB")
        image.save(tmp_path / "my release" / "pics" / f"{number}.jpg")
    return tmp_path


def table(header: str, row: Any, name: str = "labels.csv") -> Path:
    """A table in the release, with `row(number)` for each of its images."""
    file = Path("my release") / name
    file.write_text("\n".join([header, *(row(number) for number in range(40))]) + "\n")
    return file


def test_the_files_work_as_they_are(cli) -> None:
    file = table(
        "file name,caption,label,pair",
        lambda n: f'{n}.jpg,"A room, with {n} chairs.",{["original", "edited"][n % 2]},{n // 2}',
    )
    done = cli("new-task", "rooms", "--table", file)
    assert done.code == 0 and "warning" not in done.out, done.out + done.err
    commands = hinted.collect(done.out)
    assert [shlex.split(line)[1] for line in commands] == ["convert", "prompts", "check"]
    for line in commands:
        hinted.tried(line, cli)
    assert "train │   28 " in cli("convert", "rooms", "--raw", "my release").out
    assert "warning" not in cli("check", "rooms").out
    task = tasks.load("rooms")
    assert task.source == {
        "file": "labels.csv",
        "images": ["file name"],
        "image_folder": "pics",
        "fields": {"caption": "caption"},
    }
    assert task.label.values == {"yes": ["original"], "no": ["edited"]} and task.split.group == "pair"
    assert Path("recipes/tasks/rooms.yaml").read_text().count("# guess") == 7
    shown = cli("prompts", "rooms", "--style", "rl").out
    assert "yes: the image is original.\nno: the image is edited.\n" in shown and "Caption: A room, with" in shown
    assert "Is the image original?" in shown and "<think></think>" in shown


def test_pairs_of_a_table(cli) -> None:
    file = table(
        "left,right,better", lambda n: f"pics/{n}.jpg,pics/{(n + 7) % 40}.jpg,{['left', 'right', 'tie'][n % 3]}"
    )
    done = cli("new-task", "which", "--table", file)
    assert done.code == 0, done.err
    task = tasks.load("which")
    assert task.kind == "pairwise" and task.source["images"] == ["left", "right"] and "image_folder" not in task.source
    assert task.label.values == {"1": ["left"], "2": ["right"]} and task.label.drop == ["tie"]
    for line in hinted.collect(done.out):
        hinted.tried(line, cli)


def test_what_was_found_is_shown(cli) -> None:
    file = table("image,caption,note,grade", lambda n: f'{n}.jpg,"Room {n}.",,{["good", "bad", ""][n % 3]}')
    done = cli("new-task", "rooms", "--table", file)
    assert done.code == 0, done.err
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.out.splitlines() if "│" in line]
    assert cells[:4] == [
        ["image", "image", "40", "0.jpg"],
        ["caption", "text", "40", "Room 0."],
        ["note", "-", "1", ""],
        ["grade", "label", "3", "good"],
    ]
    assert cells[4:] == [["yes", "good", "14"], ["no", "bad", "13"], ["left out by label.drop", "", "13"]]
    yaml = Path("recipes/tasks/rooms.yaml").read_text()
    guesses = [line for line in yaml.splitlines() if "# guess" in line]
    assert len(guesses) == 8 and all(line in done.out for line in guesses)
    assert "at random, since no column says" in guesses[-1]


@pytest.mark.parametrize(
    ("labels", "kind", "choices", "values", "drop"),
    [
        ("1 2 3 4 5", "score", "1 2 3 4 5", {}, []),
        ("0 2 4 n/a", "score", "0 1 2 3 4", {}, ["n/a"]),
        ("1.0 2.0 3.0", "score", "1 2 3", {}, []),
        ("sharp blurry noisy", "choice", "blurry noisy sharp", {}, []),
        ("Sharp Blurry Noisy", "choice", "blurry noisy sharp", {}, []),
        ("out/of/focus fine dark", "choice", "dark fine out_of_focus", {"out_of_focus": ["out/of/focus"]}, []),
        ("good bad", "pointwise", "yes no", {"yes": ["good"], "no": ["bad"]}, []),
        ("0 1", "pointwise", "yes no", {"yes": ["1"], "no": ["0"]}, []),
        ("1 2 x y z", "pointwise", "yes no", {"yes": ["1"], "no": ["2"]}, ["x", "y", "z"]),  # half of them numbers
        ("cat catfish dog", "pointwise", "yes no", {"yes": ["cat"]}, []),  # one word is part of another
    ],
)
def test_the_labels_say_which_kind(cli, labels: str, kind: str, choices: str, values: dict, drop: list[str]) -> None:
    words = labels.split()
    done = cli("new-task", "mine", "--table", table("image,label", lambda n: f"{n}.jpg,{words[n % len(words)]}"))
    assert done.code == 0, done.err
    task = tasks.load("mine")
    assert (task.kind, " ".join(task.choices)) == (kind, choices)
    assert values.items() <= task.label.values.items() and set(drop) <= set(task.label.drop)
    assert cli("convert", "mine", "--raw", "my release").code == 0
    shown = cli("prompts", "mine", "--style", "rl").out
    assert all(f"{choice}: the image is" in shown for choice in (task.choices[0], task.choices[-1]))


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [(range(101), "score"), (range(102), "pointwise"), ((-1, 0, 1), "pointwise"), ((1, 2.5, 4), "pointwise")],
)
def test_numbers_that_are_no_scale_are_yes_and_no(numbers: Any, kind: str) -> None:
    assert kind_of([str(number) for number in numbers]) == kind


def test_labels_that_cannot_be_of_the_kind_asked_for(cli) -> None:
    file = table("image,label", lambda n: f"{n}.jpg,{'ab'[n % 2]}")
    for kind, says in (("score", "fewer than 3 different whole numbers"), ("choice", "fewer than 3 different words")):
        done = cli("new-task", "mine", "--table", file, "--kind", kind)
        assert done.code == 2 and f"cannot be those of a {kind} task: {says}" in done.err
    assert not Path("recipes").exists()


@pytest.mark.parametrize("kind", ["pointwise", "pairwise", "choice", "score"])
def test_without_a_table_there_are_names_to_replace(cli, kind: str) -> None:
    done = cli("new-task", "mine", "--kind", kind)
    assert done.code == 0 and "next: mtrl convert mine --raw raw" in done.out
    task = tasks.load("mine")
    assert task.kind == kind and len(task.source["images"]) == (2 if kind == "pairwise" else 1)
    assert all(prompting.preview(task, style) for style in prompting.STYLES)


def test_nothing_is_overwritten(cli) -> None:
    Path("prompts/rl").mkdir(parents=True)
    Path("prompts/rl/mine.jinja").write_text("mine")
    done = cli("new-task", "mine")
    assert done.code == 2 and "already there: prompts/rl/mine.jinja" in done.err
    assert Path("prompts/rl/mine.jinja").read_text() == "mine" and not Path("recipes").exists()
    assert cli("new-task", "other").code == 0
    assert "there is a task other already" in cli("new-task", "other").err
    assert "there is a task seetrue already" in cli("new-task", "seetrue").err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["my_test"], "train, val and test are not allowed as words"),
        (["My-Task"], "lower-case letters, digits and _"),
        (["../x"], "lower-case letters, digits and _"),
        (["x", "--table", "none.csv"], "none.csv"),
        (["x", "--table", "my release/pics/1.jpg"], "a table is .csv, .jsonl, .parquet or .json"),
        (["x", "--table", "texts.csv"], "has 0. Its columns: a, b"),
        (["x", "--table", "empty.csv"], "empty.csv has no rows"),
        (
            ["x", "--table", "my release/one.csv", "--kind", "pairwise"],
            "a pairwise task needs 2 columns of image files",
        ),
    ],
)
def test_what_cannot_be_a_task(cli, arguments: list[str], says: str) -> None:
    Path("texts.csv").write_text("a,b\nx,y\n")
    Path("empty.csv").write_text("image,label\n")
    table("image,label", lambda n: f"{n}.jpg,{n % 2}", "one.csv")
    done = cli("new-task", *arguments)
    assert done.code == 2 and says in done.err and "Traceback" not in done.err, done.err
    assert not Path("recipes").exists()


def test_what_was_looked_for_in_vain_is_said(cli) -> None:
    done = cli("new-task", "x", "--table", table("image,note", lambda n: f"gone/{n}.jpg,n{n}"))
    assert done.code == 0 and "no column that looks like labels" in done.out and "gone/0.jpg is not in" in done.out
    done = cli("new-task", "y", "--table", table("image,label", lambda n: f"{n}.jpg,fine"))
    assert done.code == 0 and "seems to mean no: write one in label.values.no" in done.out
    assert tasks.load("y").label.values == {"yes": ["fine"], "no": ["?"]}


@pytest.mark.parametrize(
    ("labels", "kind", "expected"),
    [
        ("yes no", "pointwise", Meaning({"yes": ["yes"], "no": ["no"]})),
        ("0 1", "pointwise", Meaning({"yes": ["1"], "no": ["0"]})),
        ("UNSAFE safe", "pointwise", Meaning({"yes": ["UNSAFE"], "no": ["safe"]})),
        ("1 2 3 4 5", "pointwise", Meaning({"yes": ["4", "5"], "no": ["1", "2"]}, ["3"])),
        ("2 10 1", "pointwise", Meaning({"yes": ["10"], "no": ["1"]}, ["2"])),
        ("good bad unclear", "pointwise", Meaning({"yes": ["good"], "no": ["bad"]}, ["unclear"])),
        (" ".join(str(n / 10) for n in range(40)), "pointwise", Meaning(rule=">= 2")),
        ("0 1", "pairwise", Meaning({"1": ["0"], "2": ["1"]})),
        ("right left tie", "pairwise", Meaning({"1": ["left"], "2": ["right"]}, ["tie"])),
    ],
)
def test_what_labels_seem_to_mean(labels: str, kind: str, expected: Meaning) -> None:
    assert meaning(labels.split(), kind) == expected
    left_out = meaning([*labels.split(), ""], kind)
    assert left_out == Meaning(expected.values, ["", *expected.drop], expected.rule)


def test_words_that_yaml_would_read_otherwise_come_back_as_they_are(cli) -> None:
    words = ["no: way", "null", "1.0", "[x]", "- a", "#b", "it's", 'a "b"', "0x1f", "2024-01-01", "é", "{{ x }}"]
    rows = [f'{n}.jpg,"{words[n % len(words)].replace(chr(34), chr(34) * 2)}"' for n in range(40)]
    done = cli("new-task", "x", "--table", table("image,label: b", lambda n: rows[n]))
    assert done.code == 0, done.err
    label = tasks.load("x").label
    assert label.column == "label: b"
    assert sorted([*label.values["yes"], *label.values["no"], *label.drop]) == sorted(words)


@pytest.mark.skipif(not SHARED.exists(), reason="no ../shared/data/mjbench_quality_objects")
def test_photographs(cli) -> None:
    release = SHARED / "mjbench_quality_objects"
    for name, file in (("photo", "labels.csv"), ("photo_pairs", "quality.parquet")):
        done = cli("new-task", name, "--table", release / file)
        assert done.code == 0, done.err
    assert tasks.load("photo").source["image_folder"] == "images" and tasks.load("photo_pairs").kind == "pairwise"
    assert cli("convert", "photo", "--raw", release).code == 0
    assert cli("check", "photo").code == 0


def test_images_that_are_not_used_are_said(cli) -> None:
    file = table("source,edit_1,edit_2,better", lambda n: f"{n}.jpg,{n}.jpg,{(n + 1) % 40}.jpg,{'ab'[n % 2]}")
    done = cli("new-task", "edits", "--table", file)
    assert done.code == 0 and "not used, though image files: edit_2. An edit (a source and two candidates)" in " ".join(
        (done.out + done.err).split()
    )
