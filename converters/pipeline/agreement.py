"""How far several annotators agree: Krippendorff's alpha, nominal for verdicts and interval for scores.

Over every item of the release with two labels or more. Items without a majority count too: without them alpha would be
too high.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mtrl.config.datacard import Agreement
from mtrl.config.labels import TIED
from mtrl.converters.base import Row
from mtrl.reward_plugins.judge import is_scale


def of_rows(rows: Iterable[Row], choices: tuple[str, ...]) -> Agreement | None:
    """None where no row has annotators."""
    found = [row for row in rows if row.annotators]
    labels = [row.annotators for row in found]
    if not labels:
        return None
    return Agreement(
        annotators=len({name for its in labels for name in its}),
        items=len(labels),
        labels=sum(map(len, labels)),
        ties=sum(row.answer == TIED for row in found),
        alpha=alpha([list(its.values()) for its in labels], is_scale(choices)),
        level="interval" if is_scale(choices) else "nominal",
    )


def alpha(items: Sequence[Sequence[str]], interval: bool = False) -> float | None:
    """Of the labels of each item, which with `interval` are numbers. None where it is not defined."""
    several = [labels for labels in items if len(labels) > 1]
    if len({label for labels in several for label in labels}) < 2:
        return None
    from nltk.metrics.agreement import AnnotationTask
    from nltk.metrics.distance import binary_distance, interval_distance

    data: list[tuple[int, int, Any]] = [
        (annotator, item, float(label) if interval else label)
        for item, labels in enumerate(several)
        for annotator, label in enumerate(labels)  # alpha does not ask who gave a label
    ]
    return float(AnnotationTask(data, interval_distance if interval else binary_distance).alpha())
