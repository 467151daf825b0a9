"""The points of a line as they are drawn: cut where a value is not finite, smoothed by a trailing mean, and thinned.

A line of ten thousand steps is drawn with MOST points: of each stretch the lowest and the highest, so no spike is lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

MOST = 240  # points of one line that are drawn
FEW = 40  # up to this many values, a line has a dot for each and no mean
BEYOND = 1e30  # a larger number is no measurement, and has no place on an axis

Point = tuple[int, float]
"""Step and value."""
VALUE = itemgetter(1)


class Drawn(NamedTuple):
    """What of a line's values is drawn."""

    each: list[list[Point]]
    """The values, thinned. A new list begins after each gap."""
    mean: list[list[Point]]
    """The means of the last `window` values since a gap, thinned alike; empty where there is no mean."""
    window: int
    """1: no mean."""
    gaps: list[int]
    """The steps whose value is not finite."""
    total: int
    """All values that are finite."""

    @property
    def main(self) -> list[list[Point]]:
        """The strong line."""
        return self.mean or self.each

    @property
    def thinned(self) -> bool:
        return sum(map(len, self.each)) < self.total


def window(most: int) -> int:
    """How many values the mean of a chart has, whose longest line has `most` values."""
    return 1 if most <= FEW else most // 20


def drawn(points: Sequence[Point], window: int = 1) -> Drawn:
    """`points` are in order of their steps."""
    whole: list[list[Point]] = [[]]
    gaps = []
    for step, value in points:
        if -BEYOND < value < BEYOND:  # not so for NaN
            whole[-1].append((step, value))
        else:
            gaps.append(step)
            whole.append([])
    parts = [part for part in whole if part]
    total = sum(map(len, parts))
    stretch = 1 if total <= MOST else 2 * math.ceil(total / MOST)
    means = [thin(_means(part, window), stretch) for part in parts] if window > 1 else []
    return Drawn([thin(part, stretch) for part in parts], means, window, gaps, total)


def thin(points: Sequence[Point], stretch: int) -> list[Point]:
    """The lowest and the highest of every `stretch` points, and the first and the last of all."""
    if stretch <= 1:
        return list(points)
    kept = {points[0], points[-1]}
    for start in range(0, len(points), stretch):
        part = points[start : start + stretch]
        kept |= {min(part, key=VALUE), max(part, key=VALUE)}
    return sorted(kept)


def _means(points: Sequence[Point], window: int) -> list[Point]:
    found, total = [], 0.0
    for n, (step, value) in enumerate(points):
        left = points[n - window][1] if n >= window else 0.0
        total += value - left
        if abs(left) > 1e6 * abs(total):  # next to a spike the others were rounded off
            total = math.fsum(value for _, value in points[max(0, n - window + 1) : n + 1])
        found.append((step, total / min(n + 1, window)))
    return found


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Round numbers at equal distances: the first is at most `low`, the last at least `high`."""
    if high - low <= max(1 / BEYOND, 1e-9 * max(abs(low), abs(high))):  # one value, or the same but for rounding
        pad = abs(high) / 10 if abs(high) > 1 / BEYOND else 0.01
        low, high = low - pad, high + pad
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    gap = next(power * times for times in (1, 2, 2.5, 5, 10) if power * times >= rough * 0.999)
    return [n * gap for n in range(math.floor(low / gap + 1e-9), math.ceil(high / gap - 1e-9) + 1)]


def whole_ticks(low: int, high: int, most: int = 5) -> list[int]:
    """Round whole numbers from `low` to `high`, none outside."""
    if high - low < most:
        return list(range(low, high + 1))
    gap = max(1, round(ticks(low, high, most)[1] - ticks(low, high, most)[0]))
    return list(range(-(-low // gap) * gap, high + 1, gap))
