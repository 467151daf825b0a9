"""What a comparison of the study means, by the rules of docs/study.md, and the sentences that say it.

Of X - Y in the share of pairs right in both orders:

    supported                 the interval is above 0, p < alpha, and the estimate is at least the margin
    smaller than the margin   the same, but the estimate is below the margin
    opposite                  the interval is below 0, and p < alpha
    not shown                 everything else

p is the sign-flip test's; for a secondary comparison, adjusted by Holm. Where the two arms differ by more than the
guard in domain, the verdict says that the difference may be one of how much was learnt.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from mtrl.demo.study_plan import Plan

Verdict = Literal["supported", "smaller than the margin", "opposite", "not shown"]
CHANGES = {  # what differs between two arms
    ("E", "A"): "GRPO with reasoning instead of SFT on bare verdicts (the paper's comparison)",
    ("D", "A"): "GRPO instead of SFT, both on bare verdicts (the algorithm alone)",
    ("C", "A"): "SFT on reasoning instead of bare verdicts (the reasoning alone)",
    ("E", "C"): "GRPO instead of SFT, both with reasoning (the algorithm alone)",
    ("B", "A"): "Eight paraphrased prompts instead of one (the prompts alone)",
}


class Effect(NamedTuple):
    """An estimate over units; fractions."""

    name: str
    units: int
    """Seeds, over all bases."""
    value: float
    interval: tuple[float, float] | None
    """95%; None for fewer than two seeds of a base."""
    p: float
    """Of the exact sign-flip test, two-sided."""


class Comparison(NamedTuple):
    """X - Y."""

    arms: tuple[str, str]
    effect: Effect
    holm: float | None
    """p adjusted over the secondary comparisons; None for the primary one."""
    guard: float
    """In-domain Macro-F1, X - Y."""
    verdict: Verdict

    def fails(self, plan: Plan) -> bool:
        """Whether the two are further apart in domain than the guard."""
        return round(abs(self.guard), 9) > plan.guard / 100


def judged(arms: tuple[str, str], effect: Effect, holm: float | None, guard: float, plan: Plan) -> Comparison:
    """With its verdict."""
    return Comparison(arms, effect, holm, guard, _verdict(effect, effect.p if holm is None else holm, plan))


def _verdict(effect: Effect, p: float, plan: Plan) -> Verdict:
    if effect.interval is None or p >= plan.alpha or effect.interval[0] <= 0 <= effect.interval[1]:
        return "not shown"
    if effect.value < 0:
        return "opposite"
    return "supported" if round(effect.value, 9) >= plan.margin / 100 else "smaller than the margin"


def sentence(found: Comparison, plan: Plan) -> str:
    """What one comparison shows, and what it does not."""
    (x, y), effect = found.arms, found.effect
    more = "more" if effect.value >= 0 else "fewer"
    change = CHANGES.get(found.arms, f"{plan.arms[x].title} instead of {plan.arms[y].title}")
    text = f"**{effect.name}, {found.verdict}.** {change}: {points(abs(effect.value))} points {more} pairs right"
    if effect.interval is None:
        return f"{text}; {effect.units} seed{'s are' if effect.units > 1 else ' is'} too few for an interval."
    low, high = effect.interval
    adjusted = "" if found.holm is None else f", after Holm {probability(found.holm)}"
    text += f" (95% interval {points(low, '+')} to {points(high, '+')}; p {probability(effect.p)}{adjusted})."
    return " ".join([text, *_limits(found.verdict, low, high, plan), *_guarded(found, plan)])


def _limits(verdict: Verdict, low: float, high: float, plan: Plan) -> list[str]:
    """What the interval leaves open."""
    margin = plan.margin / 100
    if verdict == "supported" and low < margin:
        return [f"The interval also has differences below the margin of {plan.margin:g} points."]
    if verdict == "smaller than the margin":
        open_ = "has larger ones too" if high >= margin else "excludes the margin"
        return [f"That is below the margin of {plan.margin:g} points; the interval {open_}."]
    if verdict == "not shown":
        if -margin < low and high < margin:
            return [f"A difference of {plan.margin:g} points or more is excluded."]
        return [f"That is no proof of equality: the interval has differences of {plan.margin:g} points and more."]
    return []


def _guarded(found: Comparison, plan: Plan) -> list[str]:
    if not found.fails(plan):
        return []
    return [
        f"**Guard failed:** in-domain Macro-F1 differs by {points(found.guard, '+')} points, more than {plan.guard:g},"
        " so the difference on pairs may be one of how much was learnt."
    ]


def claim(primary: Comparison, plan: Plan) -> str:
    """The paper's claim in the light of the primary comparison."""
    x, y = primary.arms
    text = {
        "supported": f"The data support the claim in this world: {x} has clearly more unseen pairs right than {y}.",
        "smaller than the margin": (
            f"The data show a weak form of the claim: {x} has more unseen pairs right than {y}, but by less than the"
            f" {plan.margin:g} points that were fixed beforehand as the smallest difference that matters."
        ),
        "opposite": f"The data contradict the claim in this world: {y} has more unseen pairs right than {x}.",
        "not shown": f"The data do not show the claim: what {x} and {y} differ by on unseen pairs may be chance.",
    }[primary.verdict]
    return " ".join([f"**{text}**", *_guarded(primary, plan)])


def points(value: float, sign: str = "") -> str:
    """A fraction in points: 0.123 is 12.3."""
    return f"{100 * value:{sign}.1f}"


def probability(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
