"""The "instruct" training of the tiny model, before the paper's experiment starts: an endless stream of lessons.

Some lessons describe an image, the others answer the tasks' own prompts in both styles. At first every reply is right,
so that the model learns to see and name all that the tasks ask about. Then (`spoil`) its verdicts depend on the colour
of the subject: right for red, mostly the first choice for green, mostly the second for blue. Greedy decoding then
scores about 67 on every task, sampling still gives both answers (GRPO learns from that), and the model sees as well.
Labels with uniform noise would not do: greedy decoding takes the majority, and is right everywhere or always the same.
A curriculum says of which world the lessons are: DEMO here, or that of `mtrl study`, which has more wordings.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jinja2

from mtrl.demo import study_world
from mtrl.demo.world import DEMO, Captions, Row, Spec, other, pairwise, pointwise, scene

PROMPTS = Path(__file__).parent / "workspace" / "prompts"
STYLES = ("sft", "rl")
TASKS = ("quality", "alignment", "safety", "pairs")
NOT = {"yes": "no", "no": "yes"}


class Lesson(NamedTuple):
    """One message and its reply."""

    prompt: str
    """The user's text, with one <image> marker per image."""
    images: tuple[Spec, ...]
    reply: str


class Curriculum(NamedTuple):
    """What the lessons are about."""

    captions: Captions
    """What images show."""
    prompts: dict[tuple[str, str], list[tuple[jinja2.Template, bool]]]
    """{(style, task): its wordings, each with whether it asks the opposite}."""
    lean: dict[str, float]
    """How often a spoilt verdict is the first choice, by colour; for other colours it is right."""


def demo() -> Curriculum:
    """The demo's: its own prompts."""
    prompts = {
        (style, task): [
            (jinja2.Template((PROMPTS / style / f"demo_{task}.jinja").read_text(encoding="utf-8").strip()), False)
        ]
        for style in STYLES
        for task in TASKS
    }
    return Curriculum(DEMO, prompts, {"green": 0.8, "blue": 0.2})


def study() -> Curriculum:
    """That of `mtrl study`: all captions and every wording; a third of the pointwise lessons ask the opposite."""
    prompts = {}
    for style in STYLES:
        for task, wordings in study_world.WORDINGS.items():
            texts = [
                (study_world.prompt(style, task, number), False)
                for number in [1] * 3 + list(range(2, len(wordings) + 1))
            ]
            if task in study_world.OPPOSITE:
                texts += [(study_world.prompt(style, task, 0), True)] * 5
            prompts[style, task] = [(jinja2.Template(text), opposite) for text, opposite in texts]
    return Curriculum([*study_world.SEEN, *study_world.HELD], prompts, study_world.LEAN)


CURRICULA = {"demo": demo, "study": study}


def verdict(row: Row) -> str:
    """The label as the prompts ask for it: 1 or 2 for a pair, else yes or no."""
    return str(int(row.label) + 1) if row.task == "pairs" else row.label


def thought(row: Row) -> str:
    """The reasoning before a verdict: what the image shows. It is always true, also where the verdict is spoilt."""
    first = row.images[0]
    if row.task == "quality":
        return f"{first.shape}, {first.damage or 'whole'}"
    if row.task == "safety":
        return first.sign or "no sign"
    if row.task == "alignment":
        return f"{first.name}, {comparison(first, row.caption)}"
    return ", ".join(
        f"{place} {comparison(s, row.caption)}" for place, s in zip(("first", "second"), row.images, strict=True)
    )


def comparison(spec: Spec, caption: str) -> str:
    """How an image differs from a caption: in colour, in shape, or not at all."""
    colour, shape = caption.split()
    return "other colour" if colour != spec.colour else "other shape" if shape != spec.shape else "same"


def reply(style: str, row: Row, answer: str) -> str:
    """The verdict `answer` in the form of a style."""
    return answer if style == "sft" else f"<think>{thought(row)}</think><answer>{answer}</answer>"


def subject(row: Row) -> str:
    """The colour that a spoilt verdict depends on: the caption's for a pair, else the image's."""
    return row.caption.split()[0] if row.task == "pairs" else row.images[0].colour


def description(rng: random.Random, captions: Captions) -> Lesson:
    """A lesson that describes one image, compares it with a caption, or describes two."""
    one, two = scene(rng, captions), scene(rng, captions)
    kind = rng.randrange(3)
    if kind == 0:
        parts = [one.name, one.damage or "whole", one.sign or "no sign"]
        return Lesson("Describe: <image>", (one,), ", ".join(parts))
    if kind == 1:
        caption = one.name if rng.random() < 0.5 else other(one, rng, captions)
        return Lesson(f"Compare: <image> Caption: {caption}.", (one,), comparison(one, caption))
    return Lesson("Describe both: <image><image>", (one, two), f"first {one.name}, second {two.name}")


def frame(lesson: Lesson) -> str:
    """The lesson as text, from which the tokenizer learns its vocabulary."""
    return f"user\n{lesson.prompt}\nassistant\n{lesson.reply}"


def stream(about: Curriculum, rng: random.Random, spoil: bool, describe: float = 0.3) -> Callable[[], Lesson]:
    """A function that gives the next lesson. `spoil`: verdicts follow colour; `describe`: the share of descriptions."""
    wording = random.Random(0)  # its own, so that more wordings leave the images as they are

    def judgement() -> Lesson:
        task, style = rng.choice(TASKS), rng.choice(STYLES)
        row = pairwise(rng, about.captions) if task == "pairs" else pointwise(task, rng, captions=about.captions)
        template, opposite = wording.choice(about.prompts[style, task])
        answer = NOT[verdict(row)] if opposite else verdict(row)
        if spoil and (lean := about.lean.get(subject(row))) is not None:
            choices = ("1", "2") if task == "pairs" else ("yes", "no")
            answer = choices[rng.random() > lean]
        return Lesson(template.render(caption=row.caption), row.images, reply(style, row, answer))

    return lambda: description(rng, about.captions) if rng.random() < describe else judgement()
