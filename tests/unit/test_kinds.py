"""Choices, scores, ties and pairs of texts: the YAML, the parser, the reward, conversion, order and metrics."""

from __future__ import annotations

import json
from collections import Counter
from math import log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score

from mtrl.config import prompting
from mtrl.config.kinds import OTHER, Pair
from mtrl.config.samples import Sample
from mtrl.config.tasks import Task
from mtrl.converters.base import Row
from mtrl.converters.pipeline.accept import accepted
from mtrl.converters.readers.picture import Picture
from mtrl.core.csv_files import _cell
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import sha256_bytes
from mtrl.core.schema import validate
from mtrl.demo.releases import blocks, encoded
from mtrl.evaluate import image_items, image_sources, verdicts
from mtrl.evaluate.engines import confidence
from mtrl.evaluate.image_items import Item, Shown
from mtrl.evaluate.metrics.classification import baselines
from mtrl.evaluate.metrics.prediction import Prediction
from mtrl.evaluate.metrics.task import of_task
from mtrl.reward_plugins import judge
from tests.unit.releases_fixture import run, table_task
from tests.unit.standin import completion, standin

FIVE = ("1", "2", "3", "4", "5")
DEFECTS = ("sharp", "blurry", "noisy")
TIES = ("1", "2", "tie")
PAIR_LABEL = {"column": "label", "values": {"1": ["A"], "2": ["B"]}}
TIE_LABEL = {"column": "label", "values": {"1": ["A"], "2": ["B"], "tie": ["C"]}}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for style in ("sft", "rl"):
        (tmp_path / "prompts" / style).mkdir(parents=True)
    return tmp_path


def task_of(**keys: Any) -> Task:
    label = {"column": "label"}
    return validate(Task, {"name": "mine", "title": "t", "capability": "quality", "label": label, **keys}, "mine.yaml")


def prompt(task: Task, folder: Path, text: str) -> None:
    (folder / "prompts" / "sft" / f"{task.name}.jinja").write_text(f"{text} Answer {{{{ choices }}}}.")
    form = "<think>why</think><answer>{{ choices }}</answer>"
    (folder / "prompts" / "rl" / f"{task.name}.jinja").write_text(f"{text} Reply {form}.")


def draw(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / name).write_bytes(encoded(blocks(3)(number), "PNG"))


def test_the_verdicts_of_each_kind() -> None:
    assert task_of(label={"column": "x", "rule": {"when": ">= 1", "then": "yes"}}).choices == ("yes", "no")
    pair = task_of(kind="pairwise", label=PAIR_LABEL)
    assert (pair.choices, pair.images, pair.pair) == (("1", "2"), 2, Pair(images=[1, 2]))
    assert task_of(kind="pairwise", tie=True, label=TIE_LABEL).choices == TIES
    assert task_of(kind="choice", choices=list(DEFECTS)).choices == DEFECTS
    assert task_of(kind="score", range=[0, 10]).choices == tuple(map(str, range(11)))
    assert task_of(kind="choice", choices=[True, False, "unsure"]).choices == ("true", "false", "unsure")  # of YAML
    texts = task_of(kind="pairwise", pair={"fields": ["a", "b"]}, label=PAIR_LABEL)
    assert texts.images == 1
    edit = task_of(kind="pairwise", images=3, pair={"images": [2, 3]}, label=PAIR_LABEL)
    assert edit.pair and edit.pair.swapped_images("sab") == ("s", "b", "a")
    again = validate(Task, edit.model_dump(), "again")
    assert again == edit


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"kind": "choice"}, "a choice task has 2 to 26 choices"),
        ({"kind": "choice", "choices": [f"w{n}" for n in range(27)]}, "a choice task has 2 to 26 choices"),
        ({"kind": "choice", "choices": ["sharp", "Blurry"]}, "'Blurry' is not one lower-case word"),
        ({"kind": "choice", "choices": ["safe", "unsafe"]}, "'safe' is part of 'unsafe'"),
        ({"kind": "choice", "choices": ["sharp", "sharp"]}, "'sharp' is listed twice"),
        ({"kind": "choice", "choices": ["think", "other"]}, "'think' has a meaning of its own"),
        ({"kind": "choice", "choices": ["<b>", "other"]}, "'<b>' is not one lower-case word"),
        ({"kind": "choice", "choices": [1, 2, 3]}, "for numbers write kind: score"),
        ({"kind": "choice", "choices": ["yes", "no"]}, "choices yes and no are kind: pointwise"),
        ({"kind": "score"}, r"a score task has range: \[lowest, highest\]"),
        ({"kind": "score", "range": [1, 2]}, "it has from 3 to 101 values"),
        ({"kind": "score", "range": [5, 1]}, "it has from 3 to 101 values"),
        ({"kind": "score", "range": [1.5, 4]}, "two whole numbers"),
        ({"range": [1, 5]}, "range is for kind: score; this task's kind is pointwise"),
        ({"kind": "score", "range": [1, 5], "tie": True}, "tie is for kind: pairwise"),
        ({"choices": ["a", "b"]}, "choices is for kind: choice"),
        ({"kind": "pairwise", "pair": {"images": [1, 1]}, "label": PAIR_LABEL}, "names the two that are swapped"),
        ({"kind": "pairwise", "pair": {"images": [1, 3]}, "label": PAIR_LABEL}, "names image 3, and a row has images"),
        ({"kind": "pairwise", "pair": {"fields": []}, "label": PAIR_LABEL}, "pair says what is swapped"),
        ({"kind": "pairwise", "tie": True, "label": PAIR_LABEL}, "keys 1 and 2. A judge of a pair answers 1, 2 or tie"),
        ({"kind": "score", "range": [1, 5], "label": {"column": "x", "values": {"1": ["a"]}}}, "not for a score task"),
        ({"label": {"column": "x", "values": {"yes": ["a"], "no": ["b"]}, "round": "floor"}}, "for kind: score"),
        ({"images": 9, "label": {"column": "x", "values": {"yes": ["a"], "no": ["b"]}}}, "less than or equal to 4"),
    ],
)
def test_a_task_that_cannot_be_read_is_an_error(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        task_of(**keys)


@pytest.mark.parametrize(
    ("response", "strict", "lenient"),
    [
        ("4", "4", "4"),
        ("4.", "4", "4"),
        ("4.0", None, "4"),
        ("5/5", None, "5"),
        ("4 out of 5", None, "4"),
        ("Score: 4/5", None, None),
        ("verdict: 4/5", None, "4"),
        ("four", None, None),
        ("4.5", None, None),
        ("4/10", None, None),
        ("4 out of 10", None, None),
        ("3, 4", None, None),
        ("6", None, None),
        ("04", None, None),
        ("4 stars", None, "4"),
        ("4, as it is sharp", None, "4"),
        ("of 3 dogs 2 are sharp: the answer is 4", None, "4"),
        (".5", None, None),
        ("3 - 4", None, None),
        ("3 to 4", None, None),
        ("4 or 5", None, None),
        ("4 on a scale of 10", None, None),
        ("1. Sharp\n2. Bright\n\n4", None, None),
        ("4 %", None, None),
        ("verdict: -4", None, None),
        ("the answer is > 4", None, None),
        ("not 4", None, None),
    ],
)
def test_a_score_is_read_strictly_and_leniently(response: str, strict: str | None, lenient: str | None) -> None:
    assert judge.parse(response, "sft", FIVE) == strict
    assert judge.parse_lenient(response, "sft", FIVE) == lenient
    reasoned = f"<think>2 or 3, then 1</think><answer>{response}</answer>"
    assert (judge.parse(reasoned, "rl", FIVE), judge.parse_lenient(reasoned, "rl", FIVE)) == (strict, lenient)


def test_choices_are_whole_words_in_any_case() -> None:
    assert judge.parse("Blurry.", "sft", DEFECTS) == "blurry"
    assert judge.parse("blurry, noisy", "sft", DEFECTS) is None
    assert judge.parse_lenient("It is sharpened", "sft", DEFECTS) is None
    assert judge.parse("TIE", "sft", TIES) == "tie"
    assert judge.parse_lenient("1 and 2 are equal", "sft", TIES) is None
    assert judge.parse_lenient("tie, neither is better", "sft", TIES) == "tie"
    assert judge.parse_lenient("sharp or blurry", "sft", DEFECTS) is None
    assert judge.parse_lenient("good or bad", "sft", ("good", "bad")) is None
    assert judge.said(DEFECTS) == "sharp, blurry or noisy"
    assert judge.said(tuple(map(str, range(101)))) == "0 to 100"


def truth(label: str, choices: tuple[str, ...]) -> str:
    return json.dumps({"task": "t", "label": label, "id": "1", "choices": choices})


def test_the_reward_of_a_score_is_exact_or_linear() -> None:
    def of(verdict: str, **settings: Any) -> tuple[float, float]:
        found = judge.score(f"<think>a</think><answer>{verdict}</answer>", truth("4", FIVE), **settings)
        return round(found["overall"], 6), found["accuracy"]

    assert [of("4"), of("3"), of("6")] == [(1.0, 1.0), (0.1, 0.0), (0.1, 0.0)]
    linear = [of(verdict, score_reward="linear") for verdict in ("4", "3", "1", "6")]
    assert linear == [(1.0, 1.0), (0.775, 0.0), (0.325, 0.0), (0.1, 0.0)]  # accuracy stays the share of exact verdicts
    reply = "<think>a</think><answer>1</answer>"
    inputs = [{"response": reply, "response_length": 9, "ground_truth": truth("4", FIVE)}]
    assert judge.compute_score(inputs, score_reward="linear")[0]["overall"] == pytest.approx(0.325)
    assert judge.compute_score(inputs, length_cap=5, score_reward="linear")[0]["overall"] == 0.0
    assert judge.trl_reward([reply], [truth("4", FIVE)], score_reward="linear") == pytest.approx([0.325])
    assert judge.verl_score("t", reply, truth("4", FIVE), score_reward="linear")["score"] == pytest.approx(0.325)
    tie = judge.score("<think>a</think><answer>tie</answer>", truth("tie", TIES), score_reward="linear")
    assert tie["overall"] == 1.0
    with pytest.raises(ValueError, match="neither exact nor linear"):
        judge.score(reply, truth("4", FIVE), score_reward="square")


@pytest.mark.parametrize("choices", ["6789", ["6", "6"], [["6"], "7"], ["6", 7], {"6": 1, "7": 2}])
def test_choices_that_are_no_list_of_different_words_end_the_run(choices: object) -> None:
    with pytest.raises(ValueError, match=r"a ground truth \(choices: different words\)"):
        judge.read_truth(json.dumps({"task": "t", "label": "6", "id": "1", "choices": choices}))


@pytest.mark.parametrize("broken", ['{"task": "t", "label": "6", "id": "1", "choices": ["1", "2", "3"]}',
                                    '{"task": "t", "label": "6", "id": "1", "choices": 3}'])  # fmt: skip
def test_a_ground_truth_outside_its_choices_ends_the_run(broken: str) -> None:
    with pytest.raises(ValueError, match=r"label '6' is none of 1, 2, 3|must be the JSON text"):
        judge.read_truth(broken)


def test_scores_are_read_from_the_column(here: Path) -> None:
    rows = [{"image": f"{n}.png", "label": value} for n, value in enumerate([1, 3.5, "5", 2.49, 4.0])]
    draw(here, *(row["image"] for row in rows))
    task = table_task(here, rows, name="mine", kind="score", range=[1, 5], label={"column": "label"})
    prompt(task, here, "<image> How good?")
    with pytest.raises(MtrlError, match=r"score 3\.5 in column 'label' is not a whole number") as error:
        run(task, here, here / "data")
    assert error.value.then and "round: nearest" in error.value.then
    label = {"column": "label", "round": "nearest"}
    task = table_task(here, rows, name="mine", kind="score", range=[1, 5], label=label)
    card, by_split = run(task, here, here / "data")
    kept = {sample.id: sample for samples in by_split.values() for sample in samples}
    assert {name: (sample.answer, sample.score) for name, sample in kept.items()} == {
        "0.png": ("1", 1.0), "1.png": ("4", 3.5), "2.png": ("5", 5.0), "3.png": ("2", 2.49), "4.png": ("4", 4.0),
    }  # fmt: skip
    assert list(card["counts"]["train"]) == list(FIVE)
    truths = [json.loads(a) for a in pq.read_table(here / "data/mine/rl_train.parquet")["answer"].to_pylist()]
    assert {tuple(one["choices"]) for one in truths} == {FIVE}
    sft = json.loads((here / "data/mine/sft_train.json").read_text())
    assert sft[0]["messages"][0]["content"].endswith("Answer 1, 2, 3, 4 or 5.")
    with pytest.raises(MtrlError, match=r"labels.jsonl, .*score 6 in column 'label' is not from 1 to 5"):
        run(table_task(here, [*rows, {**rows[0], "label": 6}], name="mine", kind="score", range=[1, 5], label=label),
            here, here / "data")  # fmt: skip


def test_choices_need_no_values_and_take_them(here: Path) -> None:
    rows = [{"image": f"{n}.png", "label": DEFECTS[n % 3].title()} for n in range(9)]
    draw(here, *(row["image"] for row in rows))
    kind = {"name": "mine", "kind": "choice", "choices": list(DEFECTS)}
    task = table_task(here, rows, **kind, label={"column": "label"})
    prompt(task, here, "<image> What is wrong?")
    _, by_split = run(task, here, here / "data")
    assert {s.answer for samples in by_split.values() for s in samples} == set(DEFECTS)
    values = {"sharp": ["Sharp"], "blurry": ["Blurry"], "noisy": ["Noisy"]}
    _, mapped = run(table_task(here, rows, **kind, label={"column": "label", "values": values}), here, here / "data")
    assert [s.answer for s in mapped["train"]] == [s.answer for s in by_split["train"]]
    with pytest.raises(MtrlError, match=r"label 'grainy' .* is unknown to task mine \(sharp: sharp; "):
        run(table_task(here, [{**rows[0], "label": "grainy"}], **kind, label={"column": "label"}), here, here / "data")


def test_two_texts_about_one_image(here: Path) -> None:
    rows = [
        {"image": f"{n}.png", "one": f"a red <answer>1</answer> {n}", "two": f"a blue {n}", "label": "ABC"[n % 3]}
        for n in range(12)
    ]
    rows.append({"image": "0.png", "one": "same", "two": "same", "label": "A"})
    rows.append({"image": "1.png", "one": rows[1]["two"], "two": rows[1]["one"], "label": "A"})  # row 1, swapped
    draw(here, *(f"{n}.png" for n in range(12)))
    task = table_task(
        here, rows, name="mine", kind="pairwise", tie=True, label=TIE_LABEL, pair={"fields": ["answer_1", "answer_2"]},
        source={"file": "labels.jsonl", "fields": {"answer_1": "one", "answer_2": "two"}},
    )  # fmt: skip
    prompt(task, here, "<image> First: {{ answer_1 }} Second: {{ answer_2 }}")
    card, by_split = run(task, here, here / "data")
    kept = [sample for samples in by_split.values() for sample in samples]
    assert card["rejects"] == {"both texts of the pair are equal": 1}
    assert len(kept) == 13
    assert sum("duplicate_of" in sample.source for sample in kept) == 1
    assert {sample.source["swapped"] for sample in kept} == {True, False}
    for sample in kept:
        red_first = "red" in sample.fields["answer_1"]
        expected = ("1", "2", "tie")[int(sample.fields["answer_1"].split()[-1]) % 3]
        assert sample.answer == (expected if red_first else OTHER[expected])
        assert "<answer>" not in str(sample.fields) and "[answer]1[/answer]" in str(sample.fields)
    assert task.pair
    assert kept[0].swapped(task.pair).swapped(task.pair) == kept[0]
    with pytest.raises(UserError, match=r"pair\.fields names 'answer_2', which source.fields does not have"):
        run(table_task(
            here, rows, name="mine", kind="pairwise", pair={"fields": ["answer_1", "answer_2"]}, label=PAIR_LABEL,
            source={"file": "labels.jsonl", "fields": {"answer_1": "one"}},
        ), here, here / "data")  # fmt: skip


def test_an_evaluation_is_not_continued_with_other_sides(here: Path, cli) -> None:
    """What is swapped is in no converted file, so half of the answers would be of another question."""
    draw(here, *(f"{n}.png" for n in range(6)))
    lines = ["image,one,two,label", *(f"{n}.png,red {n},blue {n},{'AB'[n % 2]}" for n in range(6))]
    (here / "words.csv").write_text("\n".join(lines) + "\n")
    (here / "recipes/tasks").mkdir(parents=True)
    yaml = here / "recipes/tasks/words.yaml"
    yaml.write_text(
        "title: t\ncapability: quality\nkind: pairwise\nimages: 1\npair: {fields: [one, two]}\n"
        "source: {file: words.csv, fields: {one: one, two: two}}\nsplit: {parts: {test: 1}}\n"
        'label: {column: label, values: {"1": [A], "2": [B]}}\n'
    )
    prompt(task_of(name="words", kind="pairwise", label=PAIR_LABEL), here, "<image> {{ one }} {{ two }}")
    assert cli("convert", "words", "--raw", here).code == 0
    with standin(lambda n, asked: completion("1")) as server:
        asked = ("eval", "--endpoint", server.url, "--served-model", "m", "--tasks", "words", "--out", "e")
        assert cli(*asked).code == 0
        yaml.write_text(yaml.read_text().replace("[one, two]", "[two, other]"))
        again = cli(*asked)
    assert again.code == 2 and "different now: task words: pair" in " ".join(again.err.split()), again.err


def test_an_edit_swaps_its_candidates_only(here: Path) -> None:
    names = [("s.png", "a.png", "b.png"), ("s.png", "c.png", "d.png"), ("t.png", "e.png", "f.png")]
    rows = [{"source": s, "a": a, "b": b, "label": "AB"[n % 2]} for n, (s, a, b) in enumerate(names)]
    draw(here, *sorted({name for row in names for name in row}))
    task = table_task(
        here, rows, name="mine", kind="pairwise", images=3, pair={"images": [2, 3]}, label=PAIR_LABEL,
        source={"file": "labels.jsonl", "images": ["source", "a", "b"]}, split={"parts": {"train": 1.0}},
    )  # fmt: skip
    prompt(task, here, "Source: <image> First: <image> Second: <image>")
    _, by_split = run(task, here, here / "data")
    for sample, (source, a, b) in zip(by_split["train"], names, strict=True):
        swapped = sample.source["swapped"]
        assert sample.source["files"] == ([source, b, a] if swapped else [source, a, b])
        assert (sample.answer == "1") == ((rows[names.index((source, a, b))]["label"] == "A") != swapped)


def test_a_prompt_names_the_verdicts_or_uses_choices(here: Path) -> None:
    task = task_of(kind="score", range=[1, 5])
    sample = Sample("1", "mine", "score", ("a.png",), {}, "1", "test")
    for style in ("sft", "rl"):
        (here / "prompts" / style / "mine.jinja").write_text("<image> How good, from 1 to 5? <think><answer>")
    assert prompting.renderer(task, "sft")(sample).startswith("<image> How good, from 1 to 5?")
    (here / "prompts/sft/mine.jinja").write_text("<image> How good?")
    with pytest.raises(UserError, match="does not name the verdict 1 nor 5: a judge answers 1, 2, 3, 4 or 5"):
        prompting.renderer(task, "sft")
    (here / "prompts/sft/mine.jinja").write_text("<image> {{ choices }}")
    assert prompting.preview(task, "sft") == "<image> 1, 2, 3, 4 or 5"
    assert prompting.fields(task, "sft") == []
    with pytest.raises(UserError, match="the field 'choices' is mtrl's own"):
        prompting.renderer(task_of(kind="score", range=[1, 5], source={"fields": {"choices": "x"}}), "sft")


def test_each_choice_has_its_probability() -> None:
    listed = {" blurry": log(0.5), "sh": log(0.3), "no": log(0.15), "maybe": log(0.05)}
    found = confidence.of([(" blurry", listed)], "sft", "blurry", DEFECTS)
    assert found == pytest.approx({"blurry": 0.5 / 0.95, "sharp": 0.3 / 0.95, "noisy": 0.15 / 0.95})


def test_a_number_of_two_digits_is_read_to_its_end() -> None:
    ten = tuple(map(str, range(11)))
    first = {"1": log(0.7), "9": log(0.3)}
    rest = {"0": log(0.6), "</": log(0.4)}
    sure = confidence.of([("<answer>", {}), ("1", first), ("0", rest)], "rl", "10", ten)
    assert sure and {choice: share for choice, share in sure.items() if share} == pytest.approx(
        {"10": 0.42, "1": 0.28, "9": 0.3}
    )
    ended = confidence.of([("<answer>", {}), ("1", first), ("</", rest)], "rl", "1", ten)
    assert ended == sure
    # 9 was generated: whether the listed 1 would have become 1 or 10 is not known
    assert confidence.of([("<answer>", {}), ("9", first), ("</", rest)], "rl", "9", ten) is None
    assert confidence.of([("1", first)], "sft", "1", ten) is None  # the tokens end before they tell


def predictions(choices: tuple[str, ...], pairs: list[tuple[str, str | None]], **more: Any) -> list[Prediction]:
    return [
        Prediction(id=str(n), task="t", order="given", vote=0, response="", verdict=verdict, lenient=verdict,
                   label=label, cluster=f"c{n // 2}", **more)
        for n, (label, verdict) in enumerate(pairs)
    ]  # fmt: skip


def test_the_metrics_of_several_choices_are_scikit_learns() -> None:
    pairs = [(DEFECTS[n % 3], (*DEFECTS, None)[(n * 7 // 3) % 4]) for n in range(40)]
    found = of_task(predictions(DEFECTS, pairs), DEFECTS)
    labels, said = [a for a, _ in pairs], [b or "invalid" for _, b in pairs]
    assert found.macro_f1 == pytest.approx(f1_score(labels, said, labels=DEFECTS, average="macro", zero_division=0))
    assert found.accuracy == pytest.approx(accuracy_score(labels, said))
    assert found.kappa == pytest.approx(cohen_kappa_score(labels, said, labels=[*DEFECTS, "invalid"]))
    assert list(found.confusion["sharp"]) == [*DEFECTS, "invalid"]
    assert sum(found.confusion["noisy"].values()) == labels.count("noisy")
    low, high = found.macro_f1_ci95 or (1.0, 0.0)
    assert low < found.macro_f1 < high
    constant = f1_score(labels, ["sharp"] * 40, labels=DEFECTS, average="macro", zero_division=0)
    assert baselines(Counter(labels), DEFECTS)["majority"].macro_f1 == pytest.approx(constant)


def test_a_tie_in_both_orders_is_no_flip() -> None:
    rows = [
        Prediction(id=name, task="t", order=order, vote=0, response="", verdict=verdict, lenient=verdict, label=label)
        for name, verdicts, labels in (
            ("a", ("tie", "tie"), ("tie", "tie")),
            ("b", ("1", "1"), ("1", "2")),
            ("c", ("1", "2"), ("1", "2")),
            ("d", ("tie", "1"), ("tie", "tie")),
        )
        for order, verdict, label in zip(("given", "turned"), verdicts, labels, strict=True)
    ]  # type: ignore[arg-type]
    found = of_task(rows, TIES).pairwise
    assert found and (found.flip_rate, found.consistent_accuracy) == (0.5, 0.5)
    assert found.accuracy_without_ties == 1.0


def test_an_answer_as_a_number() -> None:
    def graded(choices: tuple[str, ...], verdict: str, **more: Any) -> float | None:
        return predictions(choices, [(choices[0], verdict)], **more)[0].graded(choices)

    assert graded(("yes", "no"), "no", confidence=0.75) == 0.25
    assert graded(FIVE, "4", probabilities={"1": 0.0, "2": 0.0, "3": 0.25, "4": 0.5, "5": 0.25}) == 4.0
    assert graded(TIES, "1", probabilities={"1": 0.5, "2": 0.1, "tie": 0.4}) == pytest.approx(0.7)
    assert graded(DEFECTS, "sharp", probabilities=dict.fromkeys(DEFECTS, 1 / 3)) is None
    assert graded(("yes", "no"), "no") is None


def test_verdicts_of_another_pair_or_with_ties_are_asked_again(tmp_path: Path) -> None:
    shown = Shown((tmp_path / "a.png",), ("a.png",), {}, "<image>", "")
    judged: Any = SimpleNamespace(fingerprint="f", style="sft", max_new_tokens=1, image=Pair(images=[1, 2]))

    def key(**keys: Any) -> str:
        item = Item("1", task_of(**{"label": PAIR_LABEL, "kind": "pairwise"} | keys), {"given": shown})
        return verdicts.key_of(judged, item, {tmp_path / "a.png": sha256_bytes(b"a")})

    tasks = [
        {},
        {"tie": True, "label": TIE_LABEL},
        {"images": 3, "pair": {"images": [2, 3]}},
        {"pair": {"fields": ["a", "b"]}},
    ]
    assert len({key(**task) for task in tasks}) == 4
    image_json = judged.image.model_dump_json()
    before = ["f", "sft", "1", image_json, "1", "mine", "<image>", "", "a.png", sha256_bytes(b"a")]
    assert key() == sha256_bytes(json.dumps(before).encode())  # as an older mtrl made it


def test_a_verdict_is_asked_again_once_a_choice_has_another_name(tmp_path: Path) -> None:
    shown = Shown((tmp_path / "a.png",), ("a.png",), {}, "<image> good?", "")  # the prompt may not name them
    judged: Any = SimpleNamespace(fingerprint="f", style="sft", max_new_tokens=1, image=Pair(images=[1, 2]))

    def key(*choices: str) -> str:
        label = {"column": "label", "values": {choice: [choice] for choice in choices}}
        own = {} if choices == ("yes", "no") else {"kind": "choice", "choices": choices}
        item = Item("1", task_of(label=label, **own), {"given": shown})
        return verdicts.key_of(judged, item, {tmp_path / "a.png": sha256_bytes(b"a")})

    lists = [
        ("yes", "no"),
        ("good", "bad"),
        ("sharp", "bad"),
        ("bad", "good"),
        ("good", "bad", "so"),
        ("ill", "bad", "so"),
    ]
    assert len({key(*choices) for choices in lists}) == len(lists)
    before = ["f", "sft", "1", judged.image.model_dump_json(), "1", "mine", "<image> good?", "", "a.png"]
    assert key("yes", "no") == sha256_bytes(json.dumps([*before, sha256_bytes(b"a")]).encode())  # as before


def test_probabilities_in_a_table_are_json() -> None:
    assert json.loads(_cell({"1": 0.25, "tie": 0.75})) == {"1": 0.25, "tie": 0.75}


def test_equal_texts_of_a_pair_that_differs_in_its_images_are_kept(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png")
    pictures = tuple(Picture(name, path=tmp_path / name) for name in ("a.png", "b.png"))
    row = Row("1", pictures, "1", tmp_path / "labels.jsonl", fields={"one": "same", "two": "same"})
    keys = {"kind": "pairwise", "images": 2, "label": PAIR_LABEL}
    pairs = ({"images": [1, 2], "fields": ["one", "two"]}, {"fields": ["one", "two"]})
    assert [accepted(task_of(**keys, pair=pair), [row], tmp_path).rows[0].reject for pair in pairs] == [
        "", "both texts of the pair are equal"
    ]  # fmt: skip


def test_equal_texts_with_two_images_can_be_judged(here: Path) -> None:
    task = task_of(kind="pairwise", images=2, pair={"images": [1, 2], "fields": ["one", "two"]}, label=PAIR_LABEL)
    prompt(task, here, "<image> {{ one }} <image> {{ two }}")
    row = image_sources.Row("row 1", here, ("a.png", "b.png"), {"one": "same", "two": "same"})
    item = image_items.of_row(row, "1", image_items.asked(task, "sft"), {})
    assert item.orders["turned"].names == ("b.png", "a.png")


def test_a_long_scale_is_shown_by_the_scores_that_occur(here: Path, cli: Any) -> None:
    (here / "recipes/tasks").mkdir(parents=True)
    (here / "recipes/tasks/mine.yaml").write_text(
        "title: t\ncapability: quality\nkind: score\nrange: [0, 100]\nsource: {file: a.csv}\nlabel: {column: label}\n"
        "split: {parts: {test: 1.0}}\n"
    )
    prompt(task_of(kind="score", range=[0, 100]), here, "<image> How good?")
    draw(here, "a.png", "b.png")
    (here / "a.csv").write_text("image,label\na.png,7\nb.png,100\n")
    done = cli("convert", "mine", "--raw", here)
    assert done.code == 0 and "7: 1  100: 1" in done.out and "50: 0" not in done.out, done
