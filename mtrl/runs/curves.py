"""The curves of a run: which there are, by which keys each trainer logs them, and what each is of.

CURVES is the one table of them. Trainers call three numbers accuracy, and each is a curve of its own here: of verdicts
in rollouts, of verdicts on the val split, and LLaMA-Factory's of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from mtrl.backends import logs
from mtrl.core.run_files import Selected
from mtrl.evaluate.html.points import Point
from mtrl.evaluate.html.trained import Curve, Values

Stage = Literal["sft", "rl"]


class Logged(NamedTuple):
    """A curve and where it is in metrics.jsonl."""

    curve: Curve
    stages: tuple[Stage, ...]
    keys: tuple[str, ...]
    """Of all tasks together: the first that the run has counts. Empty: it is logged by task only."""
    by_task: str = ""
    """The key of one task is this and the task's name."""
    part_of: str = ""
    """Other curves with the same word here are the same subject: it is absent if none of them is logged."""
    needs: str = ""
    """On what it depends whether it is logged."""


def _shared(title: str, group: Literal["Validation", "Rollouts"], meaning: str, from_zero: bool = True) -> Curve:
    return Curve(title, group, "per cent", meaning, from_zero, exact=group == "Validation")


def _value(title: str, unit: Literal["nats", ""], meaning: str, from_zero: bool = False, exact: bool = False) -> Curve:
    return Curve(title, "Optimization", unit, meaning, from_zero, exact)


CURVES = (
    Logged(_shared("Validation verdict accuracy", "Validation",
                   "Right verdicts in generated answers to the val split, by the trainer's own validation.",
                   from_zero=False),
           ("rl",), ("eval_accuracy",), "eval_accuracy_"),
    Logged(_shared("Validation token accuracy", "Validation",
                   "LLaMA-Factory's: tokens of the answer, each predicted from the right ones before it, on the val"
                   " split (of sft_traces: training rows held out). Not of verdicts: mtrl select measures those.",
                   from_zero=False),
           ("sft",), ("eval_accuracy",)),
    Logged(Curve("Validation loss", "Validation", "nats",
                 "Cross-entropy of the answer's tokens, on the same rows as token accuracy.", exact=True),
           ("sft",), ("eval_loss",)),
    Logged(Curve("Validation reward", "Validation", "", "Mean reward of generated answers, from 0 to 1.", exact=True,
                 bounded=True),
           ("rl",), ("eval_reward",), "eval_reward_"),
    Logged(_shared("Validation format", "Validation", "Generated answers in the form that the prompt asks for.",
                   from_zero=False),
           ("rl",), ("eval_format",), "eval_format_"),
    Logged(_shared("Validation invalid", "Validation", "Generated answers without a readable verdict; they are wrong."),
           ("rl",), (), "eval_invalid_"),
    Logged(_shared("Validation first choice", "Validation",
                   "Verdicts that are the task's first choice, such as yes. At 0% or 100% the judge always says the"
                   " same."),
           ("rl",), (), "eval_yes_rate_"),
    Logged(Curve("Reward in rollouts", "Rollouts", "", "Mean reward of the sampled answers, from 0 to 1.",
                 bounded=True),
           ("rl",), ("reward",)),
    Logged(_shared("Verdict accuracy in rollouts", "Rollouts",
                   "Right verdicts in the sampled answers to training rows. Not validation.", from_zero=False),
           ("rl",), ("accuracy",), "accuracy_"),
    Logged(_shared("Format in rollouts", "Rollouts", "Sampled answers in the form that the prompt asks for.",
                   from_zero=False),
           ("rl",), ("format",), "format_"),
    Logged(_shared("Invalid in rollouts", "Rollouts", "Sampled answers without a readable verdict."),
           ("rl",), (), "invalid_"),
    Logged(_shared("First choice in rollouts", "Rollouts",
                   "Sampled verdicts that are the task's first choice, such as yes."),
           ("rl",), (), "yes_rate_"),
    Logged(_shared("Prompts without variance", "Rollouts",
                   "Prompts whose answers all have the same reward: they teach nothing."),
           ("rl",), ("frac_reward_zero_std",), "zero_variance_"),
    Logged(Curve("Length of answers", "Rollouts", "tokens", "Mean length of the sampled answers."),
           ("rl",), ("completions/mean_length", "response_length/mean"), "length_"),
    Logged(_value("Training loss (SFT)", "nats", "Cross-entropy of the answer's tokens, by LLaMA-Factory."),
           ("sft",), ("loss",)),
    Logged(_value("Training loss (GRPO)", "",
                  "TRL's: of the policy, with the KL term and a mixture's router term. It does not say how good the"
                  " judge is."),
           ("rl",), ("loss",), part_of="loss"),
    Logged(_value("Policy loss (GRPO)", "", "Without the KL term. It does not say how good the judge is."),
           ("rl",), ("policy_loss",), part_of="loss"),
    Logged(_value("KL from the base model", "nats", "Estimate of the mean over the sampled tokens.", from_zero=True),
           ("rl",), ("kl",), needs="a trainer logs it where rl.kl_coef is above 0"),
    Logged(_value("Entropy", "nats", "Of the next token, mean over the sampled tokens; EasyR1 estimates it.", True),
           ("rl",), ("entropy", "actor/entropy_loss")),
    Logged(Curve("Clip fraction", "Optimization", "per cent",
                 "Tokens whose policy ratio was clipped (rl.clip_low, rl.clip_high).", from_zero=True),
           ("rl",), ("clip_fraction", "clip_ratio/region_mean")),
    Logged(_value("Correlation of sampler and trainer", "",
                  "Pearson's, of the probabilities that vLLM and the trainer give the sampled tokens. Normal: 0.95 or"
                  " more."),
           ("rl",), (logs.CORRELATION,), part_of="sampler/trainer gap",
           needs="verl logs it, and TRL where vLLM samples"),
    Logged(_value("Difference of sampler and trainer", "",
                  "Mean absolute difference of the probabilities of the sampled tokens. Normal: up to 0.01.", True),
           ("rl",), (logs.PROBABILITY,), part_of="sampler/trainer gap"),
    Logged(_value("Log difference of sampler and trainer", "nats",
                  "Mean absolute difference of the log-probabilities of the sampled tokens. Normal: up to 0.05.", True),
           ("rl",), (logs.LOG_PROBABILITY,), part_of="sampler/trainer gap"),
    Logged(_value("Learning rate", "", "Of the last update of the step.", from_zero=True, exact=True),
           ("sft", "rl"), ("learning_rate",)),
)  # fmt: skip
SELECTED = {
    by: _shared(f"Validation {name} by mtrl select", "Validation",
                f"{name[0].upper()}{name[1:]} of each kept checkpoint on the val split, mean over the tasks.",
                from_zero=False)
    for by, name in {"accuracy": "verdict accuracy", "macro_f1": "Macro-F1 of verdicts"}.items()
}  # fmt: skip

ORDER = (*SELECTED.values(), *(one.curve for one in CURVES))


def logged(rows: Sequence[dict[str, Any]], stage: Stage, tasks: Sequence[str]) -> Iterator[Values]:
    """The curves that `rows` have, in the order of the table. `rows` are in order of their steps."""
    for one in CURVES:
        if stage in one.stages:
            yield from _values(rows, one.curve, "", one.keys)
            for task in tasks if one.by_task else ():
                yield from _values(rows, one.curve, task, [one.by_task + task])


def _values(rows: Sequence[dict[str, Any]], curve: Curve, task: str, keys: Sequence[str]) -> Iterator[Values]:
    for key in keys:
        points: list[Point] = [(row["step"], row[key]) for row in rows if type(row.get(key)) in (int, float)]
        if points:
            yield Values(curve, task, points)
            return


def absent(found: Sequence[Values], stage: Stage) -> list[str]:
    """What is not in `found` though a run of this stage could have it, with what that depends on."""
    titles = {values.curve.title for values in found}
    missing: dict[str, str] = {}
    for one in CURVES:
        subject = one.part_of or one.curve.title
        family = [
            other for other in CURVES if stage in other.stages and (other.part_of or other.curve.title) == subject
        ]
        if family and not any(other.curve.title in titles for other in family):
            missing.setdefault(subject, one.needs)
    return [f"{subject}{f' ({needs})' if needs else ''}" for subject, needs in missing.items()]


def of_select(chosen: Selected) -> Values:
    """The scores of `mtrl select`."""
    points = sorted((int(step), score) for step, score in chosen.scores.items())
    return Values(SELECTED[chosen.by], "", points)
