"""What a page shows of its samples: types that become the JSON that page.js.jinja draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mtrl.config.kinds import Pair
from mtrl.config.prompting import MARKER
from mtrl.config.samples import Order
from mtrl.reward_plugins import judge

LONG = 20_000  # characters of an item's answers that the page keeps; predictions.jsonl has all of them
LOW = 0.75  # a confidence below this is called low: half-way between a coin and certainty; ours
FILTERS = {  # of a judge's verdicts, with the words that the page has for them
    "wrong": "wrong",
    "invalid": "invalid",
    "low": f"low confidence, under {LOW:.0%}",
    "split": "votes that disagree",
    "flipped": "flipped by the order",
}


class Prompt(NamedTuple):
    """What the prompts of one task and judge share."""

    before: str
    """The text before each sample's own part."""
    after: str
    """The text after it."""
    changed: bool = False
    """Whether the template has changed since the judge was asked: then this is the present one."""


@dataclass(frozen=True)
class PageTask:
    """One task."""

    choices: tuple[str, ...]
    """Its verdicts."""
    pair: bool
    """Whether cards say in which order the two sides were shown."""
    blur: bool
    """Whether images are blurred until they are clicked."""
    prompts: list[Prompt]
    """One per judge."""
    side_images: Sequence[int] = ()
    """Of a pair: the places of the two images that are compared, from 1; the other images are shared."""
    side_fields: Sequence[str] = ()
    """Of a pair: the two texts that are compared."""


@dataclass(frozen=True)
class CardAnswer:
    """What one judge answered to a card's item."""

    verdict: str | None
    """The majority of the votes; None where it is invalid."""
    why: str = ""
    """Why an answer is invalid."""
    sure: float | None = None
    """The verdict's confidence, or the share of votes that agree; None where it is not known."""
    votes: list[str | None] = field(default_factory=list)
    """The verdict of each vote; empty for one vote."""
    responses: list[str] = field(default_factory=list)
    """The judge's text, one per vote."""
    question: str = ""
    """The part of the prompt that is this sample's own."""


@dataclass(frozen=True)
class Card:
    """One sample in one order."""

    task: str
    id: str
    order: Order
    label: str = ""
    """"" where it is not known."""
    images: list[str] = field(default_factory=list)
    """Paths below the page's folder of images; empty where the sample is no longer converted."""
    names: list[str] = field(default_factory=list)
    """The release's names of the images, where the id does not have them."""
    fields: list[tuple[str, str]] = field(default_factory=list)
    """The name and the text of each field."""
    group: str = ""
    """The source that several rows share: their cards are next to each other."""
    answers: list[CardAnswer] = field(default_factory=list)
    """One per judge."""
    found_by: list[str] = field(default_factory=list)
    """The filters that find the card."""


@dataclass(frozen=True)
class Content:
    """All that the page's script gets."""

    cards: list[Card]
    tasks: dict[str, PageTask]
    filters: dict[str, str]
    """Words for each filter; those that find nothing are not shown."""
    sides: Sequence[str] = ("",)
    """What the page calls each judge; "" for a single one."""

    @property
    def counted(self) -> list[tuple[str, str]]:
        """The filters that find something, and their words with the number of cards."""
        count = Counter(name for card in self.cards for name in card.found_by)
        return [(name, f"{words} ({count[name]:,})") for name, words in self.filters.items() if count[name]]


def sides(pair: Pair | None) -> tuple[Sequence[int], Sequence[str]]:
    """`side_images` and `side_fields` of a PageTask."""
    return (pair.images, pair.fields) if pair else ((), ())


def flags(answer: CardAnswer, label: str) -> list[str]:
    """The names of FILTERS that one answer gives a card."""
    holds = {
        "wrong": bool(label) and answer.verdict != label,
        "invalid": answer.verdict is None,
        "low": answer.sure is not None and answer.sure < LOW,
        "split": len(set(answer.votes)) > 1,
    }
    return [name for name, yes in holds.items() if yes]


def why_invalid(response: str, style: str, choices: tuple[str, ...], finish_reason: str) -> str:
    """Why the strict rule cannot read a response, and how generation ended unless by itself."""
    reason = judge.read(response, style, choices).reason
    ended = {"stop": "", "": "", "length": "out of tokens"}.get(finish_reason, finish_reason)
    return f"{reason}; {ended}" if ended else reason


def cut(text: str, room: int = LONG) -> str:
    """A text of more than `room` characters without its middle, and how many characters that is."""
    if len(text) <= room:
        return text
    head, tail = room * 3 // 4, room // 4
    return f"{text[:head]}\n[… {len(text) - head - tail:,} characters are only in predictions.jsonl …]\n{text[-tail:]}"


def parted(prompts: dict[Any, str]) -> tuple[Prompt, dict[Any, str]]:
    """What all prompts share, and by its key what each has of its own.

    Its own is what follows the last image, and in a template that has fields before it, all from the first of them;
    without the last line of several, which says in what form to answer.
    """
    one, other = min(prompts.values()), max(prompts.values())  # by the alphabet, these two share the least
    differ = (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    shared = one[: next(differ, len(one))]
    end = one.rfind(MARKER) + len(MARKER)
    before = shared[: end if end <= len(shared) else shared.rfind(" ") + 1]
    last = one[len(before) :].rstrip().rpartition("\n")
    after = "\n" + last[2] if last[0].strip() and all(p.endswith("\n" + last[2]) for p in prompts.values()) else ""
    return Prompt(before, after), {key: p[len(before) : len(p) - len(after)] for key, p in prompts.items()}
