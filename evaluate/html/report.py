"""report.html: one self-contained page from predictions.jsonl, metrics.json and the converted data. It opens from disk.

Numbers and charts are markup and need no script; the samples below them are drawn by the page's own script.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mtrl.config.kinds import OTHER
from mtrl.config.published import table_tasks
from mtrl.core import hints
from mtrl.core.errors import UserError
from mtrl.evaluate import notes, predictions, scores, unreadable
from mtrl.evaluate.html import cards, page, sentences
from mtrl.evaluate.html.content import FILTERS, Card, Content, flags
from mtrl.evaluate.metrics import intervals, selective

FILE = "report.html"
TERMS = (
    "verdict",
    "label",
    "invalid",
    "confidence",
    "n",
    "Macro-F1",
    "95% interval",
    "cluster",
    "majority baseline",
    "accuracy",
    "kappa",
    "lenient Macro-F1",
    "precision",
    "recall",
    "F1",
    "support",
    "SRCC",
    "SRCC at worst",
    "PLCC",
    "Kendall",
    "quadratic kappa",
    "MAE",
    "graded value",
    "without",
    "AUC",
    "AP",
    "SRCC with the release",
    "PLCC with the release",
    "pairs right",
    "constant answer",
    "ECE",
    "Brier",
    "decided",
    "votes",
    "group",
    "right in both orders",
    "right answers",
    "accuracy with ties",
    "accuracy without ties",
    "flipped",
    "first chosen",
    "human ceiling",
    "alpha",
    "winning rate",
    "advantage",
)


def write(out: Path, data: Path, tick: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Writes out/report.html. `tick` gets (thumbnails made, all).

    Raises UserError where `out` holds no evaluation, or metrics of another schema.
    """
    run = predictions.load(out)
    result = scores.read(out / scores.METRICS)
    if result.broken:
        name, why = next(iter(result.broken.items()))
        raise UserError(f"{result.file}: task {name}: {why}", hints.line("score", out))
    tasks, shown = {}, []
    for name in run.identity.tasks:
        tasks[name], found = cards.of_task(name, [run], data, lambda card: flags(card.answers[0], card.label))
        shown += found if run.identity.tasks[name].pointwise else _flipped(found)
    return page.write(
        out / FILE,
        "report.html.jinja",
        Content(shown, tasks, FILTERS),
        data,
        tick,
        name=page.run_name(out),
        unread=unreadable.of_evaluation(run.identity, run.rows),
        averaged=table_tasks(2),
        terms=TERMS,
        identity=run.identity,
        metrics=result.tasks,
        mean=result.mean_macro_f1,
        curves={name: _curve(run, name) for name in result.tasks},
        few=intervals.FEW,
        sentences=sentences,
        notes=notes,
    )


def _curve(run: predictions.Evaluation, task: str) -> list[selective.RiskPoint]:
    """Error over coverage, as mtrl certify reads confidence; empty where it does not."""
    if run.identity.tasks[task].pointwise or run.identity.sampling.votes > 1:
        return []
    return selective.curve(selective.items(row for row in run.rows if row.task == task))


def _flipped(found: list[Card]) -> list[Card]:
    """The cards of one task; the filter "flipped" finds those whose pair got two answers that contradict each other."""
    verdicts: dict[str, list[str | None]] = {}
    for card in found:
        verdicts.setdefault(card.id, []).append(card.answers[0].verdict)
    two = {name: (both[0], both[1]) for name, both in verdicts.items() if len(both) == 2}
    flipped = {name for name, (a, b) in two.items() if a is not None and b is not None and a != OTHER[b]}
    return [replace(card, found_by=[*card.found_by, "flipped"]) if card.id in flipped else card for card in found]
