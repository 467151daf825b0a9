"""Real photographs (1024 x 1024 JPEG, MJ-Bench's quality set), README's own-images section word for word, and every
stage; and the section of docs/own-task.md with ratings from 1 to 5.

The folder with the photographs is not part of the project; without it this test is skipped, and says so.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from mtrl.config import samples
from mtrl.core.files import read_json, read_jsonl, read_yaml, sha256_file
from tests.conftest import ROOT, SHARED, mtrl

RELEASE = SHARED / "mjbench_quality_objects"
PRESETS = ["--model", "tiny", "--hardware", "cpu", "--set", "tasks=photo_original"]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not RELEASE.exists(), reason="no ../shared/data/mjbench_quality_objects"),
]


def run(home: Path, *arguments: object) -> str:
    done = mtrl(*arguments, cwd=home)
    assert done.code == 0, done.err[-3000:] + done.out[-3000:]
    return done.out


class Section(NamedTuple):
    """What a page tells the reader to write and to run."""

    first: str
    """Its first paragraph."""
    columns: str
    """The header of its table."""
    files: dict[str, str]
    commands: list[list[str]]


def section_of(page: str, title: str, task: str) -> Section:
    text = (ROOT / page).read_text(encoding="utf-8")
    section = re.search(rf"\n## {title}\n(.*?)\n## ", text, re.DOTALL)[1]
    blocks = [re.sub("^    ", "", block, flags=re.M) for block in re.findall(r"(?:^    .*\n)+", section, re.M)]
    table, sft, rl, commands = blocks[:4]
    names = re.findall(rf"`((?:recipes|prompts)/\S+/{task}\.\w+)`", section)
    yaml = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)[1]
    return Section(
        " ".join(section.strip().partition("\n\n")[0].split()),
        table.splitlines()[0],
        dict(zip(dict.fromkeys(names), (yaml, sft, rl), strict=True)),
        [shlex.split(line) for line in commands.replace("\\\n", "").splitlines()],
    )


def write(home: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(content, encoding="utf-8")


def test_readmes_own_images_and_every_stage(tmp_path: Path) -> None:
    said_first, columns, files, commands = section_of("README.md", "A judge for your own images", "photo_original")
    assert columns == (RELEASE / "labels.csv").read_text().splitlines()[0]
    shutil.copytree(Path(__file__).parent / "photos", tmp_path, dirs_exist_ok=True)  # the same photographs as pairs
    write(tmp_path, files)
    assert [command[:2] for command in commands] == [["mtrl", verb] for verb in ("convert", "sft", "export", "eval")]
    convert, sft, export, evaluate = (command[1:] for command in commands)

    run(tmp_path, *(RELEASE if word == "path/to/release" else word for word in convert))
    run(tmp_path, "convert", "photo_pairs", "--raw", RELEASE)
    checked = run(tmp_path, "check", "photo_original", "photo_pairs")
    assert "neither prompt uses" not in checked and "is empty" not in checked
    data = tmp_path / "data"
    kept = [s for split in ("train", "val", "test") for s in samples.read(data, "photo_original", split)]
    card = read_json(data / "photo_original" / "card.json")
    assert len(kept) + sum(card["rejects"].values()) == card["rows_in_release"] == 200
    assert len({s.id for s in kept}) == len(kept) and len({s.answer for s in kept}) == 2
    groups = [{s.group for s in samples.read(data, "photo_original", split)} for split in ("train", "val", "test")]
    assert not groups[0] & groups[2] and not groups[0] & groups[1]  # an original and its edit are never parted
    names = [Path(line.partition(",")[0]).name for line in (RELEASE / "labels.csv").read_text().splitlines()[1:]]
    for sample in kept[:20]:  # release bytes, verbatim
        name = names[sample.source["row"] - 1]
        assert sample.id == name  # the task names no id column
        assert sha256_file(data / sample.images[0]) == sha256_file(RELEASE / "images" / name)
    assert samples.count(data, "photo_pairs", "test") == 100
    assert {s.answer for s in samples.read(data, "photo_pairs", "test")} == {"1", "2"}  # the release always says 0

    run(tmp_path, *sft)
    rl = ["--set", "upstream.grpo.max_steps=2", "--set", "rl.validate_every=2", "--name", "r"]
    run(tmp_path, "rl", "rl_multitask", *PRESETS, *rl)
    run(tmp_path, *export)
    run(tmp_path, "export", "r", "--out", "exports/r")
    assert evaluate[-2:] == ["--tasks", "photo_original"]
    # and the pairs, while the model is loaded
    printed = run(tmp_path, *evaluate[:-1], "photo_original,photo_pairs", "--confidence")
    of_a_judge_at_chance_nothing_is_promised(tmp_path)
    run(tmp_path, "eval", "--ckpt", "exports/r", "--tasks", "photo_original,photo_pairs")
    for name, style in (("mine", "sft"), ("r", "rl")):
        rows = read_jsonl(tmp_path / f"runs/{name}/eval/predictions.jsonl")
        test = samples.count(data, "photo_original", "test")
        assert len(rows) == test + 2 * 100 == len({(r["task"], r["id"], r["order"]) for r in rows})
        assert {r["id"] for r in rows if r["task"] == "photo_original"} <= set(names)  # file names, not row numbers
        assert all(not row["finish_reason"].startswith("rejected") for row in rows)
        metrics = json.loads((tmp_path / f"runs/{name}/eval/metrics.json").read_text())
        assert metrics["photo_original"]["n"] == test and metrics["photo_pairs"]["pairwise"]["pairs"] == 100
        assert metrics["style"] == style and metrics["mean_macro_f1"] is None
        assert (tmp_path / f"runs/{name}/eval/report.html").stat().st_size > 100_000
        if name == "mine":
            verdicts = {row["verdict"] for row in rows if row["task"] == "photo_original"}
            assert verdicts <= {"yes", "no"}
            # README says first what this model can show: no better than chance, and on another machine perhaps one
            # answer
            assert "too small for photographs" in said_first and "no better than chance" in said_first
            assert 0.3 <= metrics["photo_original"]["accuracy"] <= 0.7
            assert len(verdicts) == 2 or "the judge answered" in printed


def of_a_judge_at_chance_nothing_is_promised(home: Path) -> None:
    """docs/trust.md, without another load of the model: no threshold, and the true share with an interval."""
    asked = ["runs/mine/eval", "--tasks", "photo_original"]
    few = mtrl("certify", *asked, "--write", "exports/mine", cwd=home)  # a photograph and its edit count once
    assert few.code == 2 and "independent rows of 40 rows" in few.err and "need at least 29" in few.err
    refused = mtrl("certify", *asked, "--alpha", "0.2", "--write", "exports/mine", cwd=home)
    assert refused.code == 1 and "photo_original: no threshold. Of the " in refused.out
    assert not (home / "exports/mine/decision.json").exists()
    run(home, "estimate", *asked, "--next", "20", "--out", "label.csv")
    with (RELEASE / "labels.csv").open(newline="") as source, (home / "label.csv").open(newline="") as drawn:
        label = {row["image"]: row["label"] for row in csv.DictReader(source)}
        rows = [{**row, "label": label[row["id"]]} for row in csv.DictReader(drawn)]
    with (home / "label.csv").open("w", newline="") as target:
        out = csv.DictWriter(target, rows[0])
        out.writeheader()
        out.writerows(rows)
    run(home, "estimate", *asked, "--labels", "label.csv", "--out", "share.json")
    low, high = read_json(home / "share.json")["photo_original"]["ppi"]["ci95"]
    assert low < 0.5 < high  # half of the images are originals


def test_ratings_from_1_to_5(tmp_path: Path) -> None:
    """The ratings are the test's own: an original has 4 or 5 stars, its edit 1 to 3. The photographs are real."""
    _, columns, files, commands = section_of("docs/own-task.md", "Ratings from 1 to 5", "photo_stars")
    release, home = tmp_path / "release", tmp_path / "home"
    home.mkdir()
    shutil.copytree(RELEASE / "images", release / "images")
    with (RELEASE / "labels.csv").open(newline="") as source, (release / "ratings.csv").open("w", newline="") as target:
        rows = list(csv.DictReader(source))
        out = csv.DictWriter(target, columns.split(","), extrasaction="ignore")
        out.writeheader()
        for number, row in enumerate(rows):
            stars = 4 + number // 2 % 2 if row["label"] == "original" else 1 + number // 2 % 3
            out.writerow({**row, "stars": stars})
    drafted = run(home, "new-task", "photo_stars", "--table", release / "ratings.csv")
    yaml = home / "recipes/tasks/photo_stars.yaml"
    keys = ("kind", "range", "source", "label")
    draft = {key: read_yaml(yaml)[key] for key in keys}
    assert "kind: score" in drafted and "range: [1, 5]" in drafted and draft["range"] == [1, 5]
    write(home, files)
    assert {key: read_yaml(yaml)[key] for key in keys} == draft  # the page's task is the one that was drafted
    (home / "new").mkdir()
    for row in rows[:3]:
        shutil.copy(RELEASE / "images" / row["image"], home / "new")

    assert [command[1] for command in commands] == ["convert", "sft", "export", "eval", "judge"]
    printed = {}
    for _, verb, *words in commands:
        printed[verb] = run(home, verb, *(release if word == "path/to/release" else word for word in words))
    data = home / "data"
    kept = [s for split in ("train", "val", "test") for s in samples.read(data, "photo_stars", split)]
    assert len(kept) == len(rows) and {s.answer for s in kept} == set("12345")
    answers = read_jsonl(home / "runs/stars/eval/predictions.jsonl")
    test = {s.id: s.answer for s in samples.read(data, "photo_stars", "test")}
    assert {row["id"]: row["label"] for row in answers} == test
    assert {row["verdict"] for row in answers} <= {*"12345", None}
    metrics = read_json(home / "runs/stars/eval/metrics.json")["photo_stars"]
    assert metrics["n"] == len(test) and set(metrics["confusion"]) == set("12345")
    assert all(row["image"] in printed["judge"] for row in rows[:3])
