"""suspects.html of a sift: the training rows whose label may be wrong, with image, texts, label, votes and a reasoning.

The cards and the script are those of report.html.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mtrl.evaluate import sift, suspects
from mtrl.evaluate.html import cards, page
from mtrl.evaluate.html.content import Card, Content
from mtrl.evaluate.predictions import Evaluation
from mtrl.evaluate.sift import Sifted

FILE = "suspects.html"
TERMS = ("label", "verdict", "votes", "confidence", "invalid", "pass rate", "95% interval", "group")


def write(
    folder: Path,
    run: Evaluation,
    sifted: Sifted,
    data: Path,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Writes `folder`/suspects.html; `run` has the answers of the sift. Raises UserError and MtrlError."""
    tasks, shown = {}, list[Card]()
    for name, rows in sifted.rows.items():
        place = {row.id: number for number, row in enumerate(suspects.of_task(rows))}
        if place:
            tasks[name], found = cards.of_task(name, [run], data, _found_by, {(row, "given") for row in place})
            shown += sorted(found, key=lambda card: place[card.id])
    return page.write(
        folder / FILE,
        "suspects.html.jinja",
        Content(shown, tasks, {words: words for card in shown for words in card.found_by}),
        data,
        tick,
        identity=sifted.identity,
        summaries={name: sift.summary(rows) for name, rows in sifted.rows.items()},
        needed=sift.needed(sifted.identity.sampling.votes),
        table=suspects.FILE,
        terms=TERMS,
    )


def _found_by(card: Card) -> list[str]:
    return [f"label {card.label}, votes say {card.answers[0].verdict}"]
