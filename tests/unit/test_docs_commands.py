"""Every ```console block of the README and docs/, run in order in a copy of the demo's converted project.

A line `$ COMMAND` is run, and the lines below it must be in what it prints, in this order; `...` is any text. White
space does not count. A command below which an error is shown (`mtrl: ...`) must fail, and every other one succeed.
The commands of other blocks are not run; their options are those that exist.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import typer

from mtrl.cli import app
from tests.conftest import ROOT
from tests.unit.test_docs import PAGES

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """(command, the lines shown below it) of every console block of a page."""
    found: list[tuple[str, list[str]]] = []
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_console_blocks_print_what_they_show(page: Path, project: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command, shown in commands(page):
        done = subprocess.run(
            ["bash", "-c", command], cwd=project, env={**os.environ, "PATH": path}, capture_output=True, text=True
        )
        printed = " ".join((done.stdout + done.stderr).split())
        assert (done.returncode != 0) is any(line.startswith("mtrl: ") for line in shown), f"$ {command}\n{printed}"
        for part in (" ".join(part.split()) for line in shown for part in line.split("...")):
            before, found, printed = printed.partition(part) if part else (printed, "...", printed)
            assert found, f"$ {command}\ndoes not print\n{part}\nin\n{before}"


def lines(page: Path) -> list[str]:
    """Every `mtrl ...` of an indented block, and of a fenced one without a language."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^    .*\n)+", text, re.M) + re.findall(r"^```\n(.*?)^```$", text, re.M | re.S)
    every = "".join(map(textwrap.dedent, blocks)).replace("\\\n", "")
    return re.findall(r"^(?:\w+=\S+ )*(mtrl .*)$", every, re.M)


@pytest.mark.parametrize("page", [page for page in PAGES if lines(page)], ids=lambda page: page.name)
def test_command_lines_have_verbs_and_options_that_exist(page: Path) -> None:
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for line in lines(page):
        verb, *arguments = shlex.split(line, comments=True)[1:]
        verbs[verb].make_context(verb, arguments)  # raises for an option or value that is not one


def messages() -> list[str]:
    """Every text of the code, with `...` in the place of each value that is filled in."""
    found = []
    for folder in ("mtrl", "converters", "evaluate"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(p.value if isinstance(p, ast.Constant) else "..." for p in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found


def test_messages_that_the_page_explains_exist() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    listed = [
        text for item in re.findall(r"^- (`.*?)`:\s", page, re.M | re.S) for text in item.strip("`").split("`, `")
    ]
    known = messages()
    gone = []
    for text in (" ".join(text.split()) for text in listed):
        parts = [re.escape(part.strip()) for part in re.split(r"\.\.\.|\b(?:X|N|URL)\b", text) if part.strip()]
        if not any(re.search(".*".join(parts), " ".join(message.split())) for message in known):
            gone.append(text)
    assert len(listed) > 30 and not gone
