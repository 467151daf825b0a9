"""What a column of labels suggests: the kind of task, and which label is which verdict."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mtrl.config import kinds
from mtrl.core.errors import UserError

YES = ("yes", "true", "1", "good", "ok", "pass", "original", "real", "match", "correct", "accept", "positive")
NO = ("no", "false", "0", "bad", "fail", "edited", "fake", "mismatch", "wrong", "reject", "negative")
TIES = ("tie", "both", "equal", "same", "neither", "none")
FEW = 12  # different labels that are listed one by one


@dataclass(frozen=True)
class Meaning:
    """Labels by verdict, and those whose rows are left out; or what takes the place of such a list."""

    values: dict[str, list[str]] = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)
    rule: str = ""
    """Of yes and no, where there are too many numbers to list."""
    range: tuple[int, int] | None = None
    """Of a score task: the lowest and highest score. The column has the scores."""
    choices: tuple[str, ...] = ()
    """Of a choice task. Without `values` the column has the choices."""


def kind_of(labels: list[str]) -> str:
    """The kind of a task about one image: score for whole numbers, choice for three words or more, else pointwise."""
    for kind, made in (("score", _score), ("choice", _choice)):
        try:
            made(labels)
        except ValueError:
            continue
        return kind
    return "pointwise"


def meaning(labels: list[str], kind: str) -> Meaning:
    """Which label is which verdict. What is unclear is left out. Raises UserError for labels that cannot be `kind`."""
    empty = [""] if "" in labels else []
    if kind == "pairwise":
        found = sorted(set(labels) - {""})
        sides = [word for word in found if word.lower() not in TIES][:2]
        return Meaning({"1": sides[:1], "2": sides[1:]}, empty + [word for word in found if word not in sides])
    try:
        return {"score": _score, "choice": _choice}.get(kind, _yes_or_no)(labels)
    except ValueError as error:
        raise UserError(f"the labels cannot be those of a {kind} task: {error}", "leave --kind out") from None


def _score(labels: list[str]) -> Meaning:
    """Every whole number from the lowest to the highest; labels that are no numbers are left out if they are few."""
    numbers = [label for label in labels if re.fullmatch(r"-?\d+(\.0*)?", label)]
    others = sorted(set(labels) - set(numbers))
    if len(set(map(float, numbers))) < kinds.VALUES[0] or 2 * len(numbers) <= len(labels):
        raise ValueError(f"fewer than {kinds.VALUES[0]} different whole numbers")
    if any(re.fullmatch(r"-?\d+\.\d+", label) for label in others):
        raise ValueError("not all numbers are whole")
    ends = int(min(map(float, numbers))), int(max(map(float, numbers)))
    kinds.completed({"kind": "score", "range": ends})
    return Meaning(drop=others, range=ends)


def _choice(labels: list[str]) -> Meaning:
    """The labels as lower-case words."""
    words = {label: re.sub(r"[^\w-]+", "_", label.casefold()).strip("_-") for label in sorted(set(labels) - {""})}
    choices = tuple(dict.fromkeys(words.values()))
    if len(choices) < 3:
        raise ValueError("fewer than 3 different words")
    kinds.completed({"kind": "choice", "choices": choices})
    values = {choice: [label for label, word in words.items() if word == choice] for choice in choices}
    same = all(label.casefold() == word for label, word in words.items())
    return Meaning({} if same else values, [""] if "" in labels else [], choices=choices)


def _yes_or_no(labels: list[str]) -> Meaning:
    """Of more than two numbers the upper half is yes."""
    found, empty = sorted(set(labels) - {""}), [""] if "" in labels else []
    if len(found) > 2 and (numbers := _numbers([word for word in labels if word])):
        if len(found) > FEW:
            return Meaning(drop=empty, rule=f">= {sorted(numbers)[len(numbers) // 2]:g}")
        found.sort(key=float)
        half = len(found) // 2
        return Meaning({"yes": found[-half:], "no": found[:half]}, empty + found[half:-half])
    good = [word for word in found if word.lower() in YES]
    bad = [word for word in found if word.lower() in NO]
    rest = [word for word in found if word not in (*good, *bad)]
    for side in (good, bad):
        if not side and rest:
            side.append(rest.pop(0))
    return Meaning({"yes": good, "no": bad}, empty + rest)


def _numbers(words: list[str]) -> list[float]:
    """The words as numbers, none where one is not a number."""
    try:
        return [float(word) for word in words]
    except ValueError:
        return []
