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
from collections.abc import Mapping, Sequence

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


def alt_test(
    judge: Mapping[str, str],
    people: Mapping[str, Mapping[str, str]],
    choices: tuple[str, ...],
    units: Mapping[str, str],
) -> AltTest:
    """`judge` and each of `people` have verdicts by item; `units` has the cluster of an item."""
    import numpy as np
    from scipy.stats import false_discovery_control

    compared = {name: _compared(name, judge, people, choices) for name in people}
    tested = {name: rows for name, rows in compared.items() if len({units[item] for item in rows}) >= CLUSTERS}
    if len(tested) < ANNOTATORS:
        independent = "items" if len(set(units.values())) == len(units) else "independent items (clusters)"
        return AltTest(
            unmet=f"it needs {ANNOTATORS} annotators with {CLUSTERS} {independent} each that another labelled too, and "
            f"{len(tested)} of {len(people)} {'has' if len(tested) == 1 else 'have'} that many"
        )
    p_values: dict[str, dict[str, float]] = {name: {} for name in tested}
    rate = {}
    for who, epsilon in EPSILONS.items():
        for name, rows in tested.items():
            differences = [human - machine for machine, human in rows.values()]
            p_values[name][who] = p_value(differences, [units[item] for item in rows], epsilon)
        corrected = false_discovery_control([its[who] for its in p_values.values()], method="by")
        rate[who] = float(np.mean(corrected <= FDR))
    wins = [np.mean([machine for machine, _ in rows.values()]) for rows in tested.values()]
    return AltTest(winning_rate=rate, advantage=float(np.mean(wins)), p_values=p_values)


def p_value(differences: Sequence[int], units: Sequence[str], epsilon: float) -> float:
    """Of the hypothesis that the mean is at least epsilon; `units` has the cluster of each."""
    import numpy as np
    from scipy.stats import t

    values, places = np.array(differences, float), np.unique(units, return_inverse=True)[1]
    clusters, mean = places.max() + 1, values.mean()
    spread = np.bincount(places, values - mean)
    error = math.sqrt(clusters / (clusters - 1) * (spread**2).sum()) / len(values)
    return float(t.cdf((mean - epsilon) / error, clusters - 1)) if error else float(mean >= epsilon)


def _compared(
    name: str, judge: Mapping[str, str], people: Mapping[str, Mapping[str, str]], choices: tuple[str, ...]
) -> dict[str, tuple[int, int]]:
    """By item that this annotator and another labelled: whether the judge is at least as good, and the annotator."""
    found = {}
    for item, verdict in people[name].items():
        others = [its[item] for other, its in people.items() if other != name and item in its]
        if others and item in judge:
            machine, human = (_score(said, others, is_scale(choices)) for said in (judge[item], verdict))
            found[item] = int(machine >= human), int(human >= machine)
    return found


def _score(verdict: str, others: Sequence[str], scale: bool) -> float:
    """An invalid answer has the lowest score."""
    if not scale:
        return sum(verdict == other for other in others) / len(others)
    if verdict == INVALID:
        return -math.inf
    return -math.sqrt(sum((int(verdict) - int(other)) ** 2 for other in others) / len(others))
