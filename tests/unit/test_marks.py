"""Where each number of a shipped recipe is from: [P] the paper, [S] a named secondary source, [U] upstream,
[O] ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

FILES = sorted((ROOT / "recipes").rglob("*.yaml"))
MARK = re.compile(r"\[[PSUO]\]")
WHOLE_FILE = re.compile(r"^# Every number here is \[[PSUO]\]", re.MULTILINE)


def numbers(node: yaml.Node, above: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """For each number, the lines (from 0) of itself and of the keys that it is below."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from numbers(value, (*above, key.start_mark.line))
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from numbers(item, (*above, item.start_mark.line))
    elif node.tag.endswith((":int", ":float")) or re.fullmatch(r"[-+]?\d[\d.]*e[-+]?\d+", str(node.value)):
        yield (*above, node.start_mark.line)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_number_has_a_mark(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    if WHOLE_FILE.search(text):
        return
    lines = text.splitlines()
    found = list(numbers(yaml.compose(text), ()))
    assert [lines[where[-1]] for where in found if not any(MARK.search(lines[line]) for line in where)] == []


def test_the_marks_are_looked_for() -> None:
    assert len(FILES) > 25 and list(numbers(yaml.compose("a: {b: [1, x]}\nc: 1.0e-5\nd: text"), ())) == [
        (0, 0, 0, 0),
        (1, 1),
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_secondary_source_is_named(file: Path) -> None:
    for line in file.read_text(encoding="utf-8").splitlines():
        if "[S]" in line and not line.startswith("# Source of each value"):
            assert len(line.partition("[S]")[2].split()) >= 3, line
