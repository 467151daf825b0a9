"""Command lines that a user is told to type: built and quoted in one place, so that each works as printed.

`line` builds one from options. `carried` adds to one the folders that the command now running was given (--data,
--runs, --raw), so that the next command looks where this one looked.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

DEFAULTS = {"--data": "data", "--runs": "runs"}
# the options by which each command is told where converted tasks, runs and releases are
DATA = {
    **dict.fromkeys(
        ("check", "plan", "sft", "rl", "select", "eval", "score", "compare", "tables", "reproduce"), "--data"
    ),
    **dict.fromkeys(("tasks", "prompts"), "--data"),
    "convert": "--out",
}
RUNS = dict.fromkeys(
    ("plan", "sft", "rl", "status", "select", "export", "eval", "compare", "tables", "reproduce"), "--runs"
)
running: tuple[str, Mapping[str, Any]] = ("", {})  # the command now running, and its parameters; mtrl.cli says it
RAW = {**dict.fromkeys(("convert", "fit-labels", "reproduce"), "--raw"), "fetch": "--out"}


def line(verb: str, *words: object, **options: object) -> str:
    """`mtrl VERB WORDS --option value`, quoted. A list repeats its option; None, False and defaults are left out."""
    found = [verb, *map(str, words)]
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is True:
                found.append(option)
            elif one is not None and one is not False and DEFAULTS.get(option) != str(one):
                found += [option, str(one)]
    return typed(found)


def typed(words: Iterable[str]) -> str:
    """The words after `mtrl` as one would type them."""
    return f"mtrl {shlex.join(words)}"


def free(folder: str, name: str, otherwise: str = "-2") -> Path:
    """A name below `folder` that is not taken: `name`, or with `otherwise` at its end as often as it must be."""
    path = Path(folder) / name
    while path.exists():
        path = path.with_name(path.name + otherwise)
    return path


def carried(text: str, given: Mapping[str, Any] | None = None, verb: str = "") -> str:
    """A command line with the folders of the command now running; any other text as it is.

    `given` are the parameters of the command `verb`; default: those of the command that is running.
    """
    if given is None:
        verb, given = running
    words = text.split(" ")
    if len(words) < 2 or words[0] != "mtrl":
        return text
    more = []
    for places, default in ((DATA, "data"), (RUNS, "runs"), (RAW, "raw")):
        own, its = places.get(verb), places.get(words[1])
        value = str(given.get(own.lstrip("-")) or default) if own else default
        if its is None or value == default:
            continue
        if places is RAW:  # where it is needed it is there, by the name that mtrl fetch gives it
            text = text.replace(f"{its} raw", f"{its} {shlex.quote(value)}")
        elif not any(word == its or word.startswith(f"{its}=") for word in words):
            more += [its, value]
    verb_and_rest = text.split(" ", 2)
    return " ".join([*verb_and_rest[:2], *([shlex.join(more)] if more else []), *verb_and_rest[2:]])
