"""The results of `mtrl study` as Markdown and a plot, between the two markers of docs/study.md.

Outside a clone of mtrl, and for another plan than the one that mtrl ships, they are study.md and study.svg in the
study's own folder. Scores are per cent, differences are points. A study that is not finished says so.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev

from mtrl.core.errors import UserError
from mtrl.core.files import read_text, write_text
from mtrl.demo import study_analysis, study_figures, study_plan, study_results, study_verdict
from mtrl.demo.study_analysis import Correlation, Needed, Scope
from mtrl.demo.study_outcomes import POINTWISE, Outcomes
from mtrl.demo.study_plan import Plan
from mtrl.demo.study_results import STYLES, Results
from mtrl.demo.study_statistics import MOST_SEEDS, power
from mtrl.demo.study_verdict import Comparison, Effect, points, probability

DOCS, PLOT = Path("docs/study.md"), "study.svg"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->"
ASKED = {"sft": "verdict", "rl": "reasoning"}
SHIFTS = list(POINTWISE)
LIMITS = (
    "One world of drawn shapes, and a tiny model that learnt pairs before: nothing here says how large the effect is"
    " for another model or format, or for a format that the base model never saw.",
    "SFT and GRPO have the same rows, but one setting each, which was not tuned, and not the same computation.",
    "Seeds change the training, not the images: the intervals are of other trainings and other captions of this world.",
    "The distance from the base was observed, not set: its correlation with the score is no proof of a cause.",
)


def write(home: Path, plan: Plan) -> Path:
    """Returns the page. Raises UserError as study_results.load, and where one of the markers is missing."""
    pilot = study_analysis.needed(study_results.load(home, plan, plan.pilot), plan)
    results = study_results.load(home, plan, plan.seeds[: pilot.used])
    ours = DOCS.exists() and plan.sha256 == study_plan.load().sha256
    page = DOCS if ours else home / DOCS.name
    text = read_text(DOCS) if ours else f"# Results of {plan.command()}\n\n{BEGIN}{END}\n"
    if (text.count(BEGIN), text.count(END)) != (1, 1):
        raise UserError(f"{page} should have {BEGIN.strip()} and {END}, once each", "write both lines into it")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    write_text(page.with_name(PLOT), study_figures.plot(results, plan))
    write_text(page, "".join([before, BEGIN, *(f"{line}\n" for line in _lines(results, plan, pilot)), END, after]))
    return page


def _lines(results: Results, plan: Plan, pilot: Needed) -> Iterator[str]:
    scope = study_analysis.scope(results, plan, plan.seeds[: pilot.used])
    hours = sum(cell.result.seconds for cell in results.cells.values()) / 3600
    yield from _text(
        f"`{plan.command()}`, plan {plan.sha256[:12]}: {len(results.cells)} trainings with their evaluations,"
        f" {hours:.1f} hours in all, of a resumed one those of its last call. {_pilot(pilot, plan)}"
    )
    if scope.partial:
        done = ", ".join(f"{count} of {len(scope.seeds)} seeds on {base}" for base, count in scope.done.items())
        yield from _text(f"**Not finished: every arm is done for {done}.** The numbers can still change.")
    if not scope.bases:
        return
    yield from ("### Comparisons", "")
    found = study_analysis.comparisons(results, plan, scope.bases)
    claims = [study_verdict.claim(one, plan) for one in found if one.arms == plan.primary]
    yield from _text(claims[0] if scope.finished else "**There are no verdicts before one base is finished.**")
    yield from _table(
        ("X - Y", "difference", "95% interval", "p", "Holm's p", "in-domain", "units", "verdict"),
        (_compared(one, plan, scope.finished) for one in found),
    )
    yield from _text(
        f"Points of pairs right in both orders, on {_listed(scope.bases)}; the first row is the primary endpoint. A"
        f" unit is a seed on a base. *In-domain* is the difference in Macro-F1: over {plan.guard:g}, the guard fails."
        f" Intervals are from {plan.resamples:,} draws of the seeds of each base and of captions, with percentiles that"
        " are expanded for few seeds (Hesterberg 2015)."
    )
    if scope.finished:
        yield from _list(study_verdict.sentence(one, plan) for one in found)
    if effects := study_analysis.factorial(results, plan, scope.bases):
        yield from _text("The 2 x 2 of algorithm and reasoning (A, C, D, E), described, not tested:")
        yield from _table(("effect", "points", "95% interval"), ((e.name, *_estimate(e)) for e in effects))
    yield from _by_base(results, plan)
    yield from ("### Arms", "")
    yield from _text("; ".join(f"{name}: {arm.title}" for name, arm in plan.arms.items()) + ".")
    yield from _table(
        ("arm", "asked for", "right", "given", "swapped", "invalid", "flipped", "wrong", *SHIFTS, "KL", "n"),
        _arms(results, plan, scope),
    )
    yield from _text(
        "Means over seeds, of the base over bases. Of the pairs: right in both orders (with the standard deviation over"
        " seeds), right in one order, and why the others are not right. Then Macro-F1 of the three tasks, and the KL"
        " divergence of answers from the base in nats. **Bold**: asked as it was trained, the score of the arm."
    )
    yield from (f"![Score by arm, over training steps, and over the distance from the base]({PLOT})", "")
    yield from _text(
        "Left: dots are seeds (hollow: a second base), bars their mean, gray bars the base model asked the same way."
        f" Middle: seeds {_listed(map(str, plan.trajectory))}, from the base model on. All asked as trained."
    )
    answers = study_analysis.correlation(results, lambda cell: cell.result.kl)
    tokens = study_analysis.correlation(results, lambda cell: cell.result.kl_per_token)
    yield from _text(f"{_correlated(answers, 'answers')} {_correlated(tokens, 'single tokens')}")
    yield from _text("What these data do not say:")
    yield from _list(LIMITS)


def _pilot(pilot: Needed, plan: Plan) -> str:
    if pilot.deviation is None or pilot.asked is None:
        return f"Without a pilot of two seeds, the study has {pilot.used} seeds, the least that the plan allows."
    x, y = plan.primary
    reached = power(pilot.used, pilot.deviation, plan.margin / 100, plan.alpha) if pilot.deviation else 1.0
    return (
        f"Pilot: {x} - {y} was {', '.join(points(value, '+') for value in pilot.differences)} points, with a standard"
        f" deviation of {points(pilot.deviation)}. To find {plan.margin:g} points with a power of {plan.power:g} takes"
        f" {'at least ' if pilot.asked == MOST_SEEDS else ''}{pilot.asked} seeds; used are {pilot.used} (of"
        f" {plan.least_seeds} to {len(plan.seeds)}), which have a power of {reached:.2f} by that deviation."
    )


def _compared(found: Comparison, plan: Plan, finished: bool) -> tuple[str, ...]:
    p, holm = ("-" if p is None else probability(p).removeprefix("= ") for p in (found.effect.p, found.holm))
    verdict = f"{found.verdict}; guard failed" if found.fails(plan) else found.verdict
    if not finished:
        verdict = "-"
    return (
        found.effect.name, *_estimate(found.effect), p, holm, points(found.guard, "+"),
        str(found.effect.units), verdict,
    )  # fmt: skip


def _estimate(effect: Effect) -> tuple[str, str]:
    interval = "-" if effect.interval is None else " to ".join(points(end, "+") for end in effect.interval)
    return points(effect.value, "+"), interval


def _by_base(results: Results, plan: Plan) -> Iterator[str]:
    bases = [base for base in plan.bases if any(key[0] == base for key in results.cells)]
    if len(bases) < 2:
        return
    rows: dict[str, list[str]] = {}
    for base in bases:
        for x, y in (plan.primary, *plan.secondary):
            one = study_analysis.effect(results, plan, f"{x} - {y}", {x: 1.0, y: -1.0}, [base])
            said = "{} ({}), {} seeds".format(*_estimate(one), one.units) if one else "-"
            rows.setdefault(f"{x} - {y}", []).append(said)
    yield from _text("Each base by itself:")
    yield from _table(("X - Y", *bases), ((name, *cells) for name, cells in rows.items()))


def _arms(results: Results, plan: Plan, scope: Scope) -> Iterator[tuple[str, ...]]:
    for style in STYLES:
        if untrained := [results.zero[base][style] for base in scope.bases if base in results.zero]:
            yield ("base", ASKED[style], *_numbers(untrained), "-", str(len(untrained)))
    for name, arm in plan.arms.items():
        cells = results.of(scope.bases, name, scope.seeds)
        distance = f"{fmean(cell.result.kl for cell in cells):.2f}" if cells else "-"
        for style in STYLES if cells else ():
            own = style == arm.style
            numbers = _numbers([cell.own if own else cell.other for cell in cells])
            row = [name, ASKED[style], *numbers, distance if own else "-", str(len(cells))]
            yield tuple(f"**{text}**" if own and place < 3 else text for place, text in enumerate(row))


def _numbers(found: Sequence[Outcomes]) -> list[str]:
    right = [one.share("right") for one in found]
    spread = f" ± {points(stdev(right))}" if len(right) > 1 else ""
    causes = [fmean(one.share(cause) for one in found) for cause in ("invalid", "flipped", "wrong")]
    orders = [fmean(one.accuracy(order) for one in found) for order in ("given", "turned")]
    shifts = [fmean(one.macro_f1[shift] for one in found) for shift in SHIFTS]
    return [points(fmean(right)) + spread, *map(points, [*orders, *causes, *shifts])]


def _correlated(found: Correlation, name: str) -> str:
    overall, within = ("not defined" if r is None else f"{r:+.2f}" for r in (found.overall, found.within))
    return (
        f"Spearman's correlation of the score with the KL divergence of {name}: {overall} over all {found.n} trainings;"
        f" {within} within the arms of a base."
    )


def _listed(names: Iterable[str]) -> str:
    return " and ".join(names)


def _text(text: str) -> list[str]:
    """A paragraph."""
    return [*_wrapped(text), ""]


def _list(items: Iterable[str]) -> list[str]:
    return [*(line for item in items for line in _wrapped(item, "- ")), ""]


def _wrapped(text: str, bullet: str = "") -> list[str]:
    """In lines of at most 120 columns."""
    return textwrap.wrap(
        text, 120, initial_indent=bullet, subsequent_indent=" " * len(bullet), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]
