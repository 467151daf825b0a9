"""Every command line that mtrl tells a user to type: collected from what it printed, then run, or run as far as a dry
run goes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from mtrl.cli import app
from mtrl.config import samples
from mtrl.core import rundir
from mtrl.evaluate.judges import subject

DRY = {"sft": ["--dry-run", "--name", "tried"], "rl": ["--dry-run", "--name", "tried"], "reproduce": ["--dry-run"]}
READS = ("check", "compare", "doctor", "plan", "prompts", "score", "status", "tables", "tasks")
NAMED = re.compile(r"(?:(?:next|again|ready): |^ {2}|this exports it: |†\d .*: )(mtrl [a-z].*?)$", re.MULTILINE)


def collect(text: str) -> list[str]:
    """The commands after "next:", "ready:" and "again:", and those of a list of what is left to run."""
    return [line.removesuffix(" records them") for line in NAMED.findall(text)]


def tried(line: str, cli: Callable[..., Any]) -> None:
    """Fails where the line does not work as printed, in the working directory. Trains nothing and loads no model."""
    words = shlex.split(line)
    assert words[0] == "mtrl", line
    assert not [word for word in words if re.fullmatch(r"[A-Z]{2,}", word)], f"a placeholder: {line}"
    verb, arguments = words[1], words[2:]
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    given = command.make_context(verb, list(arguments)).params  # raises for an option or value that is not one
    if verb in DRY or verb in READS:
        done = cli(verb, *arguments, *DRY.get(verb, []))
        assert done.code == 0, f"{line}: {done.err}"
    elif verb == "convert":
        assert Path(given["raw"]).is_dir(), line
        done = cli(*words[1:])
        assert done.code == 0, f"{line}: {done.err}"
    elif verb == "export":
        assert not Path(given["out"]).exists(), line
        assert rundir.find(given["run"], given["runs"]).recipe, line
    elif verb == "select":
        assert rundir.find(given["run"], given["runs"]).recipe, line
    elif verb == "eval":
        judge = subject(given["ckpt"])
        names = given["tasks"].split(",") if given["tasks"] else judge.default_tasks
        for name in names:
            assert samples.path_of(given["data"], name, given["split"]).exists(), f"{line}: {name} is not converted"
    elif verb != "demo":
        raise AssertionError(f"nobody has tried {line}")
