"""What is published: recipes/paper.yaml has the tables' layout and the paper's numbers, recipes/published.yaml the
figures of Table 4. A file of this name in ./recipes is used instead.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from mtrl.core import search_path
from mtrl.core.files import read_yaml
from mtrl.core.schema import Model, validate

Measure = Literal["accuracy", "mmrb2", "whole_groups", "srcc", "plcc", "graded_srcc", "graded_plcc"]


class Figures(Model):
    """Figures of one source and one protocol."""

    source: str
    metric: str
    protocol: str
    """What is counted, and how."""
    same_as: Measure | None = None
    """Which of our numbers has the same protocol; None: none, so nothing is subtracted."""
    judges: dict[str, float] = Field(min_length=1)
    """Judge -> per cent; correlations times 100."""


class Benchmark(Model):
    """One task of Table 4."""

    rows: PositiveInt | None = None
    """Rows of the whole benchmark; None where they are not published."""
    ours: list[Measure] = Field(min_length=1)
    """Our numbers, the first one first."""
    published: list[Figures]

    @model_validator(mode="after")
    def _same(self) -> Benchmark:
        for figures in self.published:
            if figures.same_as and (figures.same_as not in self.ours or not self.rows):
                raise ValueError(f"same_as: {figures.same_as} needs it under ours, and rows")
        return self


class Beyond(Model):
    """recipes/published.yaml."""

    title: str
    benchmarks: dict[str, Benchmark]
    """By task."""


def beyond() -> Beyond:
    """Table 4, with the benchmarks whose task exists. Raises UserError."""
    file = search_path.find("recipes", "published.yaml", "file of published figures")
    found, known = validate(Beyond, read_yaml(file), str(file)), search_path.listing("recipes", "tasks", ".yaml")
    return found.model_copy(update={"benchmarks": {k: v for k, v in found.benchmarks.items() if k in known}})


def layout() -> dict[str, Any]:
    return read_yaml(search_path.find("recipes", "paper.yaml", "table file"))


def table_tasks(number: int) -> list[str]:
    """The columns of Table 2 or 3, or the benchmarks of Table 4."""
    return list(beyond().benchmarks if number == 4 else layout().get(f"table{number}", {}).get("columns", []))


def table_methods(number: int) -> list[str]:
    """The rows of Table 2 or 3. Table 4 has the judges of more than one task, as the paper's Table 3."""
    return ["zero_shot", "sft_unified", "rl_multitask"] if number == 4 else list(layout()[f"table{number}"]["rows"])


def titled(title: str) -> str:
    """A table's title with the note of the table file, such as that its tasks are the demo's."""
    note = layout().get("note")
    return f"{title} ({note})" if note else title
