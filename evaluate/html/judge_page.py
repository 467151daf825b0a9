"""`mtrl judge --out x.html`: verdicts on the user's own images, with the cards and the script of report.html.

Images are linked relative to the page. Each order of a pair has its own card, as in the report.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mtrl.config.kinds import INVALID, OTHER, UNDECIDED
from mtrl.config.samples import Order
from mtrl.evaluate import unreadable
from mtrl.evaluate.html import page
from mtrl.evaluate.html.content import (
    FILTERS,
    Card,
    CardAnswer,
    Content,
    PageTask,
    cut,
    flags,
    parted,
    sides,
    why_invalid,
)
from mtrl.evaluate.image_items import Bad, Item
from mtrl.evaluate.subject import Subject
from mtrl.evaluate.verdict import Verdict
from mtrl.reward_plugins import judge

LISTED = 100  # at most, of the items that could not be judged
DECIDED = {"undecided": "undecided", "escalated": "asked of the larger judge"}  # filters
TERMS = ("verdict", "label", "invalid", "confidence", "accuracy", "flipped")


@dataclass(frozen=True)
class Counts:
    """One task's items, by verdict; and how many of those with a label and a decided verdict got it."""

    items: int
    verdicts: dict[str, int]
    right: int
    labelled: int


def write(
    target: Path,
    subject: Subject,
    items: list[Item | Bad],
    judged: list[Verdict | Bad],
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Writes `target` from the items and the verdict on each. Raises UserError and MtrlError."""
    shown: list[Card] = []
    by_task: dict[str, list[tuple[Item, Verdict]]] = {}
    for item, row in zip(items, judged, strict=True):
        if isinstance(item, Item) and isinstance(row, Verdict):
            by_task.setdefault(item.task.name, []).append((item, row))
    tasks: dict[str, PageTask] = {}
    counts: dict[str, Counts] = {}
    upright: set[str] = set()
    for name, asked in by_task.items():
        task = asked[0][0].task
        prompt, questions = parted(
            {
                (place, order): shown.prompt
                for place, (item, _) in enumerate(asked)
                for order, shown in item.orders.items()
            }
        )
        made = [
            _card(item, row, order, subject.style, questions[place, order], target.parent)
            for place, (item, row) in enumerate(asked)
            for order in item.orders
        ]
        counts[name] = _counted([row for _, row in asked], task.choices)
        shown += made
        upright |= {image for card in made for image in card.images} if task.orient else set()
        blur = task.capability == "safety"
        tasks[name] = PageTask(task.choices, task.pair is not None, blur, [prompt], *sides(task.pair))
    verdicts = dict.fromkeys(choice for task in tasks.values() for choice in task.choices)
    bad = [item for item in items if isinstance(item, Bad)]
    return page.write(
        target,
        "judge.html.jinja",
        Content(shown, tasks, {**{f"says_{choice}": f"verdict {choice}" for choice in verdicts}, **FILTERS, **DECIDED}),
        target.parent,
        tick,
        upright,
        judge=subject,
        counts=counts,
        bad=bad[:LISTED],
        bad_total=len(bad),
        unread=unreadable.found(
            [row.as_said for row in judged if isinstance(row, Verdict)],
            subject.style,
            {name: task.choices for name, task in tasks.items()},
            subject.max_new_tokens,
        ),
        terms=TERMS,
    )


def _counted(rows: list[Verdict], choices: tuple[str, ...]) -> Counts:
    found = Counter(row.verdict for row in rows)
    labelled = [row for row in rows if row.label and row.verdict != UNDECIDED]
    verdicts = {verdict: found[verdict] for verdict in (*choices, INVALID, *([UNDECIDED] if found[UNDECIDED] else []))}
    return Counts(len(rows), verdicts, sum(row.correct for row in labelled), len(labelled))


def _card(item: Item, row: Verdict, order: Order, style: str, question: str, folder: Path) -> Card:
    """The item in one order. Of the swapped order neither the confidence nor the reason of the end is recorded."""
    given = order == "given"
    response = (row.response if given else row.response_turned) or ""
    verdict = judge.parse(response, style, item.task.choices)
    why = "" if verdict else why_invalid(response, style, item.task.choices, row.finish_reason if given else "")
    answer = CardAnswer(verdict, why, row.confidence if given else None, [], [cut(response)], question)
    shown = item.orders[order]
    flipped = ["flipped"] if row.flipped else []
    undecided = row.verdict == UNDECIDED
    if row.raw is not None and not undecided:  # perhaps the larger judge's
        verdict = row.verdict if given else OTHER.get(row.verdict)
    found_by = flags(replace(answer, verdict=verdict), "" if undecided else shown.label)
    found_by += [*([f"says_{verdict}"] if verdict and not undecided else []), *flipped]
    found_by += [*(["undecided"] if undecided else []), *(["escalated"] if row.escalated is not None else [])]
    images = [os.path.relpath(path.absolute(), folder.resolve()) for path in shown.images]
    names = [] if " ".join(item.given.names) == item.id else list(shown.names)
    fields = [*([("decision", _decision(row))] if row.raw is not None else []), *shown.fields.items()]
    return Card(item.task.name, item.id, order, shown.label, images, names, fields, "", [answer], found_by)


def _decision(row: Verdict) -> str:
    """What came of the judge's verdict, see Verdict."""
    asked = "" if row.escalated is None else f"; the larger judge said {row.escalated}"
    return f"{row.verdict}{f', by {row.judged_by}' if row.judged_by else ''}{asked}"
