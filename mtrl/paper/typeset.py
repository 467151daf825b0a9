"""A table as text: for the terminal, as Markdown, or as LaTeX that needs booktabs and nothing else.

A cell of several lines stays one cell in the terminal and in Markdown; in LaTeX each line is a row of its own.
"""

from __future__ import annotations

import html
from itertools import zip_longest

from rich.table import Table as Grid

from mtrl.core import console
from mtrl.paper.shown import Table

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "†": r"\textdagger{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}


def grid(table: Table) -> Grid:
    """For the terminal, without the notes."""
    return console.grid(table.title, [table.head, *table.rows.columns], _rows(table))


def show(table: Table) -> None:
    """Prints it to the terminal, with the notes that explain it."""
    console.table(table.title, [table.head, *table.rows.columns], _rows(table))
    for note in table.notes:
        console.say(note)


def _rows(table: Table) -> list[list[str]]:
    """Names and cells; an empty row between the blocks."""
    rows: list[list[str]] = []
    for block in table.blocks:
        rows += [*([[]] if rows else []), *map(list, block.itertuples())]
    return rows


def markdown(table: Table) -> str:
    """What is missing and what is left out is below the table."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join("<br>".join(map(_inert, cell.split("\n"))) for cell in cells) + " |"

    columns = list(table.rows.columns)
    text = [f"**{_inert(table.title)}**", "", line([table.head, *columns]), "|---|" + "---:|" * len(columns)]
    text += [line(list(row)) for block in table.blocks for row in block.itertuples()]
    text += ["", _inert(table.legend)] if table.legend else []
    text += ["", *(f"- {_inert(note)}" for note in table.notes)] if table.notes else []
    text += ["", "Not run yet:", "", *(f"    {_one_line(command)}" for command in table.todo)] if table.todo else []
    text += ["", *(f"- not in the table: {_inert(why)}" for why in table.passed_over)] if table.passed_over else []
    return "\n".join(text) + "\n"


def latex(table: Table) -> str:
    """A table environment; what is missing and what is left out is above it, in comments."""
    from pandas import DataFrame

    lines: list[list[str]] = []
    for number, block in enumerate(table.blocks):
        first = len(lines)
        for row in block.itertuples():
            lines += [
                list(map(escaped, line)) for line in zip_longest(*(cell.split("\n") for cell in row), fillvalue="")
            ]
        if number:
            lines[first][0] = "\\midrule\n" + lines[first][0]
    frame = DataFrame(lines, columns=[escaped(name) for name in (table.head, *table.rows.columns)])
    caption = ". ".join(part.removesuffix(".") for part in (table.title, table.legend, *table.notes) if part)
    comments = [f"% not run yet: {command}" for command in table.todo]
    comments += [f"% not in the table: {why}" for why in table.passed_over]
    text = frame.style.hide(axis="index").to_latex(
        hrules=True,
        position_float="centering",
        caption=escaped(_one_line(caption)),
        column_format="l" + "r" * len(table.rows.columns),
    )
    return "".join(f"{_one_line(comment)}\n" for comment in comments) + str(text)


def escaped(text: str) -> str:
    """Text in which LaTeX finds no command. A leading bracket would be read as an option of the row before it."""
    text = "".join(SPECIAL.get(sign, sign) for sign in text)
    return "{}" + text if text.startswith(("[", "*")) else text


def _inert(text: str) -> str:
    """Text that Markdown reads neither as HTML, nor as a link, nor as the end of a cell or a line."""
    return html.escape(_one_line(text), quote=False).replace("](", "]\\(").replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())
