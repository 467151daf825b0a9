"""A table and its cells: frozen types. A cell's text is what every format prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Number:
    """One number and the paper's, in per cent. The text has ours on the first line and the paper's on the second.

    ours       one judge's value, or the mean over several seeds; None: not measured
    seeds      how many judges that are
    spread     sample standard deviation over the seeds; None for one
    interval   95% bootstrap interval of one judge
    one_class  the label that all samples have: Macro-F1 says nothing then, and the accuracy is shown
    marks      the signs of the footnotes
    """

    ours: float | None = None
    paper: float | None = None
    seeds: int = 1
    spread: float | None = None
    interval: tuple[float, float] | None = None
    one_class: str = ""
    accuracy: float | None = None
    marks: str = ""

    def __str__(self) -> str:
        first = self._ours() + self.marks
        return first if self.paper is None else f"{first}\n{self._paper(self.paper)}"

    def _ours(self) -> str:
        if self.one_class:
            accuracy = "" if self.accuracy is None else f", accuracy {self.accuracy:.1f}"
            return f"one class ({self.one_class}{accuracy})"
        if self.ours is None:
            return "-"
        if self.spread is not None:
            return f"{self.ours:.2f} ± {self.spread:.2f} ({self.seeds})"
        return f"{self.ours:.2f}" + ("" if self.interval is None else " [{:.1f}, {:.1f}]".format(*self.interval))

    def _paper(self, paper: float) -> str:
        """With the difference, and a star where it is outside the interval."""
        if self.ours is None:
            return f"paper {paper:.2f}"
        inside = self.interval is None or self.interval[0] <= paper <= self.interval[1]
        return f"paper {paper:.2f} ({self.ours - paper:+.2f}){'' if inside else '*'}"


@dataclass(frozen=True)
class Constant:
    """What one constant answer gets, in per cent."""

    macro_f1: float
    accuracy: float

    def __str__(self) -> str:
        return f"{self.macro_f1:.2f} (accuracy {self.accuracy:.1f})"


@dataclass(frozen=True)
class Count:
    """The rows of one split by label (Table 1), ours and the paper's; None: not known."""

    ours: tuple[int, int] | None
    paper: tuple[int, int] | None
    instead: str = "-"

    def __str__(self) -> str:
        ours = self.instead if self.ours is None else _rows(self.ours)
        return ours if self.paper is None else f"{ours}\npaper {_rows(self.paper)}"


def _rows(labels: tuple[int, int]) -> str:
    """The total; below it, positive and negative."""
    return f"{sum(labels):,}\n({labels[0]}/{labels[1]})"


@dataclass(frozen=True)
class Table:
    """One table, ready to print: cells of the types above or text, in frames whose index names the rows.

    head         heading of the rows' names
    extra        what the paper leaves out, in the same columns: constant answers, accuracy of pairs, invalid rates
    notes        which judges these are, and what the marks mean
    todo         the commands that would fill the empty cells
    passed_over  what is left out, with the reason
    number       which table of the paper it is; None: none of them
    """

    title: str
    head: str
    rows: DataFrame
    extra: DataFrame | None = None
    notes: tuple[str, ...] = ()
    legend: str = ""
    todo: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    number: int | None = None

    @property
    def blocks(self) -> list[DataFrame]:
        """The frames that have rows, as text; a cell may have several lines."""
        return [frame.map(str) for frame in (self.rows, self.extra) if frame is not None and len(frame)]
