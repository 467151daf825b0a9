"""Every kind of task but the two that the demo has, the whole way: conversion, SFT (LLaMA-Factory), GRPO (TRL), export,
scoring with confidence (vLLM), the report, and `mtrl judge`, all with one tiny judge.
"""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mtrl.core.files import read_jsonl
from tests.conftest import mtrl

pytestmark = pytest.mark.e2e

ROWS = 60
HUES = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220)}
PRESETS = ["--model", "tiny", "--hardware", "cpu"]
TASKS: dict[str, tuple[str, str]] = {  # the end of the YAML, and the prompt
    "shade": (
        "kind: score\nrange: [1, 5]\nsource: {file: shade.csv}\nlabel: {column: label, round: nearest}\n",
        "<image> How bright?",
    ),
    "colour": (
        "kind: choice\nchoices: [red, green, blue]\nsource: {file: colour.csv}\nlabel: {column: label}\n",
        "<image> Which colour?",
    ),
    "brighter": (
        "kind: pairwise\ntie: true\nsource: {file: brighter.csv, images: [a, b]}\n"
        'label: {column: label, values: {"1": [a], "2": [b], tie: [same]}}\n',
        "<image> <image> Which is brighter?",
    ),
    "words": (
        "kind: pairwise\npair: {fields: [one, two]}\n"
        "source: {file: words.csv, fields: {one: one, two: two}}\n"
        'label: {column: label, values: {"1": [one], "2": [two]}}\n',
        "<image> Which word is right, 1: {{ one }} or 2: {{ two }}?",
    ),
    "edit": (
        "kind: pairwise\nimages: 3\npair: {images: [2, 3]}\nsource: {file: edit.csv, images: [source, a, b]}\n"
        'label: {column: label, values: {"1": [a], "2": [b]}}\n',
        "<image> Which is nearer, <image> or <image>?",
    ),
}


def release(raw: Path) -> None:
    """A table of ROWS rows per task, and their images of one colour each."""
    raw.mkdir()
    draw = random.Random(0)
    number = 0

    def picture(*rgb: int) -> str:
        nonlocal number
        number += 1
        Image.new("RGB", (64, 64), rgb).save(raw / f"{number}.png")
        return f"{number}.png"

    def grey(level: float) -> str:
        return picture(*[int(50 * level) + draw.randrange(-4, 5)] * 3)

    def hue(name: str) -> str:
        return picture(*(min(255, value + draw.randrange(24)) for value in HUES[name]))

    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in TASKS}
    for n in range(ROWS):
        level = 1 + n % 5
        tables["shade"].append({"image": grey(level), "label": level - 0.5 + draw.random() * 0.9})
        name, other = draw.sample(list(HUES), 2)
        tables["colour"].append({"image": hue(name), "label": name.title()})
        a, b = (3, 3) if n % 3 == 2 else draw.sample(range(1, 6), 2)
        label = "same" if a == b else "a" if a > b else "b"
        tables["brighter"].append({"a": grey(a), "b": grey(b), "label": label})
        right = {"image": hue(name), "one": name, "two": other, "label": "one"}
        tables["words"].append(right if n % 2 else {**right, "one": other, "two": name, "label": "two"})
        near, far = hue(name), hue(other)
        pair = {"a": near, "b": far, "label": "a"} if n % 2 else {"a": far, "b": near, "label": "b"}
        tables["edit"].append({"source": hue(name), **pair})
    for name, rows in tables.items():
        with (raw / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def run(*arguments: object) -> str:
    done = mtrl(*arguments, cwd=Path.cwd())
    assert done.code == 0, done.err[-3000:] + done.out[-3000:]
    return done.out


def test_all_kinds_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    release(tmp_path / "raw")
    for name, (yaml, prompt) in TASKS.items():
        files = {
            f"recipes/tasks/{name}.yaml": f"title: {name}\ncapability: quality\n{yaml}split: {{parts: "
            "{train: 0.6, val: 0.2, test: 0.2}}\n",
            f"prompts/sft/{name}.jinja": f"{prompt} Answer {{{{ choices }}}}.",
            f"prompts/rl/{name}.jinja": f"{prompt} Reply <think>why</think><answer>{{{{ choices }}}}</answer>.",
        }
        for file, content in files.items():
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_text(content)
    every = ",".join(TASKS)
    run("convert", *TASKS, "--raw", "raw")
    run("check", *TASKS)
    run("sft", "sft_unified", *PRESETS, "--set", f"tasks={every}", "--name", "s")
    brief = ["--set", "upstream.grpo.max_steps=2", "--set", "rl.validate_every=2", "--set", "rl.score_reward=linear"]
    run("rl", "rl_multitask", *PRESETS, "--set", f"tasks={every}", *brief, "--name", "r")
    for name in ("s", "r"):
        run("export", name, "--out", f"exports/{name}")
    run("eval", "--ckpt", "exports/r", "--tasks", every)
    run("eval", "--ckpt", "exports/s", "--tasks", every, "--confidence")
    metrics = json.loads(Path("runs/s/eval/metrics.json").read_text())
    rows = read_jsonl(Path("runs/s/eval/predictions.jsonl"))
    assert {name: list(metrics[name]["confusion"]) for name in TASKS} == {
        "shade": ["1", "2", "3", "4", "5"], "colour": list(HUES), "brighter": ["1", "2", "tie"],
        "words": ["1", "2"], "edit": ["1", "2"],
    }  # fmt: skip
    assert all(metrics[name]["n"] == 12 and metrics[name]["invalid_rate"] < 0.5 for name in TASKS)
    assert metrics["colour"]["accuracy"] >= 0.75  # it has learned a verdict of its own, by 24 updates
    assert {name for name in TASKS if metrics[name].get("pairwise")} == {"brighter", "words", "edit"}
    many = [row for row in rows if row["task"] in ("shade", "colour", "brighter") and row["confidence"] is not None]
    assert many and all(sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4) for row in many)
    assert all(row["probabilities"][row["verdict"]] == row["confidence"] for row in many)
    assert all(isinstance(row["score"], float) for row in rows if row["task"] == "shade")
    page = Path("runs/s/eval/report.html").read_text()
    assert all(name in page for name in TASKS)

    table = "image,image_1,image_2,image_3,task,one,two,label\n" + "".join(
        f"{row}\n"
        for row in (
            "raw/1.png,,,,shade,,,2", "raw/2.png,,,,colour,,,", ",raw/3.png,raw/4.png,,brighter,,,tie",
            "raw/5.png,,,,words,red,blue,", ",raw/6.png,raw/7.png,raw/8.png,edit,,,",
        )
    )  # fmt: skip
    Path("mine.csv").write_text(table)
    for out in ("judged.jsonl", "judged.html"):
        run("judge", "mine.csv", "--ckpt", "exports/s", "--out", out)
    judged = read_jsonl(Path("judged.jsonl"))
    assert [row["task"] for row in judged] == list(TASKS)
    assert [set(row["probabilities"] or ()) for row in judged[:2]] == [set("12345"), set(HUES)]
    assert "response_turned" in judged[3] and judged[4]["image_3"] == "raw/8.png"
