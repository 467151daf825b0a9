"""Sample cards: what a page shows of each item asked, of one run (the report) or of two (compare).

A card is one sample in one order, as a dict that becomes JSON:

    task, id, order, label ("": unknown), images (names below the data folder)
    names     what the release calls the images, where its ids do not say it
    fields    [name, text] of each field
    group     the source that rows have in common, where several cards do; these stand next to each other
    is        names of the filters that find it
    answers   one a run: verdict (null: invalid), why (what the parser has against it), sure (the verdict's confidence,
              or with votes the share that agree; null: unknown), votes (their verdicts, [] for one), responses, question

The question is what a sample's prompt has of its own; what all prompts of a task share stands once, in
what the page knows of the task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtrl.config import prompting, samples, task_files, tasks
from mtrl.config.samples import Order, Sample
from mtrl.config.tasks import INVALID
from mtrl.evaluate.metrics.prediction import Prediction, voted
from mtrl.evaluate.predictions import Evaluation
from mtrl.reward_plugins import judge

LONG = 20_000  # characters of an item's answers that the page keeps; the whole is in predictions.jsonl
LOW = 0.75  # a verdict less sure than this is called low: half-way between a coin and certainty; ours

Item = tuple[str, Order]  # sample id and order
Flags = Callable[[list[dict[str, Any]], dict[str, Any]], list[str]]


@dataclass
class Asked:
    """One run's answers to one task, by item; how its prompts begin and end, and whether their template changed since."""

    style: str
    choices: tuple[str, str]
    prompt_sha256: str
    answers: dict[Item, list[Prediction]] = field(default_factory=dict)
    questions: dict[Item, str] = field(default_factory=dict)
    before: str = ""
    after: str = ""
    changed: bool = False


def of_task(
    name: str, runs: list[Evaluation], data: Path, flags: Flags, only: set[Item] | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(what the page needs to know of the task, cards) for the items that every run answered, or `only` some of them.

    In the order of the converted data; items that are no longer there come last, without question and images.
    `flags` names a card's filters from its answers and the card.
    """
    asked = [_answers(name, run) for run in runs]
    items = [
        item
        for item in asked[0].answers
        if all(item in run.answers for run in asked) and (only is None or item in only)
    ]
    shown = dict(_shown(name, runs[0].identity.tasks[name].split, data, set(items)))
    task = None  # without converted data nothing of it is needed
    for run, of in zip(asked, runs, strict=True):
        if shown:
            task = task_files.load(name, of.home)
            _ask(task, run, shown)
    known = {item: n for n, item in enumerate(shown)}
    cards = []
    for item in sorted(items, key=lambda item: known.get(item, len(known))):
        answers, sample = [_answer(run, item) for run in asked], shown.get(item)
        card = {
            "task": name,
            "id": item[0],
            "order": item[1],
            "label": asked[0].answers[item][0].label,
            "images": list(sample.images) if sample else [],
            "names": _names(sample) if sample else [],
            "fields": [[field, text] for field, text in sample.fields.items()] if sample else [],
            "group": sample.group if sample else "",
            "answers": answers,
        }
        cards.append({**card, "is": flags(answers, card)})
    about = {
        "choices": list(asked[0].choices),
        "pair": any(order == "turned" for _, order in items),
        "blur": task is not None and task.capability == "safety",
        "prompts": [[run.before, run.after, run.changed] for run in asked],
    }
    return about, together(cards)


def together(cards: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cards with those of one group next to each other, where the group's first one stands."""
    many = Counter(card["group"] for card in cards)
    first: dict[str, int] = {}
    places = []
    for place, card in enumerate(cards):
        # both orders of one pair are no group
        if many[card["group"]] <= len(card["images"]):
            card["group"] = ""
        places.append(first.setdefault(card["group"], place) if card["group"] else place)
    return [card for _, card in sorted(zip(places, cards, strict=True), key=lambda placed: placed[0])]


def _names(sample: Sample) -> list[str]:
    """What the release calls the images, unless the id is just that."""
    names = [str(name) for name in sample.source.get("files", []) if name]
    return [] if names == [sample.id] else names


def _answers(name: str, of: Evaluation) -> Asked:
    asked = of.identity.tasks[name]
    run = Asked(of.identity.style, asked.choices, asked.prompt_sha256)
    for row in sorted((row for row in of.rows if row.task == name), key=lambda row: row.vote):
        run.answers.setdefault((row.id, row.order), []).append(row)
    return run


def _shown(name: str, split: str, data: Path, wanted: set[Item]) -> Iterator[tuple[Item, Sample]]:
    """Each wanted item's sample, turned where the item is; nothing where the task is not converted here."""
    if samples.path_of(data, name, split).exists():
        for sample in samples.read(data, name, split):
            for order in ("given", "turned"):
                if (sample.id, order) in wanted:
                    yield (sample.id, order), sample.turned() if order == "turned" else sample


def _ask(task: tasks.Task, run: Asked, shown: dict[Item, Sample]) -> None:
    """Fills in the run's prompts. The question is what follows the last image, and in a template that has fields before
    it, all from the first of them; without the last line of several, which says in what form to answer.
    """
    render = prompting.renderer(task, run.style)
    run.changed = prompting.sha256(task, run.style) != run.prompt_sha256
    run.before, run.after, run.questions = parted({item: render(sample) for item, sample in shown.items()})


def parted(prompts: dict[Any, str]) -> tuple[str, str, dict[Any, str]]:
    """How all prompts begin and end, and by its key what each has of its own; see `_ask`."""
    one, other = min(prompts.values()), max(prompts.values())  # by the alphabet, these two share the least
    differ = (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    shared = one[: next(differ, len(one))]
    end = one.rfind(prompting.MARKER) + len(prompting.MARKER)
    before = shared[: end if end <= len(shared) else shared.rfind(" ") + 1]
    last = one[len(before) :].rstrip().rpartition("\n")
    after = "\n" + last[2] if last[0].strip() and all(p.endswith("\n" + last[2]) for p in prompts.values()) else ""
    return before, after, {key: p[len(before) : len(p) - len(after)] for key, p in prompts.items()}


def _answer(run: Asked, item: Item) -> dict[str, Any]:
    rows = run.answers[item]
    verdict = voted(rows)[0].verdict
    agree = [row for row in rows if (row.verdict or INVALID) == verdict]
    room = LONG // len(rows)
    return {
        "verdict": None if verdict == INVALID else verdict,
        "why": _why(agree[0], run) if verdict == INVALID else "",
        "sure": len(agree) / len(rows) if len(rows) > 1 else rows[0].confidence,
        "votes": [row.verdict for row in rows] if len(rows) > 1 else [],
        "responses": [cut(row.response, room) for row in rows],
        "question": run.questions.get(item, ""),
    }


def _why(row: Prediction, run: Asked) -> str:
    """What the strict parser has against the response, and how it ended where it did not end by itself."""
    reason, ended = judge.read(row.response, run.style, run.choices).reason, row.finish_reason or "stop"
    return reason if ended == "stop" else f"{reason}; {'out of tokens' if ended == 'length' else ended}"


def cut(text: str, room: int) -> str:
    """A text of more than `room` characters without its middle, and how much that was."""
    if len(text) <= room:
        return text
    head, tail = room * 3 // 4, room // 4
    return f"{text[:head]}\n[… {len(text) - head - tail:,} characters are only in predictions.jsonl …]\n{text[-tail:]}"


def found(cards: list[dict[str, Any]], names: dict[str, str]) -> list[list[str]]:
    """The filters that find something: name, and words with how many cards they find."""
    count = Counter(name for card in cards for name in card["is"])
    return [[name, f"{words} ({count[name]:,})"] for name, words in names.items() if count[name]]
