"""mtrl estimate: what it takes, what it refuses, the random sample that it draws, and that the shares are right."""

from __future__ import annotations

import csv
import fcntl
import json
import random
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtrl.core import csv_files
from mtrl.evaluate import estimate, judged_set, labelling
from mtrl.evaluate.labelling import Label, Labels
from tests.unit.test_prevalence import least

Row = dict[str, Any]


def judged(
    task: str = "photo", images: int = 1000, share: float = 0.6, seed: int = 0
) -> tuple[list[Row], dict[str, str]]:
    """Rows as mtrl judge writes them, and the right verdict of each id. The judge is right on 90% and 70%."""
    draw = random.Random(f"{task}{seed}")
    rows, truth = [], {}
    for number in range(images):
        name = f"new/{number}.jpg"
        good = draw.random() < share
        says = "yes" if draw.random() < (0.9 if good else 0.3) else "no"
        truth[name] = "yes" if good else "no"
        rows.append(
            {
                "id": name, "image": name, "task": task, "verdict": says, "confidence": 0.9, "reasoning": "",
                "response": says, "finish_reason": "stop", "asked": f"{number:064x}",
            }
        )  # fmt: skip
    return rows, truth


def jsonl(rows: Iterable[Row], name: str = "verdicts.jsonl") -> Path:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Path(name)


def table(rows: Iterable[Iterable[Any]], head: Iterable[str] = ("image", "label"), name: str = "labels.csv") -> Path:
    with open(name, "w", newline="") as stream:
        csv.writer(stream).writerows([list(head), *rows])
    return Path(name)


def filled(name: str, truth: dict[str, str], leave: Callable[[int], bool] = lambda place: False) -> Path:
    """What a person makes of the CSV of --next."""
    with open(name, newline="") as stream:
        rows = list(csv.DictReader(stream))
    with open(name, "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        for place, row in enumerate(rows):
            writer.writerow(row if leave(place) else {**row, "label": truth[row["id"]]})
    return Path(name)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def truth() -> dict[str, str]:
    rows, right = judged()
    jsonl(rows)
    return right


def test_from_a_set_to_its_share(cli, truth: dict[str, str]) -> None:
    drawn = cli("estimate", "verdicts.jsonl", "--next", 150, "--out", "label.csv")
    assert drawn.code == 0 and "150 images to label, 0 with a label, seed 0" in drawn.out
    text = Path("label.csv").read_text()
    assert text.splitlines()[0] == "id,image,task,label,seed" and ",yes" not in text and ",no" not in text
    filled("label.csv", truth)
    done = cli("estimate", "verdicts.jsonl", "--labels", "label.csv", "--out", "share.json")
    assert done.code == 0 and done.err == "" and "warning" not in done.out
    said = json.loads(Path("share.json").read_text())["photo"]
    low, high = said["ppi"]["ci95"]
    share = sum(label == "yes" for label in truth.values()) / 1000
    assert low < share < high < low + 0.2 and share < said["judge_alone"] - 0.03
    assert (said["images"], said["labels"], said["clusters"], said["seed"]) == (1000, 150, 150, 0)
    numbers = [100 * value for value in (said["ppi"]["value"], low, high, said["judge_alone"])]
    alone = [100 * value for value in (said["labels_alone"]["value"], *said["labels_alone"]["ci95"])]
    line = "photo: {:.1f}% (95% interval {:.1f} to {:.1f}) of the 1,000 images are yes; the judge alone says {:.1f}%; "
    line += "labels alone {:.1f}% ({:.1f} to {:.1f})"
    assert line.format(*numbers, *alone) in done.out
    assert "the labels are a random sample of the set, drawn with seed 0" in done.out


def test_the_share_of_another_verdict(cli, truth: dict[str, str]) -> None:
    cli("estimate", "verdicts.jsonl", "--next", 100, "--out", "label.csv")
    filled("label.csv", truth)
    for of in ("yes", "no"):
        cli("estimate", "verdicts.jsonl", "--labels", "label.csv", "--of", of, "--out", f"{of}.json")
    yes, no = (json.loads(Path(f"{of}.json").read_text())["photo"] for of in ("yes", "no"))
    for name in ("ppi", "rogan_gladen", "labels_alone"):
        assert yes[name]["value"] + no[name]["value"] == pytest.approx(1)
        assert yes[name]["ci95"][0] + no[name]["ci95"][1] == pytest.approx(1)
    wrong = cli("estimate", "verdicts.jsonl", "--labels", "label.csv", "--of", "good")
    assert wrong.code == 2 and "yes or no; --of good is not" in wrong.err


def test_a_sample_is_continued(cli, truth: dict[str, str]) -> None:
    cli("estimate", "verdicts.jsonl", "--next", 100, "--seed", 7, "--out", "a.csv")
    cli("estimate", "verdicts.jsonl", "--next", 150, "--seed", 7, "--out", "whole.csv")
    first = filled("a.csv", truth, leave=lambda place: place == 3).read_text().splitlines()
    done = cli("estimate", "verdicts.jsonl", "--labels", "a.csv", "--next", 51, "--out", "b.csv")
    assert "51 images to label, 99 with a label, seed 7" in done.out  # the one that was left out is asked for again
    second = Path("b.csv").read_text().splitlines()
    assert second[:101] == first
    assert [line.split(",")[0] for line in second] == [
        line.split(",")[0] for line in Path("whole.csv").read_text().splitlines()
    ]
    other = cli("estimate", "verdicts.jsonl", "--labels", "a.csv", "--next", 5, "--seed", 8, "--out", "c.csv")
    assert other.code == 2 and "seed 7" in other.err
    kept = cli("estimate", "verdicts.jsonl", "--next", 5, "--out", "a.csv")
    assert kept.code == 2 and "a.csv exists already, perhaps with labels" in kept.err
    assert Path("a.csv").read_text().splitlines() == first


def test_images_that_were_left_out_of_the_sample(cli, truth: dict[str, str]) -> None:
    cli("estimate", "verdicts.jsonl", "--next", 100, "--out", "label.csv")
    text = Path("label.csv").read_text()
    filled("label.csv", truth, leave=lambda place: place in (4, 30))
    few = cli("estimate", "verdicts.jsonl", "--labels", "label.csv")
    assert few.code == 0 and "2 of the 100 sampled images have no label" in few.out
    Path("label.csv").write_text(text)
    filled("label.csv", truth, leave=lambda place: place % 3 == 0 and place < 95)
    many = cli("estimate", "verdicts.jsonl", "--labels", "label.csv")
    assert many.code == 2 and "32 of the first 100 images of the sample with seed 0 have no label" in many.err
    then = many.err.splitlines()[-1].removeprefix("next: mtrl ")
    again = cli(*shlex.split(then))
    assert again.code == 0 and "32 images to label, 68 with a label" in again.out
    Path("label.csv").write_text(text)
    filled("label.csv", truth, leave=lambda place: place >= 60)  # the first 60 are a sample too
    short = cli("estimate", "verdicts.jsonl", "--labels", "label.csv")
    assert short.code == 0 and "warning" not in short.out and "60 labels, 60 independent" in short.out


def test_a_set_that_has_grown_needs_labels_of_its_new_images(cli, truth: dict[str, str]) -> None:
    cli("estimate", "verdicts.jsonl", "--next", 100, "--out", "label.csv")
    filled("label.csv", truth)
    jsonl(judged(images=2000)[0])
    done = cli("estimate", "verdicts.jsonl", "--labels", "label.csv")
    assert done.code == 2 and "the set has other images than when it was drawn" in done.err


def test_labels_chosen_by_hand(cli, truth: dict[str, str]) -> None:
    table((name, label) for number, (name, label) in enumerate(truth.items()) if number % 5 == 0)
    done = cli("estimate", "verdicts.jsonl", "--labels", "labels.csv")
    assert done.code == 0 and "it cannot be seen whether they are a random sample of the set" in done.out
    says = {row["id"]: row["verdict"] for row in judged()[0]}
    table([(name, label) for name, label in truth.items() if says[name] == "yes"][:150])
    picked = cli("estimate", "verdicts.jsonl", "--labels", "labels.csv")
    assert picked.code == 2 and "not a random sample of the set: the judge says yes for 100.0% of them" in picked.err
    assert cli(*shlex.split(picked.err.splitlines()[-1].removeprefix("next: mtrl "))).code == 0


def test_labels_by_hand_next_to_a_sample_are_not_used(cli, truth: dict[str, str]) -> None:
    cli("estimate", "verdicts.jsonl", "--next", 100, "--out", "label.csv")
    with filled("label.csv", truth).open("a") as stream:
        known = Path("label.csv").read_text()
        more = [name for name in truth if f"{name}," not in known][:20]
        stream.writelines(f"{name},,photo,{truth[name]},\n" for name in more)
    done = cli("estimate", "verdicts.jsonl", "--labels", "label.csv", "--out", "share.json")
    assert done.code == 0 and "20 labels are of images outside the random sample, and were not used" in done.out
    assert json.loads(Path("share.json").read_text())["photo"]["labels"] == 100


@pytest.mark.parametrize(
    ("rows", "head", "said"),
    [
        ([("new/1.jpg", "yes"), ("new/2.jpg", "no"), ("new/1.jpg", "no")], ("image", "label"),
         "'new/1.jpg' of task photo has two labels: yes in labels.csv, row 1, no in labels.csv, row 3"),
        ([("1.jpg", "yes")], ("image", "label"), "none of the 1 labels in labels.csv is of an image of the set"),
        ([("new/1.jpg", "fine")], ("image", "label"), "labels.csv, row 1: label 'fine' is not a verdict of task photo"),
        ([("new/1.jpg", "yes")], ("file", "label"), "labels need a column label, and a column id or image"),
        ([("", "yes")], ("image", "label"), "row 1 has a label and neither id nor image"),
        ([("new/1.jpg", "yes", "x")], ("image", "label", "seed"), "seed 'x' is not a whole number"),
        ([(f"new/{n}.jpg", "yes", n % 2) for n in range(9)], ("image", "label", "seed"), "samples with seeds 0, 1"),
        ([(f"new/{n}.jpg", "yes") for n in range(9)], ("image", "label"), "9 labels (9 independent); an estimate"),
        ([("new/1.jpg", "")], ("image", "label"), "task photo has 0 labels"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_used(cli, truth: dict[str, str], rows: Any, head: Any, said: str) -> None:
    table(rows, head)
    done = cli("estimate", "verdicts.jsonl", "--labels", "labels.csv")
    assert done.code == 2 and said in done.err, done.err


def test_too_few_labels_name_the_next_step(cli, truth: dict[str, str]) -> None:
    cli("estimate", "verdicts.jsonl", "--next", 30, "--out", "label.csv")
    few = cli("estimate", "verdicts.jsonl", "--labels", "label.csv")
    assert few.code == 2 and "next: fill in column label of label.csv: 30 of its rows have none" in few.err
    table(list(truth.items())[:9])
    few = cli("estimate", "verdicts.jsonl", "--labels", "labels.csv")
    assert "next: mtrl estimate verdicts.jsonl --labels labels.csv --next 200 --out label1.csv" in few.err
    assert cli(*shlex.split(few.err.splitlines()[-1].removeprefix("next: mtrl "))).code == 0


def test_labels_of_some_other_images(cli, truth: dict[str, str]) -> None:
    rows = [(name, label) for number, (name, label) in enumerate(truth.items()) if number % 5 == 0]
    table([*rows, ("old/1.jpg", "yes"), rows[0]])
    done = cli("estimate", "verdicts.jsonl", "--labels", "labels.csv")
    assert done.code == 0
    assert "1 labels are not of the set: the first is labels.csv, row 201 (old/1.jpg)" in done.out
    assert "200 labels, 200 independent" in done.out  # the same label twice is one


def test_labels_of_one_kind(cli) -> None:
    rows, truth = judged(share=0.98)
    jsonl(rows)
    cli("estimate", "verdicts.jsonl", "--next", 40, "--seed", 1, "--out", "label.csv")
    filled("label.csv", dict.fromkeys(truth, "yes"))
    done = cli("estimate", "verdicts.jsonl", "--labels", "label.csv", "--out", "share.json")
    said = json.loads(Path("share.json").read_text())["photo"]
    assert done.code == 0 and said["rogan_gladen"] is None and said["ppi"]["value"] == 1 > said["ppi"]["ci95"][0] + 0.05
    assert (
        "no Rogan-Gladen estimate: it needs labels of both kinds" in done.out and "all labels say the same" in done.out
    )


def test_the_sets_own_labels(cli) -> None:
    rows, truth = judged()
    for number, row in enumerate(rows):
        row |= {"label": truth[row["id"]]} if number % 4 == 0 else {}
    jsonl(rows)
    done = cli("estimate", "verdicts.jsonl")
    assert done.code == 0 and "250 labels, 250 independent" in done.out
    jsonl({**row, "label": truth[row["id"]]} for row in rows)
    every = cli("estimate", "verdicts.jsonl")
    assert every.code == 2 and "all 1,000 images of task photo have a label, " in every.err


def test_files_that_mtrl_judge_did_not_finish(cli, truth: dict[str, str]) -> None:
    Path("torn.jsonl").write_text(Path("verdicts.jsonl").read_text()[:-20])
    assert "the last line of torn.jsonl is not complete" in cli("estimate", "torn.jsonl").err
    with open("verdicts.jsonl", "a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert "mtrl judge is writing to verdicts.jsonl" in cli("estimate", "verdicts.jsonl").err
    Path("empty.jsonl").write_text("")
    assert "empty.jsonl has no verdicts" in cli("estimate", "empty.jsonl").err
    table([("a.jpg", "yes")])
    assert "row 1 is not a row of mtrl judge" in cli("estimate", "labels.csv").err
    for gone in ("page.html", "nope.csv", "nope"):
        said = cli("estimate", gone).err
        assert f"{gone} does not exist" in said and "next: pass what mtrl judge --out wrote" in said
    gone = cli("estimate", "verdicts.jsonl", "--labels", "nope.csv").err
    assert "--labels nope.csv does not exist" in gone and "next: mtrl estimate verdicts.jsonl --next 200" in gone
    Path("empty").mkdir()
    assert "empty is not an evaluation" in cli("estimate", "verdicts.jsonl", "--labels", "empty").err
    Path("page.html").write_text("")
    assert "page.html is neither .csv nor .jsonl" in cli("estimate", "page.html").err
    twice = judged(images=3)[0]
    jsonl([*twice, twice[1]], "twice.jsonl")
    assert "row 2 and twice.jsonl, row 4 are both 'new/1.jpg' of task photo" in cli("estimate", "twice.jsonl").err
    jsonl([*twice, {**twice[1], "escalated": "yes"}], "larger.jsonl")
    assert "interrupted while it asked the larger judge" in cli("estimate", "larger.jsonl").err


def test_an_undecided_verdict_is_what_the_judge_said(cli, truth: dict[str, str]) -> None:
    whole = judged_set.read(Path("verdicts.jsonl")).tasks["photo"]
    rows = [{**row, "verdict": "undecided", "raw": row["verdict"]} for row in judged()[0]]
    assert judged_set.read(jsonl(rows, "unsure.jsonl")).tasks["photo"] == whole
    larger = [{**row, "verdict": "yes", "escalated": "yes"} for row in rows]
    assert {row.verdict for row in judged_set.read(jsonl(larger, "larger.jsonl")).tasks["photo"]} == {"yes"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seed", 1], "--seed has no effect without --next"),
        (["--next", 5], "--next writes a table to fill in"),
        (["--next", 5, "--out", "a.json"], "--out a.json is not a .csv"),
        (["--out", "a.csv"], "--out a.csv is not a .json"),
        (["--next", 5, "--of", "no", "--out", "a.csv"], "no effect with --next"),
        (["--tasks", "photos"], "has no task photos. Did you mean 'photo'?"),
        (["--cluster", "prompt"], "has no column 'prompt'"),
        (["--labels", "none.csv"], "none.csv"),
    ],
)
def test_options_that_do_not_go_together(cli, truth: dict[str, str], arguments: list[Any], said: str) -> None:
    done = cli("estimate", "verdicts.jsonl", *arguments)
    assert done.code == 2 and said in done.err, done.err


def test_clusters_by_content_by_name_and_by_a_column(cli) -> None:
    rows, truth = judged(images=200)
    for number, row in enumerate(rows):
        row |= {
            "content": str(number // 2),
            "prompt": str(number // 10),
            "label": truth[row["id"]] if number < 100 else "",
        }
    jsonl(rows)
    by_content = judged_set.read(Path("verdicts.jsonl")).tasks["photo"]
    assert len({row.cluster for row in by_content}) == 100
    by_column = judged_set.read(Path("verdicts.jsonl"), "prompt").tasks["photo"]
    assert len({row.cluster for row in by_column}) == 20
    same = [{**row, "id": str(number), "image": f"{number % 50}.jpg", "content": ""} for number, row in enumerate(rows)]
    assert len({row.cluster for row in judged_set.read(jsonl(same, "same.jsonl")).tasks["photo"]}) == 50
    named = [{**row, "cluster": row["prompt"]} for row in rows]
    assert len({row.cluster for row in judged_set.read(jsonl(named, "named.jsonl")).tasks["photo"]}) == 20
    done = cli("estimate", "verdicts.jsonl", "--cluster", "prompt")
    assert "10 independent" in done.out and "only 10 independent labels: the intervals are rough" in done.out
    labels = table([("7.jpg", "yes")])
    twice = cli("estimate", "same.jsonl", "--labels", labels)
    assert twice.code == 2 and "7.jpg is 4 rows of the set, such as '107' and '157'" in twice.err


def evaluation(folder: str, rows: list[Row], truth: dict[str, str], checkpoint: str = "") -> Path:
    """The folder of an evaluation of the same judge on rows with labels."""
    found = [
        {"task": row["task"], "id": row["id"], "order": "given", "vote": 0, "label": truth[row["id"]],
         "verdict": row["verdict"], "lenient": row["verdict"], "response": row["verdict"], "cluster": row["id"]}
        for row in rows
    ]  # fmt: skip
    about = {
        "split": "test", "prompt_sha256": "p", "samples_sha256": "s", "limit": None, "requests": len(rows),
        "choices": ["yes", "no"],
    }  # fmt: skip
    path = Path(folder)
    path.mkdir(parents=True)
    asked = {"path": "m", "checkpoint": checkpoint, "method": "sft_unified", "style": "sft", "sampling": {"votes": 1}}
    (path / "eval.json").write_text(json.dumps({**asked, "tasks": {rows[0]["task"]: about}}))
    jsonl(found, f"{folder}/predictions.jsonl")
    return path


def test_labels_of_an_evaluation_of_other_images(cli, truth: dict[str, str]) -> None:
    rows, right = judged(images=200, seed=1)
    right = {f"old/{name}": label for name, label in right.items()}
    rows = [{**row, "id": f"old/{row['id']}"} for row in rows]
    evaluation("alike/eval", rows, right)
    done = cli("estimate", "verdicts.jsonl", "--labels", "alike", "--out", "share.json")
    assert done.code == 0 and "200 of the 200 labels are of images outside the set" in done.out
    assert "whether the same judge and prompt gave both files cannot be seen" in done.out
    said = json.loads(Path("share.json").read_text())["photo"]
    own = judged()[0]
    assert said["images"] == 1000 and said["judge_alone"] == sum(row["verdict"] == "yes" for row in own) / 1000
    seen = [(right[row["id"]] == "yes", row["verdict"] == "yes") for row in rows]
    sensitivity = sum(a and b for a, b in seen) / sum(a for a, _ in seen)
    specificity = sum(not a and not b for a, b in seen) / sum(not a for a, _ in seen)
    corrected = (said["judge_alone"] + specificity - 1) / (sensitivity + specificity - 1)
    assert said["rogan_gladen"]["formula"] == pytest.approx(corrected)


def test_a_set_with_verdicts_of_a_larger_judge_needs_labels_of_its_own(cli, truth: dict[str, str]) -> None:
    rows, right = judged(images=200, seed=1)
    evaluation("one/eval", rows, right)
    jsonl([{**row, "escalated": "no" if number % 7 == 0 else None} for number, row in enumerate(rows)], "two.jsonl")
    done = cli("estimate", "two.jsonl", "--labels", "one")
    assert done.code == 2 and "has verdicts of two judges for task photo (--escalate-to)" in done.err
    assert "mtrl estimate two.jsonl --next 200 --out label1.csv" in done.err


def test_an_evaluation_with_another_share_leaves_rogan_and_gladen(cli, truth: dict[str, str]) -> None:
    rows, right = judged("photo", images=600, share=0.2, seed=2)
    right = {f"old/{name}": label for name, label in right.items()}
    evaluation("other", [{**row, "id": f"old/{row['id']}"} for row in rows], right)
    done = cli("estimate", "verdicts.jsonl", "--labels", "other", "--out", "share.json")
    said = json.loads(Path("share.json").read_text())["photo"]
    assert done.code == 0 and said["ppi"] is None and said["labels_alone"] is None
    low, high = said["rogan_gladen"]["ci95"]
    assert low < sum(label == "yes" for label in truth.values()) / 1000 < high
    assert "of the 1,000 images are yes, by Rogan-Gladen; the judge alone says" in done.out
    assert "PPI++ and labels alone are left out: the labelled images are not a random sample" in done.out


def test_an_evaluation_whose_judge_errs_otherwise_gives_no_estimate(cli) -> None:
    """The judge says yes for few images, good ones or bad; and for nearly all of the set."""
    rows, right = judged("photo", images=200, share=0.5, seed=2)
    for number, row in enumerate(rows):
        row |= {
            "id": f"old/{number}",
            "verdict": "yes" if number % (12 if right[row["id"]] == "yes" else 20) == 0 else "no",
        }
    evaluation("other", rows, {f"old/{number}": label for number, label in enumerate(right.values())})
    jsonl({**row, "verdict": "yes" if number % 10 else "no"} for number, row in enumerate(judged()[0]))
    done = cli("estimate", "verdicts.jsonl", "--labels", "other")
    assert done.code == 2 and "not a random sample of the set" in done.err
    assert "and no Rogan-Gladen estimate: " in done.err and "--next 200 --out label1.csv" in done.err


def test_an_evaluation_as_the_set(cli) -> None:
    rows, truth = judged(images=400)
    evaluation("whole", rows, truth, "a")
    every = cli("estimate", "whole")
    assert every.code == 2 and "all 400 images of task photo have a label" in every.err
    assert "50 images to label, 0 with" in cli("estimate", "whole", "--next", 50, "--out", "label.csv").out
    done = cli("estimate", "whole", "--labels", filled("label.csv", truth))
    assert done.code == 0 and "of the 400 images are yes" in done.out
    evaluation("part", rows[:100], truth, "b")
    other = cli("estimate", "whole", "--labels", "part")
    assert other.code == 2 and "are of different judges or prompts" in other.err
    evaluation("same", rows[:100], truth, "a")
    same = cli("estimate", "whole", "--labels", "same")
    assert same.code == 0 and "cannot be seen whether the evaluation is a random sample" in same.out
    with (Path("same") / "predictions.jsonl").open("r+") as stream:
        stream.truncate(1000)
    assert "task photo is not finished" in cli("estimate", "whole", "--labels", "same").err
    assert "--cluster is for a .csv or .jsonl" in cli("estimate", "whole", "--cluster", "group").err


def test_a_csv_with_cells_that_a_spreadsheet_would_run(cli) -> None:
    rows, truth = judged(images=300)
    for row in rows:
        row["id"] = f"=1+{row['id']}"
    truth = {f"=1+{name}": label for name, label in truth.items()}
    csv_files.write(Path("verdicts.csv"), list(rows[0]), rows)
    found = judged_set.read(Path("verdicts.csv")).tasks["photo"]
    assert [row.id for row in found] == sorted(truth)
    cli("estimate", "verdicts.csv", "--next", 60, "--out", "label.csv")
    assert "\n'=1+" in Path("label.csv").read_text()
    filled("label.csv", {f"'{name}": label for name, label in truth.items()})
    done = cli("estimate", "verdicts.csv", "--labels", "label.csv")
    assert done.code == 0 and "60 labels" in done.out


def test_several_tasks_and_rows_that_were_skipped(cli) -> None:
    rows, truth = judged(images=300)
    more, others = judged("scene", images=200, share=0.2)
    jsonl([*rows, *more, {**rows[0], "id": "bad", "verdict": "skipped", "skipped": "no image"}])
    done = cli("estimate", "verdicts.jsonl", "--next", 50, "--out", "label.csv")
    assert "100 images to label" in done.out and "1 images of the set were skipped by mtrl judge" in done.out
    with open("label.csv", newline="") as stream:
        drawn = list(csv.DictReader(stream))
    right = {"photo": truth, "scene": others}
    table(
        ((row["id"], row["task"], right[row["task"]][row["id"]], 0) for row in drawn), ("id", "task", "label", "seed")
    )
    both = cli("estimate", "verdicts.jsonl", "--labels", "labels.csv", "--out", "share.json")
    assert both.code == 0 and "of the 300 images are yes" in both.out and "of the 200 images are yes" in both.out
    said = json.loads(Path("share.json").read_text())
    skipped = "1 images of the set were skipped by mtrl judge; no number counts them"
    assert said["photo"]["notes"] == [skipped] and said["scene"]["notes"] == [] and skipped in both.out
    one = cli("estimate", "verdicts.jsonl", "--labels", "labels.csv", "--tasks", "scene")
    assert one.code == 0 and "photo:" not in one.out
    table([("new/1.jpg", "yes")])
    assert "its task is not known" in cli("estimate", "verdicts.jsonl", "--labels", "labels.csv").err


def test_a_tasks_own_words_and_a_scale(cli) -> None:
    Path("recipes/tasks").mkdir(parents=True)
    Path("recipes/tasks/photo.yaml").write_text(
        "title: t\ncapability: quality\nsource: {file: a.csv}\n"
        "label: {column: label, values: {yes: [original], no: [edited]}}\n"
    )
    Path("recipes/tasks/score.yaml").write_text(
        "title: t\ncapability: quality\nkind: score\nrange: [1, 5]\nsource: {file: a.csv}\nlabel: {column: label}\n"
    )
    rows, truth = judged(images=300)
    jsonl(rows)
    words = {"yes": "original", "no": "edited"}
    table((name, words[label]) for name, label in list(truth.items())[:100])
    assert cli("estimate", "verdicts.jsonl", "--labels", "labels.csv").code == 0
    evaluation("asked", rows, truth, "a")
    cli("estimate", "asked", "--next", 50, "--out", "label.csv")
    filled("label.csv", {name: words[label] for name, label in truth.items()})
    assert cli("estimate", "asked", "--labels", "label.csv").code == 0
    jsonl([*rows, {**rows[0], "id": "x", "verdict": "tie"}])
    other = cli("estimate", "verdicts.jsonl", "--labels", "labels.csv")
    assert other.code == 2 and "has verdict 'tie', and task photo here has yes or no" in other.err
    scores = {"yes": "45", "no": "123"}
    draw = random.Random(0)
    jsonl({**row, "task": "score", "verdict": draw.choice(scores[row["verdict"]])} for row in rows)
    table((name, draw.choice(scores[label])) for name, label in list(truth.items())[:100])
    assert "pass --tasks score --of" in cli("estimate", "verdicts.jsonl", "--labels", "labels.csv").err
    done = cli("estimate", "verdicts.jsonl", "--labels", "labels.csv", "--of", "4,5")
    assert done.code == 0 and "of the 300 images are 4/5" in done.out


@pytest.mark.parametrize("draws", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_over_samples_of_next_the_intervals_have_the_share_of_the_set(draws: int) -> None:
    """From one fixed set, with duplicates and prompts in clusters, by the seeds of --next."""
    rows, truth = judged(images=600)
    for number, row in enumerate(rows):
        row |= {"cluster": str(number // 3), "content": str(number - number % 2 if number < 100 else number)}
    found = judged_set.read(jsonl(rows))
    own = sum(label == "yes" for label in truth.values()) / len(truth)
    hits = []
    for seed in range(draws):
        some = labelling.order(found.tasks["photo"], seed)[:100]
        labels = Labels({"photo": {row.id: Label(row, truth[row.id], seed, "") for row in some}}, [], None)
        share = estimate.of_table(found, "photo", ("yes",), labels)
        assert share.seed == seed and share.ppi and share.rogan_gladen and share.labels_alone
        hits.append([low <= own <= high for low, high in (
            one.ci95 for one in (share.ppi, share.rogan_gladen, share.labels_alone)
        )])  # fmt: skip
    assert np.mean(hits, axis=0).min() >= least(draws), np.mean(hits, axis=0)
