"""Charts: well-formed SVG, with each mark where its number says."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtrl.evaluate.html import charts, points
from mtrl.evaluate.metrics.calibration import Bin
from mtrl.evaluate.metrics.selective import RiskPoint
from mtrl.evaluate.metrics.task import VotesPoint

share = st.floats(0, 1)


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def of(svg: ET.Element, tag: str, kind: str) -> list[ET.Element]:
    return [e for e in svg.iter(tag) if e.get("class") == kind]


@given(share, share, share)
def test_an_interval_lies_in_its_picture(value: float, low: float, high: float) -> None:
    svg = parsed(charts.interval(value, min(low, value), max(high, value), {"baseline": low}))
    width = float(svg.attrib["width"])
    assert svg.get("role") == "img" and charts.percent(value) in svg.attrib["aria-label"]
    for line in svg.iter("line"):
        assert 0 <= float(line.attrib["x1"]) <= float(line.attrib["x2"]) <= width
    assert of(svg, "line", "mark")[0].findtext("title") == f"baseline {charts.percent(low)}"


def test_an_interval_is_to_scale() -> None:
    svg = parsed(charts.interval(0.5, 0.25, 0.75))
    ends = [float(e.attrib["x1"]) for e in of(svg, "line", "axis")][1:]
    (bar,), (dot,) = of(svg, "line", "range"), of(svg, "circle", "dot")
    span = ends[2] - ends[0]
    assert (float(dot.attrib["cx"]) - ends[0]) / span == pytest.approx(0.5)
    assert (float(bar.attrib["x2"]) - float(bar.attrib["x1"])) / span == pytest.approx(0.5)
    turned = parsed(charts.interval(0.0, -0.1, 0.1, ends=(-0.2, 0.2)))
    assert float(of(turned, "circle", "dot")[0].attrib["cx"]) == pytest.approx(float(dot.attrib["cx"]))


def test_reliability_puts_a_calibrated_bin_on_the_diagonal() -> None:
    bins = [
        Bin(low=0.6, high=0.667, n=10, confidence=0.65, accuracy=0.65),
        Bin(low=0.933, high=1.0, n=40, confidence=0.97, accuracy=0.7),
    ]
    svg = parsed(charts.reliability(bins))
    (ideal,), dots, counts = of(svg, "line", "ideal"), of(svg, "circle", "dot"), of(svg, "rect", "count")
    x1, y1, x2, y2 = (float(ideal.attrib[k]) for k in ("x1", "y1", "x2", "y2"))
    away = [
        float(dot.attrib["cy"]) - (y1 + (y2 - y1) * (float(dot.attrib["cx"]) - x1) / (x2 - x1)) for dot in dots
    ]  # downwards
    assert abs(away[0]) < 0.2 and away[1] == pytest.approx(0.27 * charts.PLOT, abs=0.2)
    assert float(counts[1].attrib["height"]) == pytest.approx(4 * float(counts[0].attrib["height"]), rel=0.02)
    assert [dot.findtext("title") for dot in dots][1] == "confidence 97.0: 70.0 right, 40 answers"


@given(st.lists(st.fixed_dictionaries({"n": st.integers(0, 9), "confidence": share, "accuracy": share}), max_size=5))
def test_reliability_of_anything_is_a_picture(found: list[dict[str, float]]) -> None:
    svg = parsed(charts.reliability([Bin(**b, low=0.2 * i, high=0.2 * i + 0.2) for i, b in enumerate(found)]))
    assert len(of(svg, "circle", "dot")) == sum(b["n"] > 0 for b in found)


@given(st.lists(share, min_size=1, max_size=9))
def test_votes_of_anything_stay_in_the_plot(scores: list[float]) -> None:
    points = [VotesPoint(votes=k, macro_f1=s, invalid_rate=0.0) for k, s in enumerate(scores, 1)]
    dots = of(parsed(charts.votes(points)), "circle", "dot")
    assert len(dots) == len(scores)
    for dot in dots:
        assert charts.LEFT <= float(dot.attrib["cx"]) <= charts.LEFT + charts.PLOT + 0.1
        assert charts.TOP - 0.1 <= float(dot.attrib["cy"]) <= charts.TOP + charts.PLOT + 0.1
    heights = [-float(dot.attrib["cy"]) for dot in dots]
    assert scores.index(max(scores)) in [i for i, h in enumerate(heights) if h >= max(heights) - 0.11]


def test_numbers_that_are_not_there() -> None:
    assert [charts.percent(x) for x in (None, float("nan"), 0.12345)] == ["-", "-", "12.3"]
    assert charts.percent(0.12345, 2) in ("12.34", "12.35")


@given(st.lists(st.tuples(share, share, share), min_size=1, max_size=40))
def test_error_over_coverage_of_anything_stays_in_the_plot(found: list[tuple[float, float, float]]) -> None:
    svg = parsed(charts.risk([RiskPoint(*point) for point in found]))
    dots = of(svg, "circle", "dot")
    assert len(dots) == len(found)
    for dot in dots:
        assert charts.LEFT - 0.1 <= float(dot.attrib["cx"]) <= charts.LEFT + charts.PLOT + 0.1
        assert charts.TOP - 0.1 <= float(dot.attrib["cy"]) <= charts.TOP + charts.PLOT + 0.1


finite = st.floats(-1e29, 1e29, allow_nan=False)


@given(finite, finite)
def test_ticks_hold_every_value(a: float, b: float) -> None:
    low, high = sorted((a, b))
    ticks = points.ticks(low, high)
    slack = 1e-6 * (ticks[-1] - ticks[0])
    assert ticks == sorted(ticks) and 2 <= len(ticks) <= 7
    assert ticks[0] <= low + slack and ticks[-1] >= high - slack


def test_ticks_are_round() -> None:
    assert points.ticks(0.0, 1.0) == [0.0, 0.25, 0.5, 0.75, 1.0] and points.ticks(0.0, 0.0)[0] < 0
    assert points.ticks(13, 188) == [0, 50, 100, 150, 200]
    assert points.whole_ticks(13, 188) == [50, 100, 150] and points.whole_ticks(2, 4) == [2, 3, 4]
    assert points.whole_ticks(7, 7) == [7]


@given(st.lists(st.one_of(share, st.just(float("nan")), st.just(float("inf"))), max_size=3 * points.MOST))
def test_what_is_drawn_of_any_values(values: list[float]) -> None:
    found = points.drawn(list(enumerate(values)), window=3)
    whole = [(step, value) for step, value in enumerate(values) if value < 2]
    shown = [point for part in found.each for point in part]
    assert found.total == len(whole) and [*found.gaps, *(step for step, _ in whole)].__len__() == len(values)
    assert set(shown) <= set(whole) and all(len(part) for part in found.each)
    for end in (min, max):
        assert not whole or end(value for _, value in shown) == end(value for _, value in whole)
    assert found.thinned == (len(shown) < len(whole)) and (found.thinned or shown == whole)
    gaps = set(found.gaps)
    for part in found.each:
        assert not gaps & set(range(part[0][0], part[-1][0]))  # no line goes over a gap
    assert all(0 <= value <= 1 for part in found.mean for _, value in part) or not whole


def test_the_mean_is_of_the_last_values() -> None:
    (mean,) = points.drawn([(1, 0.0), (2, 1.0), (3, 0.5), (9, 0.0)], window=2).mean
    assert mean == [(1, 0.0), (2, 0.5), (3, 0.75), (9, 0.25)]
    (mean,) = points.drawn([(1, 1e20), (2, 0.25), (3, 0.5), (4, 0.75)], window=2).mean
    assert mean[2:] == [(3, 0.375), (4, 0.625)]
