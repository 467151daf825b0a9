"""The reward of MT-RL-Judge and the one verdict parser of this project.

One self-contained file, standard library only: EasyR1, verl and TRL load it by path, evaluation imports it. It never
raises on a response, whatever it is: one that is no text scores 0; a ground truth that is malformed raises, since a
zero reward for ever hides it.

    R = (1 - a) * R_accuracy + a * R_format             Eq. 2-4 of arXiv 2603.11665; a = 0.1 is ours (EasyR1's math.py)

Styles: "sft", the reply is the bare verdict; "rl", one non-empty <think>...</think>, then one <answer>verdict</answer>,
nothing else but white space around them. Case and one full stop after the verdict are forgiven.
A ground truth is the JSON text {"task", "label", "id"}: EasyR1 shows a reward function nothing else of a row.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

REWARD_NAME = "judge"
REWARD_TYPE = "batch"  # EasyR1: the whole batch in one call, a list in, a list out

FORMAT_WEIGHT = 0.1
POINTWISE = ("yes", "no")
PAIRWISE = ("1", "2")
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_TAG = re.compile("</?(?:think|answer)>")  # one pass over the text, at the speed of searching for "<"


class Reading(NamedTuple):
    """What `read` makes of one response. `verdict` is one of the choices or None, `reason` is "" where all is well."""

    verdict: str | None
    well_formed: bool
    reason: str


def choices_of(label: str) -> tuple[str, str]:
    """The two verdicts of the task that `label` comes from. Raises ValueError for a label that is none of the four."""
    for choices in (POINTWISE, PAIRWISE):
        if label in choices:
            return choices
    raise ValueError(f"label {label!r} is none of {', '.join(POINTWISE + PAIRWISE)}")


def _verdict(text: str, choices: tuple[str, ...]) -> str | None:
    text = text.strip()
    if len(text) > 16:
        return None
    text = text.removesuffix(".").rstrip().casefold()
    return text if text in choices else None


def read(response: Any, style: str, choices: tuple[str, ...] = POINTWISE) -> Reading:
    """Reads one response strictly. Raises ValueError for an unknown style only."""
    if not isinstance(response, str):
        return Reading(None, False, f"not a text but {type(response).__name__}")
    if style == "sft":
        verdict = _verdict(response, choices)
        return Reading(verdict, verdict is not None, "" if verdict else f"not a bare {' or '.join(choices)}")
    if style != "rl":
        raise ValueError(f"style {style!r} is neither sft nor rl")
    text = response.strip()
    found = _TAG.findall(text)
    for tag in TAGS:
        if (times := found.count(tag)) != 1:
            return Reading(None, False, f"{tag} stands {times} times, not once")
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
    return Reading(verdict, True, "" if verdict else f"the answer is not {' or '.join(choices)}")


def parse(response: Any, style: str, choices: tuple[str, ...] = POINTWISE) -> str | None:
    """The verdict of a response under the strict rule of its style, or None: invalid, never guessed."""
    return read(response, style, choices).verdict


def parse_lenient(response: Any, style: str, choices: tuple[str, ...] = POINTWISE) -> str | None:
    """The verdict after these repairs, tried in order; shown beside the strict one, never instead of it.

    1. the strict rule; 2. whatever style was asked: the last <answer>, closed or not, else the text after the last
    </think>, else the whole text; 3. of that text, with quotes, asterisks and punctuation at its ends removed, the
    whole; 4. else its first word, or "verdict/answer: X" at its end. A choice must be a whole word: "know" is not "no".
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
        return None  # reasoning that never came to an end has no verdict
    text = text.strip()[-400:].strip(" \t\r\n\"'`*.,:;!()[]{}")
    if text in choices:
        return text
    either = "|".join(map(re.escape, choices))
    first = re.match(rf"({either})(?=[\s.,:;!*]|$)", text)
    last = re.search(rf"(?:verdict|answer)(?: is)?\W{{1,4}}({either})$", text)
    found = {match.group(1) for match in (first, last) if match}
    return found.pop() if len(found) == 1 else None


def ground_truth(text: str) -> tuple[str, str, str]:
    """(task, label, id) of a ground truth. Raises ValueError naming what is wrong: a bad row must stop the run."""
    try:
        truth = json.loads(text)
        task, label, identifier = str(truth["task"]), str(truth["label"]), str(truth["id"])
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f'a ground truth must be the JSON text {{"task", "label", "id"}}, not {text!r}') from error
    choices_of(label)
    return task, label, identifier


_ground_truth = ground_truth  # verl calls its reward with a parameter of this name


def score(
    response: Any, truth: str, format_weight: float = FORMAT_WEIGHT, tokens: int = 0, length_cap: int | None = None
) -> dict[str, float]:
    """{overall, format, accuracy}, each from 0.0 to 1.0, for one reasoning-style response of so many `tokens`."""
    return _score(
        read(response, "rl", choices_of(label := ground_truth(truth)[1])), label, format_weight, tokens, length_cap
    )


def _score(reading: Reading, label: str, format_weight: float, tokens: int, length_cap: int | None) -> dict[str, float]:
    accuracy, form = float(reading.verdict == label), float(reading.well_formed)
    if length_cap is not None and tokens > length_cap:
        accuracy = form = 0.0
    return {"overall": (1 - format_weight) * accuracy + format_weight * form, "format": form, "accuracy": accuracy}


def compute_score(
    reward_inputs: list[dict[str, Any]], format_weight: float = FORMAT_WEIGHT, length_cap: int | None = None
) -> list[dict[str, float]]:
    """EasyR1's entry point: one dict per input {response, response_length, ground_truth}, in order.

    `length_cap`, in tokens, gives longer responses nothing (MR. Judge's rule; off by default). Its format gate,
    accuracy only where the format holds, is always on here: a response out of form has no verdict. Beside overall,
    format and accuracy, by task and joined by an underscore (EasyR1's loggers break on a slash after a used name):
    accuracy_T, format_T; and RL health: yes_rate_T (the first choice's share), invalid_T, length_T (tokens), and
    zero_variance_T, the share of prompts whose answers all earned the same: they teach nothing.
    """
    scores: list[dict[str, float]] = []
    groups: dict[tuple[str, str], list[dict[str, float]]] = {}
    for item in reward_inputs:
        task, label, identifier = ground_truth(item["ground_truth"])
        choices = choices_of(label)
        reading, tokens = read(item.get("response"), "rl", choices), int(item.get("response_length", 0))
        row = _score(reading, label, format_weight, tokens, length_cap)
        row[f"accuracy_{task}"], row[f"format_{task}"] = row["accuracy"], row["format"]
        row[f"yes_rate_{task}"] = float(reading.verdict == choices[0])
        row[f"invalid_{task}"] = float(reading.verdict is None)
        row[f"length_{task}"] = float(tokens)
        scores.append(row)
        groups.setdefault((task, identifier), []).append(row)
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
    completion_ids: list[list[int]] | None = None,
    log_metric: Any = None,
    **_: Any,
) -> list[float]:
    """TRL's entry point: one float per completion (text, or a list of messages of which the last is the reply).

    `answer` is the dataset column of ground truths. With TRL's log_metric, means per part and task are logged too.
    """
    texts = [_text(completion) for completion in completions]
    lengths = [len(ids) for ids in completion_ids] if completion_ids is not None else [0] * len(texts)
    inputs = [
        {"response": text, "response_length": length, "ground_truth": truth}
        for text, length, truth in zip(texts, lengths, answer, strict=True)
    ]
    scores = compute_score(inputs, format_weight, length_cap)
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
) -> dict[str, float]:
    """verl's entry point: {score, acc, format, invalid, yes_rate} of one response; score is what is maximised.

    `acc` is verl's own word: under it answers that were lost count as wrong. verl averages each by task (its
    data_source) in validation, and logs none of them in training. It does not tell how long a response is: there is no
    length cap.
    """
    label = _ground_truth(ground_truth)[1]
    choices = choices_of(label)
    reading = read(solution_str, "rl", choices)
    row = _score(reading, label, format_weight, 0, None)
    return {
        "score": row["overall"],
        "acc": row["accuracy"],
        "format": row["format"],
        "invalid": float(reading.verdict is None),
        "yes_rate": float(reading.verdict == choices[0]),
    }


def _text(completion: Any) -> str | None:
    """The text of a completion: itself, or of the last of its messages, whose content may come in parts; None without
    one.
    """
    try:
        content = completion if isinstance(completion, str) else completion[-1]["content"]
        return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    except (TypeError, KeyError, IndexError, AttributeError):
        return None
