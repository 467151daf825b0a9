"""recipes/paper.yaml: the tables' layout and the paper's numbers. A file of this name in ./recipes is used instead."""

from __future__ import annotations

from typing import Any

from mtrl.core import search_path
from mtrl.core.files import read_yaml


def layout() -> dict[str, Any]:
    return read_yaml(search_path.find("recipes", "paper.yaml", "table file"))


def table_tasks(number: int) -> list[str]:
    """The columns of a table."""
    return list(layout().get(f"table{number}", {}).get("columns", []))


def titled(title: str) -> str:
    """A table's title with the note of the table file, such as that its tasks are the demo's."""
    note = layout().get("note")
    return f"{title} ({note})" if note else title
