"""The three files of a new task: its YAML, in which every guess is marked, and its two prompts."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mtrl.config.tasks import Task
from mtrl.converters.pipeline.guess import Guess
from mtrl.converters.pipeline.label_meaning import FEW
from mtrl.core.files import parse_yaml
from mtrl.core.schema import validate

ANSWER = "Answer {{ choices }}."
REASON = (
    "First reason about it inside <think></think>, then write your verdict inside <answer></answer>: {{ choices }}."
    " Write nothing else."
)
KINDS = {
    "pointwise": "one image, yes or no",
    "pairwise": "two images, 1 or 2",
    "choice": "one image, one of your own words",
    "score": "one image, a whole number",
}


@dataclass(frozen=True)
class Draft:
    """A new task."""

    files: dict[Path, str]
    """Their contents by path below the working directory."""
    task: Task
    """As its YAML says."""


def draft(name: str, guess: Guess) -> Draft:
    """Raises UserError for a name that a task cannot have."""
    text = _yaml(name, guess)
    task = validate(Task, {"name": name, **parse_yaml(text, name)}, f"task {name}")
    files = {
        Path("recipes/tasks", f"{name}.yaml"): text,
        Path("prompts/sft", f"{name}.jinja"): _prompt(guess, ANSWER),
        Path("prompts/rl", f"{name}.jinja"): _prompt(guess, REASON),
    }
    return Draft(files, task)


def classes(task: Task, labels: list[str]) -> Iterator[list[str]]:
    """Per verdict its labels and its number of rows, as text; and what the task leaves out."""
    found: dict[str, Counter[str]] = {verdict: Counter() for verdict in task.choices if len(task.choices) <= FEW}
    for verdict, label in zip(
        task.label.of("").verdicts([(label, "") for label in labels], task.choices, task.name), labels, strict=True
    ):
        found.setdefault(verdict, Counter())[label] += 1
    for verdict, counted in found.items():
        listed = ", ".join(counted) if len(counted) <= FEW else f"{len(counted)} different labels"
        yield [verdict if verdict in task.choices else f"left out by {verdict}", listed, f"{counted.total():,}"]


def _yaml(name: str, guess: Guess) -> str:
    fields = ", ".join(f"{_field(text)}: {_plain(text)}" for text in guess.texts)
    found = guess.meaning
    values = ", ".join(f"{_key(verdict)}: {_list(words)}" for verdict, words in found.values.items())
    kind = [
        f"kind: {guess.kind}  # guess: {KINDS[guess.kind]}. The kinds: {', '.join(KINDS)}",
        f"choices: {_list(found.choices)}  # guess: the labels" if found.choices else "",
        f"range: [{found.range[0]}, {found.range[1]}]  # guess: the lowest and highest label" if found.range else "",
    ]
    source = [
        f"  file: {_plain(guess.file)}",
        f"  images: {_list(guess.images)}  # guess: columns of the image files' names",
        f"  image_folder: {_plain(guess.image_folder)}  # guess: where these files are" if guess.image_folder else "",
        f"  fields: {{{fields}}}  # guess: name in the prompts, and its column" if fields else "",
    ]
    label = [
        f"  columns: {_list(guess.labels_by)}  # guess: one annotator's labels each"
        if guess.labels_by
        else f"  column: {_plain(guess.label)}  # guess",
        f"  annotator: {_plain(guess.annotator)}  # guess: whose label it is" if guess.annotator else "",
        f"  values: {{{values}}}  # guess: each verdict, and its labels" if values else "",
        f'  rule: {{when: "{found.rule}", then: yes}}  # guess: the median' if found.rule else "",
        f"  drop: {_list(found.drop)}  # guess: rows with these labels are left out" if found.drop else "",
    ]
    split = "split: {parts: {train: 0.7, val: 0.1, test: 0.2}"
    if guess.split:
        split = f"split: {{column: {_plain(guess.split)}}}  # guess"
    elif guess.group:
        split += f", group: {_plain(guess.group)}}}  # guess: rows of one {guess.group} stay together"
    else:
        split += "}  # guess: at random, since no column says train, val or test"
    lines = [
        "# Correct what is marked as a guess. docs/own-task.md describes every key.",
        f"title: {_plain(name.replace('_', ' ').capitalize())}",
        "capability: quality  # quality | alignment | safety",
        *(*kind, "source:", *source, "label:", *label, split),
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _prompt(guess: Guess, last: str) -> str:
    texts = [f"{text.capitalize()}: {{{{ {_field(text)} }}}}" for text in guess.texts]
    if guess.kind == "pairwise":
        head = ["You compare two images.", "", "1: the first image is better.", "2: the second is better."]
        body = ["First image: <image>", "Second image: <image>", *texts, "Which image is better?"]
    elif guess.meaning.range:
        low, high = guess.meaning.range
        head = ["You rate images.", "", f"{low}: the image is very bad.", f"{high}: the image is very good."]
        body = ["<image>", *texts, f"Rate the image from {low} to {high}."]
    elif guess.meaning.choices:
        head = ["You classify images.", "", *(f"{choice}: the image is {choice}." for choice in guess.meaning.choices)]
        body = ["<image>", *texts, "Which of these is the image?"]
    else:
        good, bad = _adjective(guess, "yes", "good"), _adjective(guess, "no", "bad")
        head = ["You judge images.", "", f"yes: the image is {good}.", f"no: the image is {bad}."]
        body = ["<image>", *texts, f"Is the image {good}?"]
    return "\n".join([*head, "", *body, last]) + "\n"


def _adjective(guess: Guess, verdict: str, default: str) -> str:
    """The labels of a verdict as a prompt may name them."""
    words = guess.meaning.values.get(verdict, [])
    told = all(
        re.fullmatch(r"[A-Za-z][A-Za-z -]+", word) and word.lower() not in ("yes", "no", "true", "false")
        for word in words
    )
    return " or ".join(words) if words and told else default


def _field(column: str) -> str:
    """A name that a prompt may use for a column."""
    name = re.sub(r"\W+", "_", column.lower(), flags=re.ASCII).strip("_")
    return name if name[:1].isalpha() else f"text_{name}".rstrip("_")


def _list(words: Iterable[str]) -> str:
    return f"[{', '.join(map(_plain, words))}]"


def _key(verdict: str) -> str:
    return f'"{verdict}"' if verdict.isdigit() else verdict


def _plain(word: str) -> str:
    """YAML that reads back as this very text, in quotes only where it needs them."""
    bare = re.fullmatch(r"[\w./][\w./ -]*", word) and word == word.strip() and parse_yaml(word, word) == word
    return word if bare else json.dumps(word, ensure_ascii=False)
