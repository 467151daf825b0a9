"""The "instruct" training of the tiny model, before the paper's experiment starts: an endless stream of lessons.

Some lessons describe an image, the others answer the tasks' own prompts in both styles. At first every reply is right,
so that the model learns to see and name all that the tasks ask about. Then (`spoil`) its verdicts depend on the colour
of the subject: right for red, mostly the first choice for green, mostly the second for blue. Greedy decoding then
scores about 67 on every task, sampling still gives both answers (GRPO learns from that), and the model sees as well.
Labels with uniform noise would not do: greedy decoding takes the majority, and is right everywhere or always the same.
A curriculum says which world the lessons are about: the demo's, or that of `mtrl study`. With 64 captions a model this
small learns to compare a caption with an image only if it begins with few colours and shapes, and if its reasoning
names both before it compares them.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jinja2

from mtrl.demo import study_world
from mtrl.demo.world import COLOURS, DEMO, SHAPES, Captions, Row, Spec, other, pairwise, pointwise, scene

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
    """{(task, style): its wordings, each with whether it asks the opposite}."""
    lean: dict[str, float]
    """How often a spoilt verdict is the first choice, by colour; for other colours it is right."""
    more: tuple[tuple[str, str], ...] = ()
    """Tasks and styles that are asked more often than the others, each as often as it is here."""
    wider: tuple[tuple[float, int, int], ...] = ()
    """(until this share of the lessons, colours, shapes): images show the first ones only."""
    names_both: bool = False
    """Whether a comparison names colour and shape of the caption and of the image."""

    def shown(self, share: float) -> Captions:
        """The captions after this share of the lessons."""
        for until, colours, shapes in self.wider:
            if share < until:
                return [(c, s) for c in list(COLOURS)[:colours] for s in SHAPES[:shapes]]
        return self.captions


def demo() -> Curriculum:
    """The demo's: its own prompts."""
    prompts = {
        (task, style): [
            (jinja2.Template((PROMPTS / style / f"demo_{task}.jinja").read_text(encoding="utf-8").strip()), False)
        ]
        for style in STYLES
        for task in TASKS
    }
    return Curriculum(DEMO, prompts, {"green": 0.8, "blue": 0.2})


def study() -> Curriculum:
    """That of `mtrl study`: all captions, every wording, and the opposite questions."""
    prompts = {}
    for style in STYLES:
        for task, wordings in study_world.WORDINGS.items():
            numbers = [*[1] * 4, *range(2, len(wordings) + 1), *[0] * (3 if task in study_world.OPPOSITE else 0)]
            prompts[task, style] = [
                (jinja2.Template(study_world.prompt(style, task, number)), number == 0) for number in numbers
            ]
    return Curriculum(
        [*study_world.SEEN, *study_world.HELD],
        prompts,
        study_world.LEAN,
        more=(*[("alignment", "sft")] * 4, ("alignment", "rl"), ("pairs", "rl"), ("pairs", "sft")),
        wider=((0.25, 3, 2), (0.35, 4, 4), (0.45, 6, 6)),
        names_both=True,
    )


CURRICULA = {"demo": demo, "study": study}


def verdict(row: Row) -> str:
    """The label as the prompts ask for it: 1 or 2 for a pair, else yes or no."""
    return str(int(row.label) + 1) if row.task == "pairs" else row.label


def thought(row: Row, names_both: bool) -> str:
    """The reasoning before a verdict: what the image shows. It is always true, also where the verdict is spoilt."""
    first = row.images[0]
    if row.task == "quality":
        return f"{first.shape}, {first.damage or 'whole'}"
    if row.task == "safety":
        return first.sign or "no sign"
    if row.task == "alignment":
        compared = comparison(first, row.caption, names_both)
        return compared if names_both else f"{first.name}, {compared}"
    return ", ".join(
        f"{place} {comparison(s, row.caption, names_both)}"
        for place, s in zip(("first", "second"), row.images, strict=True)
    )


def comparison(spec: Spec, caption: str, names_both: bool) -> str:
    """How an image differs from a caption: in colour, in shape, or not at all."""
    colour, shape = caption.split()
    found = "other colour" if colour != spec.colour else "other shape" if shape != spec.shape else "same"
    return f"{colour} {spec.colour} {shape} {spec.shape} {found}" if names_both else found


def reply(style: str, row: Row, answer: str, names_both: bool) -> str:
    """The verdict `answer` in the form of a style."""
    return answer if style == "sft" else f"<think>{thought(row, names_both)}</think><answer>{answer}</answer>"


def subject(row: Row) -> str:
    """The colour that a spoilt verdict depends on: the caption's for a pair, else the image's."""
    return row.caption.split()[0] if row.task == "pairs" else row.images[0].colour


def description(rng: random.Random, captions: Captions, names_both: bool) -> Lesson:
    """A lesson that describes one image, compares it with a caption, or describes two."""
    one, two = scene(rng, captions), scene(rng, captions)
    kind = rng.randrange(3)
    if kind == 0:
        parts = [one.name, one.damage or "whole", one.sign or "no sign"]
        return Lesson("Describe: <image>", (one,), ", ".join(parts))
    if kind == 1:
        caption = one.name if rng.random() < 0.5 else other(one, rng, captions)
        return Lesson(f"Compare: <image> Caption: {caption}.", (one,), comparison(one, caption, names_both))
    return Lesson("Describe both: <image><image>", (one, two), f"first {one.name}, second {two.name}")


def frame(lesson: Lesson) -> str:
    """The lesson as text, from which the tokenizer learns its vocabulary."""
    return f"user\n{lesson.prompt}\nassistant\n{lesson.reply}"


def stream(
    about: Curriculum, rng: random.Random, spoil: bool, lessons: int = 0, describe: float = 0.3
) -> Callable[[], Lesson]:
    """A function that gives the next lesson. `spoil`: verdicts follow colour; `describe`: the share of descriptions.

    `lessons`: how many there will be, for captions that become more on the way; 0: all captions from the start.
    """
    wording, given = random.Random(0), 0  # its own generator, so that more wordings leave the images as they are

    def judgement(captions: Captions) -> Lesson:
        if about.more:
            task, style = rng.choice([*about.prompts, *about.more])
        else:
            task, style = rng.choice(TASKS), rng.choice(STYLES)
        row = pairwise(rng, captions) if task == "pairs" else pointwise(task, rng, captions=captions)
        template, opposite = wording.choice(about.prompts[task, style])
        answer = NOT[verdict(row)] if opposite else verdict(row)
        if spoil and (lean := about.lean.get(subject(row))) is not None:
            choices = ("1", "2") if task == "pairs" else ("yes", "no")
            answer = choices[rng.random() > lean]
        return Lesson(template.render(caption=row.caption), row.images, reply(style, row, answer, about.names_both))

    def following() -> Lesson:
        nonlocal given
        captions = about.shown(given / lessons) if lessons else about.captions
        given += 1
        return description(rng, captions, about.names_both) if rng.random() < describe else judgement(captions)

    return following
