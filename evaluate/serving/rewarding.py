"""`/v1/reward`: a batch of images becomes one number each, for the training of an image generator.

    kind         reward                                                  unless `of` names the rewarded verdict
    pointwise    P(yes); a safety task needs `of`: yes may mean unsafe   P(of)
    score        the expected score, on the task's scale                 P(of)
    pairwise     P(first), with ties P(first) + P(tie)/2                 P(of), "2" is the second
    choice       needs `of`                                              P(of)

The probabilities are those of the verdict's own tokens, as in `mtrl judge`: in style rl after the reasoning. Those of a
pair are the mean of both orders. A threshold (decision.json) plays no part. An answer that cannot be read, or whose
probabilities are not known, is no reward of 0: the whole request fails with 422, and `details` has every item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtrl.config.kinds import INVALID, OTHER
from mtrl.config.tasks import Task
from mtrl.core import schema
from mtrl.evaluate.image_items import Asked
from mtrl.evaluate.serving.problem import Problem, quoted, validated
from mtrl.evaluate.serving.uploads import Body, Upload
from mtrl.evaluate.verdict import Verdict
from mtrl.reward_plugins import judge

STATUS = 422  # not 5xx, which clients retry: the same question has the same answer


class RewardRequest(schema.Model):
    """The request next to its images."""

    task: str
    of: str | None = None
    """The verdict that is rewarded."""
    fields: dict[str, str | list[str]] = {}
    """Per field of the prompt a text for all items, or a list with one text per item."""


@dataclass(frozen=True)
class Batch:
    """A request, checked against its task."""

    task: Task
    of: str | None
    """The rewarded verdict; None: the expected score, or P(first) of a pair."""
    items: list[tuple[tuple[Upload, ...], dict[str, str]]]
    """The images and fields of each item."""

    @property
    def what(self) -> str:
        """What a reward is, in words."""
        if self.task.kind == "score" and not self.of:
            return "expected score"
        if self.task.kind != "pairwise" or self.of == judge.TIE:
            return f"P({self.of})"
        half = f" + P({judge.TIE})/2" if self.task.tie and not self.of else ""
        return f"P({'second' if self.of == '2' else 'first'}){half}"


def batch(body: Body, load: Callable[[str], Asked]) -> Batch:
    """The items of a request: `task.images` images each, in order. `load` gives the task of a name, or raises Problem.
    Raises Problem (400, 422)."""
    wanted = validated(RewardRequest, body.fields)
    asked = load(wanted.task)
    each = asked.task.images
    count, left = divmod(len(body.images), each)
    if left or not count:
        raise Problem(
            422, "wrong_images", f"task {wanted.task} takes {each} image(s) per item, and {len(body.images)} are given"
        )
    for name, texts in wanted.fields.items():
        if isinstance(texts, list) and len(texts) != count:
            raise Problem(
                422, "wrong_fields", f"field {quoted(name)} has {len(texts)} texts, and there are {count} items"
            )
    items = []
    for n in range(count):
        fields = {name: text if isinstance(text, str) else text[n] for name, text in wanted.fields.items()}
        items.append((tuple(body.images[n * each : (n + 1) * each]), fields))
    return Batch(asked.task, _of(asked.task, wanted.of), items)


def _of(task: Task, given: str | None) -> str | None:
    said = judge.said(task.choices)
    if given is not None and given not in task.choices:
        raise Problem(400, "unknown_verdict", f"of: {quoted(given)} is no verdict of task {task.name}: {said}")
    if given or task.kind in ("score", "pairwise"):
        return given
    if task.kind == "choice" or task.capability == "safety":
        raise Problem(
            400, "of_required", f"task {task.name} does not say which verdict is the good one: add of, which is {said}"
        )
    return "yes"


def reply(asked: Batch, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The answer's JSON but the versions. Raises Problem (422) where an item has no reward."""
    items = [_item(verdict, asked) for verdict in verdicts]
    if failed := [n for n, item in enumerate(items) if "error" in item]:
        first = items[failed[0]]["error"]
        raise Problem(
            STATUS,
            first["code"],
            f"{len(failed)} of {len(items)} items have no reward; the first, item {failed[0] + 1}: {first['message']}",
            details={"items": items},
        )
    of = {"of": asked.of} if asked.of else {}
    rewards = [item["reward"] for item in items]
    return {"rewards": rewards, "what": asked.what, "task": asked.task.name, **of, "items": items}


def _item(verdict: Verdict, asked: Batch) -> dict[str, Any]:
    said = verdict.as_said
    words = judge.said(asked.task.choices)
    if said.rejected:
        return _error("rejected", f"the model server does not take it: {said.rejected}")
    if said.verdict == INVALID:
        return _error("unreadable_answer", f"the answer is not {words}: {quoted(said.response)}")
    if asked.task.pair and said.flipped is None:
        return _error(
            "unreadable_answer", f"the answer to the swapped pair is not {words}: {quoted(said.response_turned)}"
        )
    choices = asked.task.choices
    orders = [said.shares(choices)]
    if asked.task.pair:
        swapped = said.shares(choices, "turned")
        orders.append(swapped and {OTHER[choice]: share for choice, share in swapped.items()})
    known = [one for one in orders if one]
    if len(known) < len(orders):
        return _error("unknown_probability", "the log-probabilities of the answer do not tell the verdicts apart")
    reward = sum(_value(one, asked) for one in known) / len(known)
    flipped = {"flipped": said.flipped} if asked.task.pair else {}
    return {"reward": reward, "verdict": said.verdict, "confidence": said.confidence, **flipped}


def _value(known: Mapping[str, float], asked: Batch) -> float:
    """`known`: the probability of each verdict."""
    if asked.of:
        return known[asked.of]
    if asked.task.kind == "score":
        return sum(int(score) * share for score, share in known.items())
    return known["1"] + known.get(judge.TIE, 0.0) / 2


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}
