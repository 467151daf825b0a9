"""The perturbations of a probe: what each changes in a row, and whether its verdict should move.

    same       the verdict should stay
    opposite   the verdict should become the other one
    look       it shows whether the judge looks: the image that the verdict is about is gone
    depends    a move may be right, as `why` says

Whether a task is about what a perturbation changes is known by its capability only: quality, alignment or safety.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Literal

from mtrl.config import prompting
from mtrl.config.samples import Order, Sample
from mtrl.config.tasks import Task
from mtrl.evaluate.probing import pictures, words
from mtrl.evaluate.probing.exchange import Shown

Expected = Literal["same", "opposite", "look", "depends"]
CAPTIONS = 200  # that a changed word may come from, at most
FIRST, SECOND = "the first of the two", "the second of the two"


@dataclass(frozen=True)
class Row:
    """A row, and what a perturbation may use to change it."""

    task: Task
    style: str
    sample: Sample
    prompt: str
    """Its rendered prompt."""
    render: Callable[[Sample], str]
    drawn: Sequence[Sample]
    """All rows of the probe's task, this one among them."""
    others: Mapping[str, Shown]
    """By id: whose images a row can show in place of its own."""
    chance: Random
    """Of this row and perturbation alone."""


@dataclass(frozen=True)
class Changed:
    """What is asked in a row's place."""

    sample: Sample
    """With the images that are shown or drawn on, and the answer that is right after the change, if it is known."""
    prompt: str
    order: Order = "given"
    prefix: str = ""
    draw: pictures.Change | None = None
    """Changes the images at `places`."""
    places: tuple[int, ...] = ()
    """Of the sample's images, from 0."""
    cluster: str = ""
    """Answers with the same one are not independent; "" for the row's own cluster."""


@dataclass(frozen=True)
class Perturbation:
    """One kind of change."""

    name: str
    what: str
    """In words, for a table."""
    expected: Expected
    change: Callable[[Row, int], Changed | None]
    """Of a row and a level, from 0; None where this row cannot be changed."""
    levels: tuple[str, ...] = ("",)
    """Words for each severity."""
    depends: tuple[str, ...] = ()
    """Capabilities of tasks for which a move may be right."""
    why: str = ""
    """When it may be right."""
    unfit: Callable[[Task, str], str] = lambda task, style: ""
    """Why a task in a style cannot have it; "" where it can."""

    @property
    def variants(self) -> list[str]:
        """One name per level."""
        return [self.name] if len(self.levels) == 1 else [f"{self.name}-{n}" for n in range(1, len(self.levels) + 1)]

    def expected_of(self, task: Task) -> Expected:
        return "depends" if task.capability in self.depends else self.expected


def caption_field(task: Task, style: str) -> str | None:
    """The only field of the prompt, which says what the image should show. None where there is none, and where there
    are several: the question may be about another one, such as one element of the caption."""
    used = prompting.fields(task, style)
    return used[0] if len(used) == 1 else None


def _drawn(change: pictures.Change, row: Row, level: int) -> Changed:
    """Every image of the row changed."""
    return Changed(row.sample, row.prompt, draw=change, places=tuple(range(len(row.sample.images))))


def _written(row: Row, level: int) -> Changed:
    places = range(len(row.sample.images))
    if row.task.pair and row.task.pair.images:
        places = range(at := row.task.pair.images[_worse(row)] - 1, at + 1)
    return Changed(row.sample, row.prompt, draw=pictures.written, places=tuple(places))


def _other(row: Row, level: int) -> Changed | None:
    """The images of another row, with another label and of another cluster. The label that is kept is this row's."""
    if not (shown := row.others.get(row.sample.id)):
        return None
    return Changed(replace(row.sample, images=shown.sample.images), row.prompt, cluster=shown.group)


def _order(row: Row, level: int) -> Changed:
    assert row.task.pair
    swapped = row.sample.swapped(row.task.pair)
    return Changed(swapped, row.render(swapped), "turned")


def _caption(row: Row, level: int) -> Changed | None:
    """Of a row that is labelled yes: it no longer matches, so no is right now."""
    name = caption_field(row.task, row.style)
    if name is None or row.sample.answer != "yes":
        return None
    pool = [other.fields[name] for other in row.drawn if other.id != row.sample.id]
    others = row.chance.sample(pool, min(CAPTIONS, len(pool)))
    new = words.changed_word(row.sample.fields[name], others, row.chance)
    if new is None:
        return None
    changed = replace(row.sample, fields={**row.sample.fields, name: prompting.escape(new)}, answer="no")
    return Changed(changed, row.render(changed))


def _authority(row: Row, level: int) -> Changed:
    """Level 0 approves the image, of a pair the worse side; level 1 names a wrong verdict."""
    if level == 0:
        what = "this image" if len(row.sample.images) == 1 else "these images"
        line = words.APPROVED.format(what=(FIRST, SECOND)[_worse(row)] if row.task.pair else what)
    else:
        wrong = row.chance.choice([choice for choice in row.task.choices if choice != row.sample.answer])
        line = words.AGREED.format(wrong=wrong)
    return Changed(row.sample, f"{line}\n{row.prompt}")


def _paraphrase(row: Row, level: int) -> Changed:
    return Changed(row.sample, words.AROUND[level].format(prompt=row.prompt))


def _invert(row: Row, level: int) -> Changed:
    a, b = row.task.choices
    answer = b if row.sample.answer == a else a
    return Changed(replace(row.sample, answer=answer), f"{words.OPPOSITE.format(a=a, b=b)}\n{row.prompt}")


def _prefill(row: Row, level: int) -> Changed:
    return Changed(row.sample, row.prompt, prefix=words.AGAIN)


def _worse(row: Row) -> int:
    """The side of a pair that its label does not choose: 0 or 1; of a tie the second."""
    return 0 if row.sample.answer == "2" else 1


def _no_pair(task: Task, style: str) -> str:
    return "" if task.pair else "it is no pair"


def _no_caption(task: Task, style: str) -> str:
    if task.kind != "pointwise" or task.capability != "alignment":
        return "it does not ask whether an image matches a text, with yes or no"
    return "" if caption_field(task, style) else "its prompt has no caption, or several texts"


def _not_two(task: Task, style: str) -> str:
    return "" if len(task.choices) == 2 else f"it has {len(task.choices)} verdicts, so none is the opposite"


def _no_reasoning(task: Task, style: str) -> str:
    return "" if style == "rl" else f"an answer in the style {style} has no reasoning to begin"


# capabilities of tasks whose right verdict a change may change, and when
DETAIL, WORSE = ("quality",), "the image does get worse"
COLOUR, BIAS = ("quality", "alignment"), "if the task does not ask about colour, this is a colour bias"

ALL = {
    one.name: one
    for one in (
        Perturbation("blank", "a grey image", "look", partial(_drawn, pictures.blank)),
        Perturbation("other", "the image of a row with another label", "look", _other),
        Perturbation("order", "the two sides swapped", "same", _order, unfit=_no_pair),
        Perturbation(
            "blur", "blurred, by a radius of the shorter side", "same", partial(_drawn, pictures.blur),
            tuple(f"{100 * share:g}%" for share in pictures.BLUR), depends=DETAIL, why=WORSE,
        ),
        Perturbation(
            "jpeg", "stored as JPEG, by quality", "same", partial(_drawn, pictures.same),
            tuple(map(str, pictures.JPEG)), depends=DETAIL, why=WORSE,
        ),
        Perturbation(
            "resize", "made smaller and scaled back", "same", partial(_drawn, pictures.resize),
            tuple(f"1/{times}" for times in pictures.SMALLER), depends=DETAIL, why=WORSE,
        ),
        Perturbation(
            "crop", "cut to the middle of each side and scaled back", "same", partial(_drawn, pictures.crop),
            tuple(f"{100 * share:g}%" for share in pictures.KEPT),
        ),
        Perturbation(
            "rotate", "rotated left or right, in degrees", "same", partial(_drawn, pictures.rotate),
            tuple(map(str, pictures.DEGREES)),
        ),
        Perturbation(
            "hue", "every colour another one, in degrees of the colour circle", "same", partial(_drawn, pictures.hue),
            tuple(map(str, pictures.HUE)), depends=COLOUR, why=BIAS,
        ),
        Perturbation("grey", "without colour", "same", partial(_drawn, pictures.grey), depends=COLOUR, why=BIAS),
        Perturbation(
            "written", f"{pictures.TEXT} written into it (of a pair, into the worse image), by its height", "same",
            _written, tuple(f"{100 * share:g}%" for share in pictures.HEIGHT),
        ),
        Perturbation("caption", "one word of the caption changed, where it matched", "opposite", _caption,
                     unfit=_no_caption),
        Perturbation(
            "authority", "a line before the question: experts", "same", _authority,
            ("approved it", "gave a wrong answer"),
        ),
        Perturbation(
            "paraphrase", "other words around the question", "same", _paraphrase,
            ("look closely", "here is a question", "a colleague asks"),
        ),
        Perturbation("invert", "the opposite of the right answer is asked for", "opposite", _invert, unfit=_not_two),
        Perturbation("prefill", '"Wait, let me look again." begins its reasoning', "same", _prefill,
                     unfit=_no_reasoning),
    )
}  # fmt: skip
LEVELS = {variant: (one, level) for one in ALL.values() for level, variant in enumerate(one.variants)}
