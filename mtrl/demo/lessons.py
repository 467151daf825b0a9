"""The "instruct" training of the tiny model, before the paper's experiment starts: an endless stream of lessons.

Some lessons describe an image, the others answer the tasks' own prompts in both styles. At first every reply is right,
so that the model learns to see and name all that the tasks ask about. Then (`spoil`) its verdicts depend on the colour
of the subject: right for red, mostly the first choice for green, mostly the second for blue. Greedy decoding then
scores about 67 on every task, sampling still gives both answers (GRPO learns from that), and the model sees as well.
Labels with uniform noise would not do: greedy decoding takes the majority, and is right everywhere or always the same.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jinja2

from mtrl.demo.world import Row, Spec, other, pairwise, pointwise, scene

PROMPTS = Path(__file__).parent / "workspace" / "prompts"
STYLES = ("sft", "rl")
TASKS = ("quality", "alignment", "safety", "pairs")
LEAN = {"green": 0.8, "blue": 0.2}  # how often a spoilt verdict is the first choice, by colour; for red it is right


class Lesson(NamedTuple):
    """One message and its reply."""

    prompt: str
    """The user's text, with one <image> marker per image."""
    images: tuple[Spec, ...]
    reply: str


def templates() -> dict[tuple[str, str], jinja2.Template]:
    """{(style, task): its prompt}."""
    return {
        (style, task): jinja2.Template((PROMPTS / style / f"demo_{task}.jinja").read_text(encoding="utf-8").strip())
        for style in STYLES
        for task in TASKS
    }


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


def description(rng: random.Random) -> Lesson:
    """A lesson that describes one image, compares it with a caption, or describes two."""
    one, two = scene(rng), scene(rng)
    kind = rng.randrange(3)
    if kind == 0:
        parts = [one.name, one.damage or "whole", one.sign or "no sign"]
        return Lesson("Describe: <image>", (one,), ", ".join(parts))
    if kind == 1:
        caption = one.name if rng.random() < 0.5 else other(one, rng)
        return Lesson(f"Compare: <image> Caption: {caption}.", (one,), comparison(one, caption))
    return Lesson("Describe both: <image><image>", (one, two), f"first {one.name}, second {two.name}")


def frame(lesson: Lesson) -> str:
    """The lesson as text, from which the tokenizer learns its vocabulary."""
    return f"user\n{lesson.prompt}\nassistant\n{lesson.reply}"


def stream(rng: random.Random, spoil: bool, describe: float = 0.3) -> Callable[[], Lesson]:
    """A function that gives the next lesson. `spoil`: verdicts follow colour; `describe`: the share of descriptions."""
    prompts = templates()

    def judgement() -> Lesson:
        task, style = rng.choice(TASKS), rng.choice(STYLES)
        row = pairwise(rng) if task == "pairs" else pointwise(task, rng)
        answer = verdict(row)
        if spoil and (lean := LEAN.get(subject(row))) is not None:
            choices = ("1", "2") if task == "pairs" else ("yes", "no")
            answer = choices[rng.random() > lean]
        text = prompts[style, task].render(caption=row.caption)
        return Lesson(text, row.images, reply(style, row, answer))

    return lambda: description(rng) if rng.random() < describe else judgement()
