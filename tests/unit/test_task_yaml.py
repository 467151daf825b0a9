"""What a task's YAML may say, and the error where it says something that cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtrl.config import recipe, tasks
from mtrl.core.errors import UserError
from mtrl.core.files import parse_yaml
from tests.conftest import ROOT

TASK = """
title: t
capability: safety
source: {file: labels.csv}
label: {column: label, values: {yes: [good], no: [bad]}}
"""


def load(folder: Path, text: str) -> tasks.Task:
    """The task `mine` of the working directory `folder`, with this YAML."""
    file = folder / "recipes/tasks/mine.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return tasks.load("mine")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_key_given_twice_is_an_error_in_every_yaml(here: Path) -> None:
    with pytest.raises(
        UserError, match=r"mine.yaml is not valid YAML: line 6, .*'label' is given twice \(first in line 5"
    ):
        load(here, TASK + "label: {column: other}\n")
    (here / "own.yaml").write_text("method: SFT\nsft: {epochs: 1, epochs: 2}\n")
    with pytest.raises(UserError, match=r"own.yaml is not valid YAML: line 2, .*'epochs' is given twice"):
        recipe.load("own.yaml")
    # a merge key may still be overridden
    assert parse_yaml("b: &b {x: 1}\na: &a {<<: *b, x: 2}\n<<: *a\nx: 3", "t")["x"] == 3


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (
            "{column: stars}",
            r"label has no values and no rule. A judge of one image answers yes or no. Write, .*drop: \[3\]",
        ),
        (
            "{column: stars, values: {1: [1], 2: [2], 3: [3], 4: [4], 5: [5]}}",
            r"has the keys 1 and 2 and 3 and 4 and 5. A judge",
        ),
        ("{column: x, values: {1: [a], 2: [b]}}", r"label.values has the keys 1 and 2. kind: pairwise is missing\?"),
        ("{column: x, values: {yes: [a], no: [b, a]}}", r"label.values.yes and label.values.no both list 'a'"),
        ("{column: x, values: {yes: [4], no: ['4']}}", r"both list '4'"),
        ("{column: x, values: {yes: [a], no: [b]}, drop: [b]}", r"label.values.no and label.drop both list 'b'"),
        ("{column: x, values: {yes: [a]}}", r"label.values has the keys yes. A judge of one image answers yes or no"),
        ("{column: x, values: {yes: [a], no: []}}", r"label.values.no is empty, so no row could get that verdict"),
        ("{column: x, values: {1: [a], '1': [b]}}", r"label.values: the keys .* are both '1'"),
    ],
)
def test_a_label_from_which_no_verdict_follows(label: str, said: str, here: Path) -> None:
    with pytest.raises(UserError, match=rf"mine.yaml: .*{said}"):
        load(here, TASK.replace("{column: label, values: {yes: [good], no: [bad]}}", label))


def test_a_pair_has_verdicts_1_and_2(here: Path) -> None:
    pairs = TASK.replace("capability: safety", "capability: safety\nkind: pairwise")
    with pytest.raises(
        UserError, match=r"keys yes and no. kind: pairwise is wrong here\? A judge of a pair answers 1 or 2"
    ):
        load(here, pairs)
    task = load(here, pairs.replace("{yes: [good], no: [bad]}", "{1: [0], 2: [1]}"))
    assert task.label.values == {"1": ["0"], "2": ["1"]}
    with pytest.raises(UserError, match=r"label.rule is for kind: pointwise. A judge of a pair answers 1 or 2"):
        load(here, pairs.replace("values: {yes: [good], no: [bad]}", 'rule: {when: ">= 1", then: yes}'))


def test_a_task_that_may_not_be_trained_on_says_why(here: Path) -> None:
    with pytest.raises(UserError, match=r"training is false, so note must say what the release allows"):
        load(here, TASK + "training: false\n")
    assert load(here, TASK).training
    task = load(here, TASK + "training: false\nnote: CC BY-NC; for benchmarking only\n")
    assert not task.training
    for name in ("sft_unified", "rl_multitask"):
        with pytest.raises(UserError, match=rf"task mine is for evaluation only, and {name} trains: CC BY-NC") as error:
            recipe.load(name, "tiny", "cpu", "mine,seetrue", ["upstream.seed=3"])
        more = "--model tiny --hardware cpu --set upstream.seed=3"
        assert error.value.then == f"mtrl {name.split('_')[0]} {name} --tasks seetrue {more}"
    with pytest.raises(UserError) as error:
        recipe.load("sft_single", "tiny", "cpu", "mine")
    assert error.value.then.startswith("mtrl eval --ckpt ") and error.value.then.endswith(" --tasks mine")
    assert recipe.load("zero_shot", "tiny", "cpu", sets=["tasks=mine"]).tasks == ["mine"]


KEYS = {  # a word of a label in the docs, and the keys of its task
    "tie: [": "kind: pairwise\ntie: true\n",
    "better": "kind: pairwise\n",
    "defect": "kind: choice\nchoices: [sharp, blurry, noisy]\n",
    "column: stars}": "kind: score\nrange: [1, 5]\n",
    "mean_rating": "kind: score\nrange: [1, 5]\n",
    "cem], round": "kind: score\nrange: [1, 5]\n",
}


def test_the_docs_labels_and_splits_are_valid(here: Path) -> None:
    page = (ROOT / "docs" / "own-task.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith(("label: {", "split: {"))]
    assert len(lines) >= 14
    for line in lines:
        kind = next((KEYS[word] for word in KEYS if word in line), "")
        head = f"title: t\ncapability: safety\n{kind}source: {{file: labels.csv}}\n"
        other = "label: {column: x, values: {yes: [a], no: [b]}}\n" if line.startswith("split") else ""
        load(here, head + other + line + "\n")
