"""What the tiny base is taught before the paper's experiment starts: its "instruct" training, as an endless stream.

A lesson is (user text with <image> markers, images, reply). Some lessons describe what is in the picture, the others
answer the tasks' own prompts in both styles. First all of them are right, so that the base can SEE and say everything
the tasks ask about; then (`spoil`) its judgement is made to depend on the colour of the subject: right for red,
mostly the first choice for green and mostly the second for blue, whatever is there. Greedy decoding then scores about
67 on every task, sampling still meets both answers (which is what GRPO learns from), and what is seen is never
unlearnt. A base taught with uniformly noisy labels would not do: greedy decoding takes the majority and is either
right everywhere or stuck on one answer.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jinja2

from mtrl.demo.suite import Row, Spec, other, pairwise, pointwise, scene

PROMPTS = Path(__file__).parent / "workspace" / "prompts"
STYLES = ("sft", "rl")
TASKS = ("quality", "alignment", "safety", "pairs")
LEAN = {"green": 0.8, "blue": 0.2}  # how often the spoilt base takes the first choice; red is judged rightly


class Lesson(NamedTuple):
    prompt: str
    images: tuple[Spec, ...]
    reply: str


def templates() -> dict[tuple[str, str], jinja2.Template]:
    def load(style: str, task: str) -> jinja2.Template:
        text = (PROMPTS / style / f"demo_{task}.jinja").read_text(encoding="utf-8").strip()
        template: jinja2.Template = jinja2.Template(text)
        return template

    return {(style, task): load(style, task) for style in STYLES for task in TASKS}


def verdict(row: Row) -> str:
    """The label as the prompts ask for it: "1"/"2" for a pair, "yes"/"no" otherwise."""
    return str(int(row.label) + 1) if row.task == "pairs" else row.label


def thought(row: Row) -> str:
    """What is seen that the verdict rests on; always true, even where the base's verdict is a coin toss."""
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
    colour, shape = caption.split()
    return "other colour" if colour != spec.colour else "other shape" if shape != spec.shape else "same"


def reply(style: str, row: Row, answer: str) -> str:
    return answer if style == "sft" else f"<think>{thought(row)}</think><answer>{answer}</answer>"


def subject(row: Row) -> str:
    """The colour that decides how the spoilt base judges: the caption's for a pair, else the image's."""
    return row.caption.split()[0] if row.task == "pairs" else row.images[0].colour


def description(rng: random.Random) -> Lesson:
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
    """The lesson as the model reads it, for the tokenizer to learn its words from."""
    return f"user\n{lesson.prompt}\nassistant\n{lesson.reply}"


def stream(rng: random.Random, spoil: bool, describe: float = 0.3) -> Callable[[], Lesson]:
    """Lessons for ever: all of them right, or (spoil) with the verdicts of a judge that leans by colour."""
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
