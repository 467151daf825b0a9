"""`/v1/decisions`: the judge in the form of OpenAI's Decisions API (public beta), for `client.decisions.create`.

A judge answers its own questions only, in the words that it was trained with. So a question's `instructions` is the
name of a task, and choices or levels that are not the task's are an error:

    question    task                 answer
    predicate   verdicts yes, no     the probability of yes
    choice      any                  `choices` are the task's verdicts; the verdict, its confidence, all probabilities
    score       kind score           `levels` are the task's scores in order; the expected place among them, from 0

`input` is one message of the user: its images in the task's order (base64), its fields as an `input_json` part, or for
a task with one field as text. A refusal is an answer that cannot be read, has no probabilities, is below the threshold
(decision.json), or contradicts itself in the other order of a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from mtrl.config.kinds import INVALID, UNDECIDED
from mtrl.core import schema
from mtrl.evaluate.image_items import Asked
from mtrl.evaluate.serving.problem import Problem, quoted, validated
from mtrl.evaluate.verdict import Verdict
from mtrl.reward_plugins import judge

QUESTIONS = 32  # ours; OpenAI takes 400


class Part(schema.Model):
    type: Literal["input_text", "input_image", "input_json"]
    text: str | None = None
    image_url: str | None = None
    data: dict[str, str] | None = None
    detail: Literal["auto", None] = None
    """The judge's own range of image sizes decides, so no other one can be asked for."""


class Message(schema.Model):
    role: Literal["user"]
    content: str | list[Part]
    type: Literal["message"] = "message"


class Option(schema.Model):
    value: str


class Level(schema.Model):
    label: str


class Question(schema.Model):
    type: Literal["predicate", "choice", "score"]
    instructions: str
    """The name of a task."""
    name: str | None = None
    choices: list[Option] | None = None
    levels: list[Level] | None = None


class DecisionsRequest(schema.Model):
    """The body of a request."""

    model: str
    input: list[Message] = Field(min_length=1, max_length=1)
    questions: list[Question] = Field(min_length=1, max_length=QUESTIONS)


@dataclass(frozen=True)
class Given:
    """What a request asks about."""

    images: list[str]
    """As data: URLs."""
    texts: list[str]
    fields: dict[str, str]

    def fields_of(self, asked: Asked) -> dict[str, str]:
        """The fields of a task's prompt. Raises Problem (400)."""
        if not self.texts:
            return self.fields
        if self.fields or len(asked.fields) != 1:
            names = ", ".join(asked.fields) or "no fields"
            raise Problem(
                400, "unknown_field", f"task {asked.task.name} has {names}: send them as one input_json part, no text"
            )
        return {asked.fields[0]: "\n".join(self.texts)}


def read(body: Any) -> tuple[DecisionsRequest, Given]:
    """Raises Problem (400), also for a key that would not be used."""
    wanted = validated(DecisionsRequest, body)
    content = wanted.input[0].content
    parts = [Part(type="input_text", text=content)] if isinstance(content, str) else content
    images, texts, fields = list[str](), list[str](), dict[str, str]()
    for part in parts:
        of = {"input_text": part.text, "input_image": part.image_url, "input_json": part.data}
        if [kind for kind, value in of.items() if value is not None] != [part.type]:
            raise Problem(400, "invalid_request", f"a part of type {part.type} has what another type has, or nothing")
        if part.image_url is not None:
            images.append(part.image_url)
        elif part.text is not None:
            texts.append(part.text)
        elif part.data is not None:
            if twice := fields.keys() & part.data.keys():
                raise Problem(400, "invalid_request", f"the field {quoted(min(twice))} is given twice")
            fields |= part.data
    return wanted, Given(images, texts, fields)


def check(question: Question, asked: Asked) -> None:
    """Raises Problem (400) where the question is another one than the task's."""
    task, said = asked.task, judge.said(asked.task.choices)
    if question.type == "predicate":
        if task.kind != "pointwise" or question.choices or question.levels:
            raise Problem(400, "wrong_question", f"task {task.name} answers {said}: ask it as a choice, or score")
        return
    if question.type == "choice":
        listed = [one.value for one in question.choices or ()]
        same = set(listed) == set(task.choices) and len(listed) == len(task.choices) and not question.levels
    else:
        listed = [one.label for one in question.levels or ()]
        same = task.kind == "score" and tuple(listed) == task.choices and not question.choices
    if not same:
        raise Problem(
            400, "wrong_question", f"task {task.name} answers {said}, and the {question.type} has {quoted(listed)}"
        )


def answer(question: Question, asked: Asked, verdict: Verdict) -> dict[str, Any]:
    """One of the reply's answers."""
    name, choices = question.name, asked.task.choices
    known = verdict.shares(choices)
    contradicts = asked.task.pair and verdict.flipped is not False
    if verdict.verdict in (INVALID, UNDECIDED) or not known or contradicts:
        return {"type": "refusal", "name": name}
    sure = known[verdict.verdict]
    if question.type == "predicate":
        return {"type": "predicate", "name": name, "probability": known["yes"]}
    if question.type == "choice":
        listed = [{"value": one.value, "probability": known[one.value]} for one in question.choices or ()]
        chosen = {"choice": verdict.verdict, "confidence": sure, "probabilities": listed}
        return {"type": "choice", "name": name, **chosen}
    levels = [{"value": place, "label": label, "probability": known[label]} for place, label in enumerate(choices)]
    expected = sum(place * known[label] for place, label in enumerate(choices))
    return {"type": "score", "name": name, "score": expected, "confidence": sure, "probabilities": levels}


def reply(model: str, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Tokens are not counted: what a cache answers costs none."""
    usage = {
        "input_tokens": 0,
        "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 0,
    }
    return {"model": model, "answers": list(answers), "usage": usage}
