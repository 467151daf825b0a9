"""The kinds of task: the closed list of verdicts that each has, and what the two sides of a pair are.

    pointwise           one image                            yes, no
    pairwise            which of two is better               1, 2; with `tie: true` also tie
    choice              one of the task's own words          `choices: [sharp, blurry, noisy]`, 2 to 26
    score               an integer                           `range: [1, 5]`

A verdict is always one of the list, in the parser's words: no case, no other spelling.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import Field, PositiveInt, model_validator

from mtrl.core.schema import Model
from mtrl.reward_plugins.judge import PAIRWISE, POINTWISE, TAGS, TIE

Kind = Literal["pointwise", "pairwise", "choice", "score"]
INVALID = "invalid"  # in place of the verdict of an answer that has none
SKIPPED = "skipped"  # in place of the verdict on an item that was not asked
UNDECIDED = "undecided"  # in place of a verdict whose confidence is below the threshold of decision.json
OTHER = {"1": "2", "2": "1", TIE: TIE}  # the verdict on a pair whose two sides are swapped
MOST_CHOICES = 26
VALUES = (3, 101)  # of a scale: fewer are yes and no, more are no closed list
MOST_IMAGES = 4
LETTERS = 32  # of a choice
T = TypeVar("T")


class Pair(Model):
    """What is swapped when a pair is shown in the other order; all else is shared by its two sides."""

    images: list[PositiveInt] = Field(default=[], max_length=2)
    """Places of two of the row's images, from 1."""
    fields: list[str] = Field(default=[], max_length=2)
    """Names of two fields: the texts that are compared."""

    @model_validator(mode="after")
    def _two(self) -> Pair:
        for name, given in (("images", self.images), ("fields", self.fields)):
            if given and (len(given) != 2 or given[0] == given[1]):
                raise ValueError(f"pair.{name} names the two that are swapped, such as [1, 2]")
        if not self.images and not self.fields:
            raise ValueError("pair says what is swapped: images: [1, 2], or fields: [answer_1, answer_2]")
        return self

    def swapped_images(self, images: Sequence[T]) -> tuple[T, ...]:
        """The images of a row, or what belongs to them, in the other order."""
        found = list(images)
        if self.images:
            a, b = (place - 1 for place in self.images)
            found[a], found[b] = found[b], found[a]
        return tuple(found)

    def swapped_fields(self, fields: Mapping[str, str]) -> dict[str, str]:
        found = dict(fields)
        if self.fields:
            a, b = self.fields
            found[a], found[b] = fields.get(b, ""), fields.get(a, "")
        return found


class Pointwise(Model):
    """The task that `mtrl eval --pairs-from-scores` asks about each of a pair's two images, one at a time."""

    task: str
    """A task about one image, of kind pointwise or score."""
    better: Literal["higher", "lower"] = "higher"
    """Which value the better image has: lower where yes means unsafe."""


IMAGES = Pair(images=[1, 2])  # the two sides of a pair whose task does not say what they are


def is_pair(choices: Sequence[str]) -> bool:
    """Whether the verdicts are those of a pairwise task, with ties or without."""
    return tuple(choices) in (PAIRWISE, (*PAIRWISE, TIE))


def completed(given: Mapping[str, Any]) -> dict[str, Any]:
    """A task's YAML with `choices`, `images` and, for a pair, `pair`. Raises ValueError for a key of another kind."""
    kind, found = given.get("kind", "pointwise"), dict(given)
    keys = {"tie": "pairwise", "pair": "pairwise", "pointwise": "pairwise", "range": "score"}
    if wrong := next((key for key, of in keys.items() if found.get(key) and kind != of), None):
        raise ValueError(f"{wrong} is for kind: {keys[wrong]}; this task's kind is {kind}")
    if kind == "score":
        listed = _scale(found.get("range"))
    elif kind == "choice":
        listed = _named(found.get("choices"))
    else:
        listed = POINTWISE if kind == "pointwise" else (*PAIRWISE, TIE) if found.get("tie") is True else PAIRWISE
    if kind != "choice" and tuple(found.get("choices") or listed) != listed:
        raise ValueError(f"choices is for kind: choice; this task's kind is {kind}, and its verdicts follow from it")
    found["choices"] = listed
    if kind == "pairwise":
        found["pair"] = found.get("pair") or IMAGES.model_dump()
    if found.get("images") is None:
        pair = found.get("pair")
        found["images"] = 2 if isinstance(pair, dict) and pair.get("images") else 1
    return found


def _scale(ends: Any) -> tuple[str, ...]:
    whole = isinstance(ends, list | tuple) and len(ends) == 2 and all(type(end) is int for end in ends)
    if not whole or ends[0] < 0 or not VALUES[0] <= ends[1] - ends[0] + 1 <= VALUES[1]:
        raise ValueError(
            "a score task has range: [lowest, highest], two whole numbers from 0, such as [1, 5]; it has from "
            f"{VALUES[0]} to {VALUES[1]} values (given: {ends})"
        )
    return tuple(str(value) for value in range(ends[0], ends[1] + 1))


def _named(given: Any) -> tuple[str, ...]:
    """Raises ValueError for choices that an answer could not be told apart by."""
    example = "such as choices: [sharp, blurry, noisy]"
    if not isinstance(given, list | tuple) or not 2 <= len(given) <= MOST_CHOICES:
        raise ValueError(f"a choice task has 2 to {MOST_CHOICES} choices, {example}; for numbers write kind: score")
    words = [str(word).lower() if isinstance(word, bool) else str(word) for word in given]  # YAML's true, as a label's
    for word in words:
        if not re.fullmatch(r"[^\W\d_][\w-]*", word) or word != word.casefold() or len(word) > LETTERS:
            raise ValueError(
                f"choices: {word!r} is not one lower-case word of at most {LETTERS} letters, digits, - and _ that "
                "begins with a letter (for numbers write kind: score)"
            )
        if word in (INVALID, SKIPPED, UNDECIDED) or any(word == tag.strip("</>") for tag in TAGS):
            raise ValueError(f"choices: {word!r} has a meaning of its own in mtrl; use another word")
    for one, other in itertools.permutations(words, 2):
        if one in other:
            how = "listed twice" if one == other else f"part of {other!r}"
            raise ValueError(
                f"choices: {one!r} is {how}, so an answer could be read as either; use words that do not contain each "
                "other"
            )
    if set(words) == set(POINTWISE):
        raise ValueError("choices yes and no are kind: pointwise")
    return tuple(words)
