"""The report of pairs that are not two images: ties, two texts about one image, an edit's two candidates."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mtrl.commands import judge, outcome
from mtrl.config.kinds import OTHER
from mtrl.demo.releases import blocks, encoded
from mtrl.evaluate import scores
from mtrl.evaluate.html import report
from mtrl.evaluate.verdict import Verdict
from tests.unit.test_report import browse, data_of, evaluated

TEXTS = """title: Which answer?
capability: quality
kind: pairwise
tie: true
pair: {fields: [good, bad]}
source: {file: texts.jsonl, fields: {good: one, bad: two}}
label: {column: label, values: {1: [A], 2: [B], tie: [C]}}
split: {column: part}
"""
EDITS = """title: Which edit?
capability: quality
kind: pairwise
images: 3
pair: {images: [2, 3]}
source: {file: edits.jsonl, images: [source, a, b]}
label: {column: label, values: {1: [A], 2: [B]}}
split: {column: part}
"""
PROMPTS = {
    "texts": "<image> {{ good }} or {{ bad }}? Answer {{ choices }}.",
    "edits": "<image> <image> <image> Answer {{ choices }}.",
}
SAID = [("tie", "tie"), ("1", "1"), ("tie", "1"), ("1", "2"), (None, "2"), ("2", "1")]  # in both orders, by row


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Any) -> Path:
    """An evaluation of six pairs of texts with SAID, and of six edits without one valid answer."""
    monkeypatch.chdir(tmp_path)
    for name, yaml in (("texts", TEXTS), ("edits", EDITS)):
        for file, text in (("recipes/tasks/{}.yaml", yaml), ("prompts/sft/{}.jinja", PROMPTS[name])):
            Path(file.format(name)).parent.mkdir(parents=True, exist_ok=True)
            Path(file.format(name)).write_text(text)
        rl = PROMPTS[name].replace("Answer {{ choices }}", "<think>why</think><answer>{{ choices }}</answer>")
        Path("prompts/rl").mkdir(exist_ok=True)
        Path(f"prompts/rl/{name}.jinja").write_text(rl)
    for n in range(18):
        Path(f"{n}.png").write_bytes(encoded(blocks(n)(n), "PNG"))
    rows = [{"label": "AB"[n % 2], "part": "test"} for n in range(6)]
    texts = [{**row, "image": f"{n}.png", "one": f"first {n}", "two": f"second {n}"} for n, row in enumerate(rows)]
    edits = [
        {**row, "source": f"{3 * n}.png", "a": f"{3 * n + 1}.png", "b": f"{3 * n + 2}.png"}
        for n, row in enumerate(rows)
    ]
    for name, of in (("texts", texts), ("edits", edits)):
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in of))
        assert cli("convert", name, "--raw", ".").code == 0

    def answer(n: int, request: Any) -> tuple[str, float | None]:
        pair = SAID[n // 2] if request.task == "texts" else (None, None)
        return pair[request.order == "turned"] or "well", None

    return evaluated(Path("runs/x/eval"), "sft", answer, names=("texts", "edits"))


def test_only_answers_that_contradict_each_other_are_flipped(out: Path) -> None:
    page = report.write(out, Path("data")).read_text()
    found: dict[str, list[dict[str, Any]]] = {}
    for card in data_of(page, "cards"):
        found.setdefault(f"{card['task']} {card['id']}", []).append(card)
    for cards in found.values():
        a, b = (card["answers"][0]["verdict"] for card in cards)
        assert all(("flipped" in card["found_by"]) == (None not in (a, b) and a != OTHER[b]) for card in cards)
    assert sum("flipped" in card["found_by"] for cards in found.values() for card in cards) == 4


def test_rates_of_answers_that_are_not_there_are_no_numbers(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = scores.read(out / scores.METRICS)
    texts, edits = found.tasks["texts"].pairwise, found.tasks["edits"].pairwise
    assert texts and edits
    assert texts.first_position_rate == 5 / 8  # a tie chooses neither
    assert (edits.flip_rate, edits.first_position_rate) == (None, None)
    outcome.show(out, found, "predictions.jsonl")
    (row,) = re.findall("│ edits .*", capsys.readouterr().out)
    assert [cell.strip() for cell in row.strip("│").split("│")][-2:] == ["0.00", "-"]


def test_cards_name_the_two_sides(out: Path) -> None:
    page = report.write(out, Path("data"))
    shown = browse(page, "#task=texts")
    assert "good, side 1" in shown and "bad, side 2" in shown and "texts swapped" in shown
    assert "images as given" not in shown and "flipped: the two orders got answers that contradict" in shown
    shown = browse(page, "#task=edits")
    captions = re.findall("<figcaption>(.*?)</figcaption>", shown)
    assert [caption.split(":")[0] for caption in captions[:3]] == ["both sides", "side 1", "side 2"]
    assert "images as given" in shown and "images swapped" in shown


def test_the_table_of_verdicts_names_every_image(capsys: pytest.CaptureFixture[str]) -> None:
    one = Verdict(
        id="1", image="s.png", image_2="a.png", image_3="b.png", task="edits", verdict="1", confidence=None,
        response="1", finish_reason="stop", asked="0" * 64,
    )  # fmt: skip
    judge._show([one], None, "", "")
    assert "s.png | a.png | b.png" in capsys.readouterr().out
