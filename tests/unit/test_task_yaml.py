"""What a task's YAML may say, and the error where it says something that cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtrl import recipe, tasks
from mtrl.errors import UserError
from mtrl.files import parse_yaml

TASK = """
title: t
capability: safety
source: {file: labels.csv}
label: {column: label, values: {yes: [good], no: [bad]}}
"""


def load(folder: Path, text: str) -> tasks.Task:
    """The task `mine` of the working directory `folder`, with this YAML."""
    file = folder / "recipes/tasks/mine.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return tasks.load("mine")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_key_given_twice_is_an_error_in_every_yaml(here: Path) -> None:
    with pytest.raises(
        UserError, match=r"mine.yaml is not valid YAML: line 6, .*'label' is given twice \(first in line 5"
    ):
        load(here, TASK + "label: {column: other}\n")
    (here / "own.yaml").write_text("method: SFT\nsft: {epochs: 1, epochs: 2}\n")
    with pytest.raises(UserError, match=r"own.yaml is not valid YAML: line 2, .*'epochs' is given twice"):
        recipe.load("own.yaml")
    # a merge key may still be overridden
    assert parse_yaml("b: &b {x: 1}\na: &a {<<: *b, x: 2}\n<<: *a\nx: 3", "t")["x"] == 3
