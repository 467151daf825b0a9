"""The world of `mtrl study`: 64 captions, half of them for training, and every question in several wordings.

    quality, alignment, safety   as in world.py, in wording 1; the training of arm B has wordings 1 to 8
    <task>_reworded              the test rows in a ninth wording, which no arm is trained on
    <task>_inverted              the test rows with the opposite question, and so the opposite labels
    pairs                        the unseen format: which of two images shows a caption that no arm is trained on

A base model is taught all of these before the study (lessons.py), so that a format is new to the training and not to
the model. Captions are split like a chess board: every colour and every shape is in both halves.
"""

from __future__ import annotations

from typing import NamedTuple

from mtrl.demo.world import COLOURS, SHAPES, Captions

SEEN: Captions = [(c, s) for i, c in enumerate(COLOURS) for j, s in enumerate(SHAPES) if (i + j) % 2 == 0]
HELD: Captions = [(c, s) for i, c in enumerate(COLOURS) for j, s in enumerate(SHAPES) if (i + j) % 2 == 1]
TRAINED = 8  # wordings of arm B; the first is that of the other arms
REWORDED, INVERTED = "reworded", "inverted"
ENDINGS = {
    "sft": "Answer {choices}.",
    "rl": "Reply <think>why</think><answer>{choices}</answer>.",
}
WORDINGS = {  # the last one is the unseen wording
    "quality": (
        "A good image shows a whole shape: no stripes, no missing part. <image> Is it good?",
        "<image> Is this shape whole, without stripes or a missing part?",
        "Look for stripes or a missing part. <image> Is the shape undamaged?",
        "Shapes must be whole. <image> Does this image pass?",
        "<image> Would you call this shape complete and clean?",
        "Check the picture for damage. <image> Is it free of damage?",
        "<image> Say whether the shape here is intact.",
        "A striped or broken shape is bad. <image> Is this one fine?",
        "Judge the state of the shape. <image> Is nothing wrong with it?",
    ),
    "alignment": (
        "A match has the same colour and shape. <image> Caption: {{ caption }}. Does it match?",
        "<image> Does this picture show a {{ caption }}?",
        "Someone wrote: {{ caption }}. <image> Is that right?",
        "Compare colour and shape with the text: {{ caption }}. <image> Do they agree?",
        "<image> Would {{ caption }} be a correct title for this?",
        "The request was: {{ caption }}. <image> Was it fulfilled?",
        "<image> Say whether {{ caption }} describes what you see.",
        "Text: {{ caption }}. <image> Is the image faithful to the text?",
        "Read the label {{ caption }}, then look. <image> Is the label true?",
    ),
    "safety": (
        "An unsafe image shows a black cross. <image> Is it unsafe?",
        "<image> Is there a black cross in this picture?",
        "Look for a black cross. <image> Did you find one?",
        "Crosses are not allowed. <image> Must this image be blocked?",
        "<image> Would you report this for a black cross?",
        "Check the picture for a cross. <image> Does it have one?",
        "<image> Say whether a black cross is visible.",
        "A dot is harmless, a cross is not. <image> Is this one harmful?",
        "Judge the sign on the shape. <image> Is it the forbidden one?",
    ),
    "pairs": (
        "The better image has the colour and shape of the caption. <image><image> Caption: {{ caption }}. "
        "Which is better?",
    ),
}
OPPOSITE = {
    "quality": "A bad image shows a shape with stripes or a missing part. <image> Is it bad?",
    "alignment": "A mismatch has another colour or shape. <image> Caption: {{ caption }}. Is it a mismatch?",
    "safety": "A safe image shows no black cross. <image> Is it safe?",
}
PAIRS = "study_pairs"
# how often a spoilt verdict is the first choice (lessons.py), by colour; for the other two colours it is right
LEAN = {"green": 0.8, "purple": 0.8, "orange": 0.8, "blue": 0.2, "cyan": 0.2, "pink": 0.2}


def prompt(style: str, task: str, wording: int = 1) -> str:
    """The template of a question. `wording`: from 1; 0 is the opposite question."""
    text = WORDINGS[task][wording - 1] if wording else OPPOSITE[task]
    return f"{text} {ENDINGS[style].format(choices='1 or 2' if task == 'pairs' else 'yes or no')}"


class Question(NamedTuple):
    """One task of the study, which becomes a YAML and two prompts."""

    about: str
    """quality, alignment, safety or pairs."""
    wording: int = 1
    """As of `prompt`."""
    part: int = 0
    """Of the training rows: those that arm B has in this wording; 0: all."""

    @property
    def name(self) -> str:
        if self.part:
            return f"study_{self.about}_{self.part}"
        shift = {1: "", 0: f"_{INVERTED}"}.get(self.wording, f"_{REWORDED}")
        return f"study_{self.about}{shift}"


POINTWISE = [f"study_{about}" for about in OPPOSITE]
SHIFTS = {
    REWORDED: [f"{name}_{REWORDED}" for name in POINTWISE],
    INVERTED: [f"{name}_{INVERTED}" for name in POINTWISE],
}


def questions() -> list[Question]:
    """All tasks of the study."""
    found = [Question("pairs")]
    for about in OPPOSITE:
        found += [Question(about), Question(about, TRAINED + 1), Question(about, 0)]
        found += [Question(about, part, part) for part in range(1, TRAINED + 1)]
    return found


def trained(wordings: int) -> list[str]:
    """The tasks that an arm is trained on."""
    if wordings == 1:
        return POINTWISE
    return [f"study_{about}_{part}" for about in OPPOSITE for part in range(1, wordings + 1)]
