"""The alternative annotator test: may a judge take the place of an annotator? (Calderon et al., arXiv 2501.10970.)

Each annotator in turn is left out, and this annotator and the judge are both compared with the others, item by item. An
item's score is the share of the others with the same verdict, of a scale minus the root mean squared difference. The
judge wins against an annotator where the share of items on which the annotator is at least as good, less that of the
judge, is below epsilon: a one-sided t-test, with Benjamini and Yekutieli's correction over the annotators (false
discovery rate 5%). Epsilon is how much worse a judge may be, for being cheaper. The winning rate is the share of
annotators that the judge wins against; from 0.5 the authors say that it may replace them.

Items that share a cluster are not independent: the standard error is that of clusters, which is the usual one where
each item is its own. Below 30 clusters the test does not apply. There the paper has Wilcoxon's test: of differences
that are -1, 0 or 1 it does not test the mean, and of judges that are worse by exactly epsilon half would win.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from mtrl.config.kinds import INVALID
from mtrl.core.schema import Stored
from mtrl.evaluate.metrics.prediction import Fraction
from mtrl.reward_plugins.judge import is_scale

EPSILONS = {"crowd workers": 0.1, "skilled annotators": 0.15, "experts": 0.2}  # the paper's, by who the annotators are
ANNOTATORS, CLUSTERS = 3, 30  # at least; the paper's, of items
FDR = 0.05
PASSES = 0.5


class AltTest(Stored):
    """The test of one judge on one task."""

    unmet: str = ""
    """Why the test does not apply; then the rest is empty."""
    winning_rate: dict[str, Fraction] = {}
    """By who the annotators are, which sets epsilon."""
    advantage: Fraction | None = None
    """The probability that the judge is as good as an annotator or better, on average over annotators."""
    p_values: dict[str, dict[str, Fraction]] = {}
    """By annotator, then as winning_rate; before the correction."""


class Pair(NamedTuple):
    """An annotator and the judge on one item."""

    annotator: str
    human: str
    """The annotator's verdict."""
    judge: str
    others: list[str]
    """The other annotators' verdicts, at least one."""
    unit: str
    """The item's cluster."""


def alt_test(pairs: Sequence[Pair], choices: tuple[str, ...]) -> AltTest:
    import numpy as np
    from scipy.stats import false_discovery_control

    by_name: dict[str, list[Pair]] = {pair.annotator: [] for pair in sorted(pairs)}
    for pair in pairs:
        by_name[pair.annotator].append(pair)
    units = {name: [pair.unit for pair in its] for name, its in by_name.items()}
    tested = [name for name, its in units.items() if len(set(its)) >= CLUSTERS]
    if len(tested) < ANNOTATORS:
        alone = all(len(set(its)) == len(its) for its in units.values())
        items = "items" if alone else "independent items (clusters)"
        return AltTest(
            unmet=f"it needs {ANNOTATORS} annotators with {CLUSTERS} {items} each to compare with the other annotators,"
            f" and {len(tested)} of {len(by_name)} {'has' if len(tested) == 1 else 'have'} that many"
        )
    wins = {name: [_wins(pair, is_scale(choices)) for pair in by_name[name]] for name in tested}
    p_values: dict[str, dict[str, float]] = {name: {} for name in tested}
    rate = {}
    for who, epsilon in EPSILONS.items():
        for name, its in wins.items():
            p_values[name][who] = p_value([human - judge for human, judge in its], units[name], epsilon)
        corrected = false_discovery_control([its[who] for its in p_values.values()], method="by")
        rate[who] = float(np.mean(corrected <= FDR))
    advantage = float(np.mean([np.mean([judge for _, judge in its]) for its in wins.values()]))
    return AltTest(winning_rate=rate, advantage=advantage, p_values=p_values)


def p_value(differences: Sequence[int], units: Sequence[str], epsilon: float) -> float:
    """Of the hypothesis that the mean is at least epsilon; `units` has the cluster of each."""
    import numpy as np
    from scipy.stats import t

    values, places = np.array(differences, float), np.unique(units, return_inverse=True)[1]
    clusters, mean = places.max() + 1, values.mean()
    spread = np.bincount(places, values - mean)
    error = math.sqrt(clusters / (clusters - 1) * (spread**2).sum()) / len(values)
    return float(t.cdf((mean - epsilon) / error, clusters - 1)) if error else float(mean >= epsilon)


def _wins(pair: Pair, scale: bool) -> tuple[int, int]:
    """Whether the annotator is at least as good as the judge, and the judge as the annotator."""
    human, judge = (_score(verdict, pair.others, scale) for verdict in (pair.human, pair.judge))
    return int(human >= judge), int(judge >= human)


def _score(verdict: str, others: Sequence[str], scale: bool) -> float:
    """An invalid answer has the lowest score."""
    if not scale:
        return sum(verdict == other for other in others) / len(others)
    if verdict == INVALID:
        return -math.inf
    return -math.sqrt(sum((int(verdict) - int(other)) ** 2 for other in others) / len(others))
