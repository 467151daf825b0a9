"""Why not one answer of a judge can be read: three of them, and the likely cause, with what to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mtrl.reward_plugins import judge

SHOWN, LETTERS = 3, 200  # answers, and characters of each
Row = dict[str, Any]


def found(
    rows: Iterable[Row], style: str, choices: Mapping[str, tuple[str, ...]], max_tokens: int | None = None
) -> list[tuple[list[str], list[str], str]]:
    """(tasks, three answers, the likely cause) for each cause; of the tasks in `choices` that have answers, all invalid.

    A row's verdict is null or "invalid" where it has none. Rows without an answer are passed over.
    """
    by_task: dict[str, list[Row]] = {}
    for row in rows:
        if "response" in row:
            by_task.setdefault(row["task"], []).append(row)
    causes: dict[str, list[str]] = {}
    for task, its in by_task.items():
        if task in choices and not any(row["verdict"] in choices[task] for row in its):
            causes.setdefault(_likely_cause(its, style, choices[task], max_tokens), []).append(task)
    return [
        (tasks, _examples([row for task in tasks for row in by_task[task]]), cause) for cause, tasks in causes.items()
    ]


def of_evaluation(identity: dict[str, Any], rows: list[Row]) -> list[tuple[list[str], list[str], str]]:
    """The same for what predictions.load gives."""
    choices = {name: tuple(about["choices"]) for name, about in identity["tasks"].items()}
    return found(rows, identity["style"], choices, identity["sampling"].get("max_tokens"))


def _examples(rows: list[Row]) -> list[str]:
    """Different ones where there are; each on one line, of printable characters, cut."""
    found = dict.fromkeys(" ".join("".join(c if c.isprintable() else " " for c in _text(row)).split()) for row in rows)
    return [text[:LETTERS] + "..." * (len(text) > LETTERS) or "(empty)" for text in list(found)[:SHOWN]]


def _likely_cause(rows: list[Row], style: str, choices: tuple[str, ...], max_tokens: int | None) -> str:
    """A sentence or two, from each row's `response` and `finish_reason`."""

    def most(holds: Callable[[Row], object]) -> bool:
        return 2 * sum(map(bool, map(holds, rows))) >= len(rows)

    words, other = " or ".join(choices), judge.PAIRWISE if tuple(choices) == judge.POINTWISE else judge.POINTWISE
    if most(lambda row: str(row.get("finish_reason")).startswith("rejected")):
        why = next(str(r["finish_reason"]) for r in rows if str(r.get("finish_reason")).startswith("rejected"))
        return f"The judge took none of the requests ({' '.join(why.split())[:LETTERS]})."
    if most(lambda row: not _text(row).strip()):
        return "The answers are empty. A server with a --reasoning-parser keeps the reasoning back: serve without it."
    if style == "sft" and most(lambda row: "<think>" in _text(row) or "<answer>" in _text(row)):
        return "The judge reasons before it answers, but was asked for the bare verdict. Ask it with --style rl."
    if style == "rl" and most(lambda row: judge.parse(_text(row), "sft", choices)):
        return f"The judge answers {words} alone, without <think> and <answer>. Ask it with --style sft."
    if most(lambda row: row.get("finish_reason") == "length"):
        at = f" at {max_tokens:,} tokens" if max_tokens else ""
        then = "Ask it with --style rl, which leaves room for reasoning." if style == "sft" else (
            "It repeats itself, or was trained to reason at greater length."
        )  # fmt: skip
        return f"The answers are cut off{at} before they come to a verdict. {then}"
    if most(lambda row: judge.parse_lenient(_text(row), style, other)):
        return f"The judge answers {' or '.join(other)}, and this task's verdicts are {words}: look at its prompt (mtrl prompts)."
    if most(lambda row: judge.parse_lenient(_text(row), style, choices)):
        return (
            f"The judge names {words}, but out of form, which the strict rule does not read: it was not trained for this"
            " prompt style. The lenient numbers count these answers."
        )
    return (
        f"The answers do not name {words}: the model was not trained for this prompt, or its weights or chat template are"
        " not what they should be."
    )


def _text(row: Row) -> str:
    return str(row.get("response") or "")
