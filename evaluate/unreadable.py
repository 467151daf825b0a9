"""Why not one answer of a judge can be read: examples, and the likely cause with what to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from mtrl.evaluate.identity import Identity
from mtrl.evaluate.metrics.prediction import Prediction
from mtrl.reward_plugins import judge

SHOWN, LETTERS = 3, 200  # answers, and characters of each


class Answered(Protocol):
    """What is read of an answer."""

    @property
    def task(self) -> str: ...

    @property
    def response(self) -> str: ...

    @property
    def verdict(self) -> str | None:
        """None or "invalid" where there is none."""

    @property
    def finish_reason(self) -> str: ...


class Unreadable(NamedTuple):
    """Tasks without one answer that can be read, for the same reason."""

    tasks: list[str]
    answers: list[str]
    """A few of the answers, each on one line."""
    cause: str
    """The likely cause, in a sentence or two."""


def found(
    rows: Iterable[Answered], style: str, choices: Mapping[str, tuple[str, ...]], max_tokens: int | None = None
) -> list[Unreadable]:
    """One per cause, of the tasks in `choices` (task -> its verdicts) that have answers, all of them invalid."""
    by_task: dict[str, list[Answered]] = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row)
    causes: dict[str, list[str]] = {}
    for task, its in by_task.items():
        if task in choices and not any(row.verdict in choices[task] for row in its):
            causes.setdefault(_likely_cause(its, style, choices[task], max_tokens), []).append(task)
    return [
        Unreadable(tasks, _examples([row for task in tasks for row in by_task[task]]), cause)
        for cause, tasks in causes.items()
    ]


def of_evaluation(identity: Identity, rows: Iterable[Prediction]) -> list[Unreadable]:
    """The same for what predictions.load gives."""
    choices = {name: asked.choices for name, asked in identity.tasks.items()}
    return found(rows, identity.style, choices, identity.sampling.max_tokens)


def _examples(rows: Iterable[Answered]) -> list[str]:
    """Different ones where there are; each on one line, of printable characters, cut."""
    lines = ("".join(c if c.isprintable() else " " for c in row.response) for row in rows)
    different = dict.fromkeys(" ".join(line.split()) for line in lines)
    return [text[:LETTERS] + "..." * (len(text) > LETTERS) or "(empty)" for text in list(different)[:SHOWN]]


def _likely_cause(rows: Sequence[Answered], style: str, choices: tuple[str, ...], max_tokens: int | None) -> str:
    def most(holds: Callable[[Answered], object]) -> bool:
        return 2 * sum(bool(holds(row)) for row in rows) >= len(rows)

    words = judge.said(choices)
    other = judge.PAIRWISE if tuple(choices) == judge.POINTWISE else judge.POINTWISE
    rejected = [row.finish_reason for row in rows if row.finish_reason.startswith("rejected")]
    if 2 * len(rejected) >= len(rows):
        return f"The judge took none of the requests ({' '.join(rejected[0].split())[:LETTERS]})."
    if most(lambda row: not row.response.strip()):
        return (
            "The answers are empty: the model was not trained for this prompt, or a server with a --reasoning-parser"
            " keeps the reasoning back (serve without it)."
        )
    if style == "sft" and most(lambda row: "<think>" in row.response or "<answer>" in row.response):
        return "The judge reasons before it answers, but was asked for the bare verdict. Ask it with --style rl."
    if style == "rl" and most(lambda row: judge.parse(row.response, "sft", choices)):
        return f"The judge answers {words} alone, without <think> and <answer>. Ask it with --style sft."
    if most(lambda row: row.finish_reason == "length"):
        at = f" at {max_tokens:,} tokens" if max_tokens else ""
        then = "The judge repeats itself, or was trained to reason at greater length."
        if style == "sft":
            then = "Ask it with --style rl, which leaves room for reasoning."
        return f"The answers are cut off{at} before they come to a verdict. {then}"
    if most(lambda row: judge.parse_lenient(row.response, style, other)):
        return (
            f"The judge answers {' or '.join(other)}, and this task's verdicts are {words}: check its prompt"
            " (mtrl prompts)."
        )
    if most(lambda row: judge.parse_lenient(row.response, style, choices)):
        return (
            f"The judge names {words}, but not in the required form, so the strict rule does not read it: it was not"
            " trained for this prompt style. The lenient numbers count these answers."
        )
    return (
        f"The answers do not name {words}: the model was not trained for this prompt, or its weights or chat template"
        " are wrong."
    )
