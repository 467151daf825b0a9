"""The three files of a new task: its YAML, in which every guess is marked, and its two prompts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from mtrl.config.tasks import Task
from mtrl.converters.pipeline.guess import CHOICES, Guess
from mtrl.core.files import parse_yaml
from mtrl.core.schema import validate

REASON = (
    "First reason about it inside <think></think>, then give your verdict as "
    "<answer>{}</answer> or <answer>{}</answer>."
    " Write nothing else."
)


def files(name: str, guess: Guess) -> dict[Path, str]:
    """The files by their paths below the working directory. Raises UserError for a name that a task cannot have."""
    text = _yaml(name, guess)
    validate(Task, {"name": name, **parse_yaml(text, name)}, f"task {name}")
    return {
        Path("recipes/tasks", f"{name}.yaml"): text,
        Path("prompts/sft", f"{name}.jinja"): _prompt(guess, "Answer {} or {}."),
        Path("prompts/rl", f"{name}.jinja"): _prompt(guess, REASON),
    }


def _yaml(name: str, guess: Guess) -> str:
    fields = ", ".join(f"{_field(text)}: {_plain(text)}" for text in guess.texts)
    values = ", ".join(f"{_key(verdict)}: {_list(words)}" for verdict, words in guess.meaning.values.items())
    source = [
        f"  file: {_plain(guess.file)}",
        f"  images: {_list(guess.images)}  # guess: columns of the image files' names",
        f"  image_folder: {_plain(guess.image_folder)}  # guess: where these files are" if guess.image_folder else "",
        f"  fields: {{{fields}}}  # guess: name in the prompts, and its column" if fields else "",
    ]
    label = [
        f"  column: {_plain(guess.label)}  # guess",
        f"  values: {{{values}}}  # guess: each verdict, and its labels" if values else "",
        f'  rule: {{when: "{guess.meaning.rule}", then: yes}}  # guess: the median' if guess.meaning.rule else "",
        f"  drop: {_list(guess.meaning.drop)}  # guess: rows with these labels are left out"
        if guess.meaning.drop
        else "",
    ]
    split = "split: {parts: {train: 0.7, val: 0.1, test: 0.2}}"
    if guess.split:
        split = f"split: {{column: {_plain(guess.split)}}}  # guess"
    elif guess.group:
        split = f"{split[:-1]}, group: {_plain(guess.group)}}}  # guess: rows of one {guess.group} stay together"
    lines = [
        "# Correct what is marked as a guess. docs/own-task.md describes every key.",
        f"title: {_plain(name.replace('_', ' ').capitalize())}",
        "capability: quality  # quality | alignment | safety",
        f"kind: {guess.kind}  # pointwise: one image, yes or no | pairwise: two images, 1 or 2",
        *("source:", *source, "label:", *label, split),
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _prompt(guess: Guess, last: str) -> str:
    one, other = CHOICES[guess.kind]
    texts = [f"{text.capitalize()}: {{{{ {_field(text)} }}}}" for text in guess.texts]
    if guess.kind == "pairwise":
        head = ["You compare two images.", "", f"{one}: the first image is better.", f"{other}: the second is better."]
        body = ["First image: <image>", "Second image: <image>", *texts, "Which image is better?"]
    else:
        good, bad = _adjective(guess, one, "good"), _adjective(guess, other, "bad")
        head = ["You judge images.", "", f"{one}: the image is {good}.", f"{other}: the image is {bad}."]
        body = ["<image>", *texts, f"Is the image {good}?"]
    return "\n".join([*head, "", *body, last.format(one, other)]) + "\n"


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
