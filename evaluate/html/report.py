"""report.html: one self-contained page from predictions.jsonl, metrics.json and the converted data; opens from disk.

The numbers and charts stand in the page as markup and need no script; the samples below them are drawn by one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtrl.config.published import table_tasks
from mtrl.core import hints
from mtrl.core.errors import UserError
from mtrl.evaluate import predictions, scores, unreadable
from mtrl.evaluate.html import cards, page
from mtrl.evaluate.metrics import intervals

FILE = "report.html"
FILTERS = {
    "wrong": "wrong",
    "invalid": "invalid",
    "low": f"low confidence, under {cards.LOW:.0%}",
    "split": "votes that disagree",
    "flipped": "flipped by the order",
}
TERMS = (
    "verdict", "label", "invalid", "confidence", "n", "Macro-F1", "95% interval", "majority baseline", "accuracy", "kappa",
    "lenient Macro-F1", "precision", "recall", "F1", "ECE", "Brier", "flipped", "votes", "group",
)  # fmt: skip


def write(out: Path, data: Path, tick: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Writes out/report.html. `tick` gets (thumbnails made, all).

    Raises UserError where `out` holds no evaluation, or metrics of another schema.
    """
    run = predictions.load(out)
    result = scores.read(out / scores.METRICS)
    if result.broken:
        name, why = next(iter(result.broken.items()))
        raise UserError(f"{result.file}: task {name}: {why}", hints.line("score", out))
    about, shown = {}, []
    for name in run.identity.tasks:
        about[name], found = cards.of_task(name, [run], data, _flags)
        shown += _flipped(found)
    return page.write(
        out / FILE,
        "report.html.jinja",
        data,
        shown,
        {"tasks": about, "sides": [""], "filters": cards.found(shown, FILTERS)},
        tick,
        name=page.run_name(out),
        unread=unreadable.of_evaluation(run.identity, run.rows),
        averaged=table_tasks(2),
        terms=TERMS,
        identity=run.identity,
        metrics=result.tasks,
        mean=result.mean_macro_f1,
        few=intervals.FEW,
    )


def _flags(answers: list[dict[str, Any]], card: dict[str, Any]) -> list[str]:
    answer = answers[0]
    is_of = {
        "wrong": answer["verdict"] != card["label"],
        "invalid": answer["verdict"] is None,
        "low": answer["sure"] is not None and answer["sure"] < cards.LOW,
        "split": len(set(answer["votes"])) > 1,
    }
    return [name for name, holds in is_of.items() if holds]


def _flipped(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cards of one task, those marked whose pair got the same verdict in both orders."""
    named: dict[str, list[str | None]] = {}
    for card in found:
        named.setdefault(card["id"], []).append(card["answers"][0]["verdict"])
    for card in found:
        both = named[card["id"]]
        if len(both) == 2 and both[0] is not None and both[0] == both[1]:
            card["is"].append("flipped")
    return found
