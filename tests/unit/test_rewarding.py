"""What `/v1/reward` makes of a request and of verdicts: which number is the reward, and when there is none."""

from __future__ import annotations

from typing import Any

import pytest

from mtrl.config import prompting
from mtrl.config.tasks import Task
from mtrl.evaluate.image_items import Asked
from mtrl.evaluate.serving import answering, rewarding
from mtrl.evaluate.serving.problem import Problem
from mtrl.evaluate.serving.uploads import Body, Upload
from mtrl.evaluate.verdict import Verdict

YES_NO = {"column": "x", "values": {"yes": ["a"], "no": ["b"]}}
PAIR = {"column": "x", "values": {"1": ["a"], "2": ["b"]}}
TIES = {"column": "x", "values": {"1": ["a"], "2": ["b"], "tie": ["c"]}}
WORDS = {"kind": "choice", "choices": ["sharp", "blurry", "noisy"], "label": {"column": "x"}}
STARS = {"kind": "score", "range": [1, 3], "label": {"column": "x"}}


def task_of(**keys: Any) -> Task:
    return Task(**{"name": "mine", "title": "t", "capability": "quality", "label": YES_NO} | keys)


def asked(task: Task, images: int = 1, names: tuple[str, ...] = (), /, **request: Any) -> rewarding.Batch:
    uploads = [Upload(f"image {n}", b"x", str(n)) for n in range(images)]
    known = Asked(task, names, lambda sample: prompting.MARKER * len(sample.images))
    found = rewarding.batch(Body({"task": "mine"} | request, uploads), lambda name: known)
    for images_, fields in found.items:  # the app does this next
        answering.item_of(known, images_, fields)
    return found


def said(verdict: str = "yes", confidence: float | None = 0.9, **more: Any) -> Verdict:
    keys = {"id": "1", "image": "i", "task": "mine", "response": verdict, "finish_reason": "stop", "asked": "0" * 64}
    return Verdict(**{**keys, "verdict": verdict, "confidence": confidence, **more})


def reward(task: Task, verdict: Verdict, **request: Any) -> tuple[str, float]:
    found = rewarding.reply(asked(task, task.images, **request), [verdict])
    assert found["items"][0]["verdict"] == verdict.as_said.verdict
    return found["what"], pytest.approx(found["rewards"][0])


def test_one_image() -> None:
    assert reward(task_of(), said("yes", 0.9)) == ("P(yes)", 0.9)
    assert reward(task_of(), said("no", 0.9)) == ("P(yes)", 0.1)
    assert reward(task_of(), said("yes", 0.9), of="no") == ("P(no)", 0.1)
    assert reward(task_of(), said("undecided", 0.6, raw="no")) == ("P(yes)", 0.4)
    stars = {"1": 0.5, "2": 0.0, "3": 0.5}
    assert reward(task_of(**STARS), said("1", 0.5, probabilities=stars)) == ("expected score", 2.0)
    assert reward(task_of(**STARS), said("1", 0.5, probabilities=stars), of="3") == ("P(3)", 0.5)
    words = {"sharp": 0.7, "blurry": 0.2, "noisy": 0.1}
    assert reward(task_of(**WORDS), said("sharp", 0.7, probabilities=words), of="blurry") == ("P(blurry)", 0.2)


def test_a_pair_is_the_mean_of_both_orders() -> None:
    pair = task_of(kind="pairwise", label=PAIR)
    same = said("1", 0.9, flipped=False, confidence_turned=0.7, response_turned="2")
    assert reward(pair, same) == ("P(first)", 0.8)
    assert reward(pair, same, of="2") == ("P(second)", 0.2)
    always_first = said("1", 0.9, flipped=True, confidence_turned=0.9, response_turned="1")
    assert reward(pair, always_first) == ("P(first)", 0.5)
    second = said("2", 0.6, flipped=False, confidence_turned=0.8, response_turned="1")
    assert reward(pair, second) == ("P(first)", 0.3)


def test_a_pair_with_ties() -> None:
    ties = task_of(kind="pairwise", tie=True, label=TIES)
    shares, turned = {"1": 0.5, "2": 0.1, "tie": 0.4}, {"1": 0.2, "2": 0.6, "tie": 0.2}
    keys = {"probabilities": shares, "probabilities_turned": turned, "confidence_turned": 0.6, "response_turned": "2"}
    assert reward(ties, said("1", 0.5, flipped=False, **keys)) == ("P(first) + P(tie)/2", 0.7)
    assert reward(ties, said("1", 0.5, flipped=False, **keys), of="1") == ("P(first)", 0.55)
    assert reward(ties, said("1", 0.5, flipped=False, **keys), of="tie") == ("P(tie)", 0.3)


@pytest.mark.parametrize(
    ("task", "verdict", "code"),
    [
        (task_of(), said("invalid", None, response="Maybe <script>"), "unreadable_answer"),
        (task_of(), said("invalid", None, finish_reason="rejected: too long"), "rejected"),
        (task_of(), said("yes", None), "unknown_probability"),
        (task_of(**STARS), said("2", None), "unknown_probability"),
        (task_of(kind="pairwise", label=PAIR), said("1", 0.9, response_turned="both"), "unreadable_answer"),
        (task_of(kind="pairwise", label=PAIR), said("1", 0.9, flipped=False), "unknown_probability"),
        (task_of(kind="pairwise", label=PAIR), said("1", None, flipped=True), "unknown_probability"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_no_reward_of_0(task: Task, verdict: Verdict, code: str) -> None:
    sure = {"flipped": False, "confidence_turned": 0.9} if task.pair else {}
    fine = said(task.choices[0], 0.9, **sure, probabilities=dict.fromkeys(task.choices, 1 / 3) if task.range else None)
    with pytest.raises(Problem) as found:
        rewarding.reply(asked(task, 3 * task.images), [fine, verdict, fine])
    error = found.value
    assert (
        error.status == 422
        and error.code == code
        and str(error).startswith("1 of 3 items have no reward; the first, item 2:")
    )
    items = error.body["error"]["details"]["items"]
    assert items[1] == {"error": {"code": code, "message": str(error).partition("item 2: ")[2]}}
    assert items[0]["reward"] == items[2]["reward"] > 0.5


def test_items_and_their_texts() -> None:
    pair = task_of(kind="pairwise", label=PAIR)
    found = asked(pair, 4, ("caption", "style"), fields={"caption": ["a", "b"], "style": "photo"})
    assert [[image.name for image in images] for images, _ in found.items] == [
        ["image 0", "image 1"],
        ["image 2", "image 3"],
    ]
    assert [fields for _, fields in found.items] == [
        {"caption": "a", "style": "photo"},
        {"caption": "b", "style": "photo"},
    ]


@pytest.mark.parametrize(
    ("keys", "images", "request_", "code", "said_"),
    [
        ({"capability": "safety"}, 1, {}, "of_required", "which is yes or no"),
        (WORDS, 1, {}, "of_required", "sharp, blurry or noisy"),
        ({}, 1, {"of": "good"}, "unknown_verdict", "yes or no"),
        ({}, 1, {"of": 1}, "invalid_request", "of"),
        ({}, 1, {"task": ["mine"]}, "invalid_request", "task"),
        ({}, 1, {"prompts": ["a"]}, "invalid_request", "unknown key 'prompts'"),
        ({}, 0, {}, "wrong_images", "1 image"),
        ({"kind": "pairwise", "label": PAIR}, 3, {}, "wrong_images", "2 image"),
        ({}, 1, {"fields": {"captoin": "a"}}, "unknown_field", "Did you mean 'caption'"),
        ({}, 2, {"fields": {"caption": ["a"]}}, "wrong_fields", "1 texts, and there are 2 items"),
        ({}, 1, {"fields": {"caption": " "}}, "missing_field", "caption"),
        ({}, 2, {"fields": {"caption": ["a", ""]}}, "missing_field", "caption"),
        ({}, 1, {"fields": {"caption": {"a": "b"}}}, "invalid_request", "caption"),
        ({}, 1, {"fields": {"caption": [1]}}, "invalid_request", "caption"),
        ({}, 1, {}, "missing_field", "caption"),
    ],
)  # fmt: skip
def test_requests_that_do_not_fit(keys: Any, images: int, request_: Any, code: str, said_: str) -> None:
    names = () if code in ("of_required", "unknown_verdict", "wrong_images") else ("caption",)
    with pytest.raises(Problem, match=said_) as found:
        asked(task_of(**keys), images, names, **request_)
    in_body = ("of_required", "unknown_verdict", "invalid_request", "unknown_field")
    assert found.value.status == (400 if code in in_body else 422) and found.value.code == code
