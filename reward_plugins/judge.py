"""The reward of MT-RL-Judge, and the only verdict parser of this project.

Contract: one self-contained file, standard library only. EasyR1, verl and TRL load it by path; evaluation imports it.
No response raises an error: one that is not text scores 0. A malformed ground truth raises ValueError, because a reward
that is always 0 would hide it.

    R = (1 - a) * R_accuracy + a * R_format

[P] Eq. 2-4 of arXiv 2603.11665. [O] a = 0.1: the paper has no value; EasyR1's examples/reward_function/math.py has 0.1.
[O] R_accuracy is 1 only where the format is right too: a response in another form has no verdict.
With score_reward "linear", a verdict on a scale gets 1 - |verdict - label| / (highest - lowest) in place of R_accuracy
([S] graded rewards on such scales: Q-Insight, VisualQuality-R1; [O] the linear form; default "exact").

Styles: in "sft" the reply is the bare verdict. In "rl" it is one non-empty <think>...</think>, then one
<answer>verdict</answer>, with nothing but white space around them. Case and one full stop after the verdict are
ignored. A ground truth is the JSON text {"task", "label", "id"}: EasyR1 gives a reward function nothing else of a row.
It has "choices" too where they are not yes and no, or 1 and 2. At least three integers are a scale.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

REWARD_NAME = "judge"
REWARD_TYPE = "batch"  # EasyR1 calls compute_score once per batch, with a list

FORMAT_WEIGHT = 0.1  # a, see above
POINTWISE = ("yes", "no")
PAIRWISE = ("1", "2")
TIE = "tie"  # the third verdict of a pairwise task with ties
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
LISTED = 11  # a scale with more verdicts is named by its ends
LONGEST = 40  # characters of a verdict, with white space and full stop
ENDS = " \t\r\n\"'`*.,:;!()[]{}"  # what the lenient parse removes around a verdict
_TAG = re.compile("</?(?:think|answer)>")  # one pass over the text, as fast as a search for "<"


class Reading(NamedTuple):
    """One response as `read` understands it."""

    verdict: str | None
    """One of the choices; None where the response has none: an invalid answer."""
    well_formed: bool
    """Whether it has the form of its style."""
    reason: str
    """Why there is no verdict; "" where there is one."""


class Truth(NamedTuple):
    """A ground truth."""

    task: str
    label: str
    """The right verdict."""
    id: str
    """The sample's id: responses with the same task and id are one group of GRPO."""
    choices: tuple[str, ...]
    """The task's verdicts."""


def is_scale(choices: Sequence[str]) -> bool:
    """Whether the verdicts are the integers of a score task. A pair's 1 and 2 are not: a scale has at least three."""
    return len(choices) > 2 and all(choice.isdecimal() for choice in choices)


def said(choices: Sequence[str]) -> str:
    """The verdicts in words: "yes or no", "1, 2 or tie", "0 to 100"."""
    if is_scale(choices) and len(choices) > LISTED:
        return f"{choices[0]} to {choices[-1]}"
    return " or ".join([", ".join(choices[:-1]), choices[-1]])


def _verdict(text: str, choices: tuple[str, ...]) -> str | None:
    """The choice that the text is, or None."""
    text = text.strip()
    if len(text) > LONGEST:
        return None
    text = text.removesuffix(".").rstrip().casefold()
    return text if text in choices else None


def read(response: Any, style: str, choices: tuple[str, ...] = POINTWISE) -> Reading:
    """One response by the strict rule of its style. Raises ValueError for an unknown style."""
    if not isinstance(response, str):
        return Reading(None, False, f"not a text but {type(response).__name__}")
    if style == "sft":
        verdict = _verdict(response, choices)
        return Reading(verdict, verdict is not None, "" if verdict else f"not a bare {said(choices)}")
    if style != "rl":
        raise ValueError(f"style {style!r} is neither sft nor rl")
    text = response.strip()
    found = _TAG.findall(text)
    for tag in TAGS:
        if (times := found.count(tag)) != 1:
            return Reading(None, False, f"{tag} occurs {times} times, not once")
    if not text.startswith("<think>"):
        return Reading(None, False, "text before <think>")
    if not text.endswith("</answer>"):
        return Reading(None, False, "text after </answer>")
    think_end, answer = text.find("</think>"), text.find("<answer>")
    if answer < think_end:
        return Reading(None, False, "<answer> inside <think>")
    if text[think_end + len("</think>") : answer].strip():
        return Reading(None, False, "text between </think> and <answer>")
    if not text[len("<think>") : think_end].strip():
        return Reading(None, False, "empty <think>")
    verdict = _verdict(text[answer + len("<answer>") : -len("</answer>")], choices)
    return Reading(verdict, True, "" if verdict else f"the answer is not {said(choices)}")


def parse(response: Any, style: str, choices: tuple[str, ...] = POINTWISE) -> str | None:
    """The verdict of a response by the strict rule of its style; None where it has none, which is never guessed."""
    return read(response, style, choices).verdict


def parse_lenient(response: Any, style: str, choices: tuple[str, ...] = POINTWISE) -> str | None:
    """The verdict after repairs; shown next to the strict one, never instead of it. Tried in this order:

    1. The strict rule.
    2. In either style: the last <answer>, closed or not; else the text after the last </think>; else the whole text.
       Quotes, asterisks and punctuation at its ends are removed, and the rest must be a choice.
    3. On a scale of 1 to 5: "4.0", "4/5" and "4 out of 5" are 4; "4.5" is no verdict.
    4. Its first word, or "verdict: X" or "answer is X" at its end. Only whole words count: "know" is no "no", "-1" no
       "1". The first word counts in up to 400 characters, and but for yes/no and 1/2 if no other verdict or number
       follows.
    """
    verdict = parse(response, style, choices)
    if verdict or not isinstance(response, str):
        return verdict
    text = response.casefold()
    if "<answer>" in text:
        text = text.rsplit("<answer>", 1)[1].split("</answer>", 1)[0]
    elif "</think>" in text:
        text = text.rsplit("</think>", 1)[1]
    elif "<think>" in text:
        return None  # unfinished reasoning has no verdict
    text, cut = text.strip()[-400:].rstrip(ENDS), len(text.strip()) > 400
    before, text = text, text.lstrip(ENDS)
    if (scale := is_scale(choices)) and before.removesuffix(text).endswith((".", ",")):
        return None  # ".5" is no 5
    if scale:
        text = re.sub(rf"(?<=\d)(?:\.0+)?(?: ?/ ?| out of ){choices[-1]}(?:\.0+)?(?![\d.])|(?<=\d)\.0+(?!\d)", "", text)
    if text in choices:
        return text
    if scale and re.search(r"\d(?: ?[.,/] ?| out of )\d|\d ?[%½]", text):
        return None  # a fraction, several numbers, or another scale
    either = "|".join(map(re.escape, choices))
    first = None if cut else re.match(rf"({either})(?=[\s.,:;!*]|$)", text)
    others = r"\d" if scale else rf"\b(?:{either})\b"
    if first and choices not in (POINTWISE, PAIRWISE) and re.search(others, text[first.end() :]):
        first = None
    between = r"[\s:='\"`*(\[]" if scale else r"\W"  # "answer: -4" and "answer: >4" are no 4
    last = re.search(rf"(?:verdict|answer)(?: is)?{between}{{1,4}}(?<!-)({either})$", text)
    found = {match.group(1) for match in (first, last) if match}
    return found.pop() if len(found) == 1 else None


def read_truth(text: str) -> Truth:
    """A ground truth from its JSON text. Raises ValueError for a malformed one, which ends the run."""
    try:
        found = json.loads(text)
        label, choices = str(found["label"]), found.get("choices")
        if choices is None:
            choices = next((known for known in (POINTWISE, PAIRWISE) if label in known), ())
        truth = Truth(str(found["task"]), label, str(found["id"]), tuple(choices))
        if type(choices) not in (list, tuple) or len(set(choices)) != len(choices) or {*map(type, choices)} - {str}:
            raise ValueError("choices")
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ValueError(f"{text!r} must be the JSON text of a ground truth (choices: different words)") from error
    if label not in truth.choices:
        raise ValueError(f"label {label!r} is none of {', '.join(truth.choices or POINTWISE + PAIRWISE)}")
    return truth


def score(
    response: Any, truth: str, format_weight: float = FORMAT_WEIGHT, tokens: int = 0, style: str = "rl", **settings: Any
) -> dict[str, float]:
    """{overall, format, accuracy}, from 0.0 to 1.0, of one response of `tokens` tokens; `truth` is a ground truth's
    text, `settings` are compute_score's. Raises ValueError as read_truth does."""
    found = read_truth(truth)
    return _score(read(response, style, found.choices), found, tokens, format_weight, **settings)


def _score(
    reading: Reading, truth: Truth, tokens: int, a: float, length_cap: int | None = None, score_reward: str = "exact"
) -> dict[str, float]:
    accuracy, form = float(reading.verdict == truth.label), float(reading.well_formed)
    credit = accuracy
    if score_reward not in ("exact", "linear"):
        raise ValueError(f"score_reward {score_reward!r} is neither exact nor linear")
    if score_reward == "linear" and reading.verdict and is_scale(truth.choices):
        span = int(truth.choices[-1]) - int(truth.choices[0])
        credit = 1 - abs(int(reading.verdict) - int(truth.label)) / span
    if length_cap is not None and tokens > length_cap:
        accuracy = credit = form = 0.0
    return {"overall": (1 - a) * credit + a * form, "format": form, "accuracy": accuracy}


def compute_score(
    reward_inputs: list[dict[str, Any]],
    format_weight: float = FORMAT_WEIGHT,
    length_cap: int | None = None,
    score_reward: str = "exact",
    style: str = "rl",
) -> list[dict[str, float]]:
    """EasyR1's entry point: one dict per input {response, response_length, ground_truth}, in the same order.

    `response_length` is in tokens. `length_cap`, in tokens, gives a longer response 0 ([S] MR. Judge; [O] off by
    default). `score_reward`: exact, or linear (see above). `style`: sft or rl. Raises ValueError as read_truth does.

    Each dict has overall, format and accuracy as in `score`, and for its task T, from 0.0 to 1.0 (EasyR1's loggers do
    not allow a slash after a name that is in use):
    accuracy_T, format_T    the same by task
    yes_rate_T              whether the verdict is the task's first choice
    invalid_T               whether there is no verdict
    length_T                the response's length in tokens
    zero_variance_T         whether all responses to the prompt have the same reward, and GRPO learns nothing from them
    """
    scores: list[dict[str, float]] = []
    groups: dict[tuple[str, str], list[dict[str, float]]] = {}
    for item in reward_inputs:
        truth = read_truth(item["ground_truth"])
        task, choices = truth.task, truth.choices
        reading, tokens = read(item.get("response"), style, choices), int(item.get("response_length", 0))
        row = _score(reading, truth, tokens, format_weight, length_cap, score_reward)
        row[f"accuracy_{task}"], row[f"format_{task}"] = row["accuracy"], row["format"]
        row[f"yes_rate_{task}"] = float(reading.verdict == choices[0])
        row[f"invalid_{task}"] = float(reading.verdict is None)
        row[f"length_{task}"] = float(tokens)
        scores.append(row)
        groups.setdefault((task, truth.id), []).append(row)
    for (task, _), group in groups.items():
        if len(group) > 1:
            same = float(len({row["overall"] for row in group}) == 1)
            for row in group:
                row[f"zero_variance_{task}"] = same
    return scores


def trl_reward(
    completions: list[Any],
    answer: list[str],
    format_weight: float = FORMAT_WEIGHT,
    length_cap: int | None = None,
    score_reward: str = "exact",
    style: str = "rl",
    completion_ids: list[list[int]] | None = None,
    log_metric: Any = None,
    **_: Any,
) -> list[float]:
    """TRL's entry point: the reward of each completion, from 0.0 to 1.0, in the same order.

    A completion is the reply's text, or a list of messages that ends with it. `answer` is the dataset's column of
    ground truths, `completion_ids` the token ids of each completion. All values of compute_score but `overall` are
    logged by TRL's `log_metric`, as means over the batch. Raises ValueError as read_truth does.
    """
    lengths = [len(ids) for ids in completion_ids] if completion_ids is not None else [0] * len(completions)
    rows = zip(map(_text, completions), lengths, answer, strict=True)
    inputs = [{"response": text, "response_length": length, "ground_truth": truth} for text, length, truth in rows]
    scores = compute_score(inputs, format_weight, length_cap, score_reward, style)
    if log_metric is not None:
        for key in sorted({key for row in scores for key in row} - {"overall"}):
            values = [row[key] for row in scores if key in row]
            log_metric(key, sum(values) / len(values))
    return [row["overall"] for row in scores]


def verl_score(
    data_source: str,
    solution_str: Any,
    ground_truth: str,
    extra_info: dict[str, Any] | None = None,
    format_weight: float = FORMAT_WEIGHT,
    score_reward: str = "exact",
    style: str = "rl",
) -> dict[str, float]:
    """verl's entry point: {score, acc, format, invalid, yes_rate} of one response, each from 0.0 to 1.0.

    verl maximises `score`. `acc` is its own name, where a lost response counts as 0. In validation it averages each
    value by task (its data_source); in training it logs none. It does not give a response's length, so there is no
    length cap. Raises ValueError as read_truth does.
    """
    truth = read_truth(ground_truth)
    reading = read(solution_str, style, truth.choices)
    row = _score(reading, truth, 0, format_weight, None, score_reward)
    named = {"invalid": float(reading.verdict is None), "yes_rate": float(reading.verdict == truth.choices[0])}
    return {"score": row["overall"], "acc": row["accuracy"], "format": row["format"], **named}


def _text(completion: Any) -> str | None:
    """The text of a completion, or of its last message, whose content may be in parts; None where there is none."""
    try:
        content = completion if isinstance(completion, str) else completion[-1]["content"]
        return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    except (TypeError, KeyError, IndexError, AttributeError):
        return None
