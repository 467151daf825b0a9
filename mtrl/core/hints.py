"""Command lines that a user is told to type. They are built and quoted here, so that each works as printed.

`line` builds one from options. `carried` adds the folders that the running command was given (--data, --runs, --raw).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

DEFAULTS = {"--data": "data", "--runs": "runs"}
# each command's option for the folder of converted tasks, of runs and of releases
DATA = {
    **dict.fromkeys(
        ("check", "plan", "sft", "rl", "select", "eval", "sift", "score", "compare", "tables", "reproduce"), "--data"
    ),
    **dict.fromkeys(("tasks", "prompts", "certify", "probe"), "--data"),
    "convert": "--out",
}
RUNS = dict.fromkeys(
    ("plan", "sft", "rl", "status", "select", "export", "eval", "sift", "probe", "compare", "tables", "reproduce"),
    "--runs",
)
running: tuple[str, Mapping[str, Any]] = ("", {})  # the running command and its parameters; mtrl.cli sets it
RAW = {**dict.fromkeys(("convert", "fit-labels", "reproduce"), "--raw"), "fetch": "--out"}


def line(verb: str, *words: object, **options: object) -> str:
    """`mtrl VERB WORDS --option value`, quoted. A list repeats its option. None, False and defaults are left out."""
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
    """The command line of the words after `mtrl`."""
    return f"mtrl {shlex.join(words)}"


def setting(key: str, value: Any) -> str:
    """`--set KEY=VALUE`, quoted."""
    return shlex.join(["--set", f"{key}={json.dumps(value, separators=(',', ':'))}"])


def free(folder: str, name: str, otherwise: str = "-2") -> Path:
    """A path in `folder` that does not exist: `name`, with `otherwise` appended as often as needed."""
    path = Path(folder) / name
    while path.exists():
        path = path.with_name(path.name + otherwise)
    return path


def carried(text: str, given: Mapping[str, Any] | None = None, verb: str = "") -> str:
    """A command line with the folders of the running command; any other text unchanged.

    `given` are the parameters of the command `verb`. Default: the running command.
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
        if places is RAW:  # a line that needs it has it, as the default `raw`
            text = text.replace(f"{its} raw", f"{its} {shlex.quote(value)}")
        elif not any(word == its or word.startswith(f"{its}=") for word in words):
            more += [its, value]
    verb_and_rest = text.split(" ", 2)
    return " ".join([*verb_and_rest[:2], *([shlex.join(more)] if more else []), *verb_and_rest[2:]])
