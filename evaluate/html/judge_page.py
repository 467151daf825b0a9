"""`mtrl judge --out x.html`: the verdicts on one's own images as a page, by the cards and script of report.html.

Images are linked from where the page lies. Of a pair each order is a card, as in the report.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtrl.evaluate import unreadable
from mtrl.evaluate.html import cards, page
from mtrl.evaluate.image_items import Bad, Item
from mtrl.evaluate.subject import Subject
from mtrl.evaluate.verdict import Verdict
from mtrl.reward_plugins import judge as parser

LISTED = 100  # items that could not be judged, which the page names
TERMS = ("verdict", "label", "invalid", "confidence", "accuracy", "flipped")
FILTERS = {
    "wrong": "wrong",
    "invalid": "invalid",
    "low": f"low confidence, under {cards.LOW:.0%}",
    "flipped": "flipped by the order",
}


def write(
    target: Path,
    judge: Subject,
    items: list[Item | Bad],
    judged: list[Verdict | Bad],
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Writes `target` from the items and the verdict on each. Raises UserError and MtrlError."""
    shown: list[dict[str, Any]] = []
    by_task: dict[str, list[tuple[Item, Verdict]]] = {}
    for item, row in zip(items, judged, strict=True):
        if isinstance(item, Item) and isinstance(row, Verdict):
            by_task.setdefault(item.task.name, []).append((item, row))
    about: dict[str, dict[str, Any]] = {}
    counts = {}
    for name, asked in by_task.items():
        before, after, questions = cards.parted({place: item.prompt for place, (item, _) in enumerate(asked)})
        for place, (item, row) in enumerate(asked):
            shown += _cards(item, row, judge.style, questions[place], target.parent)
        task = asked[0][0].task
        about[name] = {
            "choices": list(task.choices),
            "pair": task.kind == "pairwise",
            "blur": task.capability == "safety",
            "prompts": [[before, after, False]],
        }
        counts[name] = _counts([row for _, row in asked], task.choices)
    verdicts = list(dict.fromkeys(choice for task in about.values() for choice in task["choices"]))
    filters = {**{f"says_{choice}": f"verdict {choice}" for choice in verdicts}, **FILTERS}
    turned = {name for card in shown if by_task[card["task"]][0][0].task.orient for name in card["images"]}
    bad = [item for item in items if isinstance(item, Bad)]
    return page.write(
        target,
        "judge.html.jinja",
        target.parent,
        shown,
        {"tasks": about, "sides": [""], "filters": cards.found(shown, filters)},
        tick,
        turned,
        judge=judge,
        counts=counts,
        bad=bad[:LISTED],
        bad_total=len(bad),
        unread=unreadable.found(
            [row for row in judged if isinstance(row, Verdict)],
            judge.style,
            {name: tuple(task["choices"]) for name, task in about.items()},
            judge.max_new_tokens,
        ),
        terms=TERMS,
    )


def _counts(rows: list[Verdict], choices: tuple[str, str]) -> dict[str, Any]:
    """{items, verdicts: {verdict: how many}, right: (right, labelled) or None} of one task."""
    found = Counter(row.verdict for row in rows)
    labelled = [row for row in rows if row.label]
    return {
        "items": len(rows),
        "verdicts": {verdict: found[verdict] for verdict in (*choices, "invalid")},
        "right": (sum(row.correct for row in labelled), len(labelled)) if labelled else None,
    }


def _cards(item: Item, row: Verdict, style: str, question: str, folder: Path) -> list[dict[str, Any]]:
    """The card of each order that the item was asked in."""
    found = []
    for order, response in (("given", row.response), ("turned", row.response_turned)):
        if response is None:
            continue
        back = slice(None, None, -1 if order == "turned" else 1)
        read, ended = parser.read(response, style, item.task.choices), row.finish_reason
        sure = row.confidence if order == "given" else None
        label = item.label if order == "given" or not item.label else {"1": "2", "2": "1"}[item.label]
        flags = {
            f"says_{read.verdict}": read.verdict is not None,
            "wrong": bool(label) and read.verdict != label,
            "invalid": read.verdict is None,
            "low": sure is not None and sure < cards.LOW,
            "flipped": bool(row.flipped),
        }
        why = "" if read.verdict else read.reason
        if why and order == "given" and ended != "stop":
            why += f"; {'out of tokens' if ended == 'length' else ended}"
        answer = {
            "verdict": read.verdict,
            "why": why,
            "sure": sure,
            "votes": [],
            "responses": [cards.cut(response, cards.LONG)],
            "question": question,
        }
        found.append(
            {
                "task": item.task.name,
                "id": item.id,
                "order": order,
                "label": label,
                "images": [os.path.relpath(path.absolute(), folder.resolve()) for path in item.images[back]],
                "names": [] if " ".join(item.names) == item.id else list(item.names[back]),
                "fields": [[name, text] for name, text in item.fields.items()],
                "group": "",
                "answers": [answer],
                "is": [name for name, holds in flags.items() if holds],
            }
        )
    return found
