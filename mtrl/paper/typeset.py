"""A table as text for a paper or a page: markdown, or LaTeX that needs booktabs and nothing else.

A cell of several lines stays one cell in markdown; in LaTeX its lines become rows below each other.
"""

from __future__ import annotations

import itertools

from mtrl.paper.tables import Table

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "†": r"\textdagger{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}


def markdown(table: Table, first: str) -> str:
    """`first` heads the column of row names. What is missing and what was passed over stand below the table."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells) + " |"

    rows = [[name, *cells] for name, cells in {**table.rows, **table.beside}.items()]
    text = [f"**{table.heading}**", "", line([first, *table.columns]), "|---|" + "---:|" * len(table.columns)]
    text += [*map(line, rows)]
    text += ["", table.legend] if table.legend else []
    text += ["", *(f"- {line}" for line in table.notes)] if table.notes else []
    text += ["", "Not run yet:", "", *(f"    {command}" for command in table.todo)] if table.todo else []
    text += ["", *(f"- not a cell: {why}" for why in table.passed_over)] if table.passed_over else []
    return "\n".join(text) + "\n"


def latex(table: Table, first: str) -> str:
    r"""A table environment; what is missing and what was passed over stand above it as comments."""
    body = [_row([first, *table.columns]), r"\midrule"]
    for number, block in enumerate((table.rows, table.beside)):
        body += [r"\midrule"] if number and block else []
        for name, cells in block.items():
            lines = itertools.zip_longest([name], *(cell.split("\n") for cell in cells), fillvalue="")
            body += [_row(list(line)) for line in lines]
    comments = [f"% not run yet: {command}" for command in table.todo] + [
        f"% not a cell: {why}" for why in table.passed_over
    ]
    return "\n".join(
        [
            *(comment.replace("\n", " ") for comment in comments),
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped('. '.join(filter(None, (table.heading, table.legend, *table.notes))))}}}",
            rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _row(cells: list[str]) -> str:
    return " & ".join(map(escaped, cells)) + r" \\"


def escaped(text: str) -> str:
    """Text in which LaTeX finds no command; a leading bracket would be read as an option of the row before it."""
    text = "".join(SPECIAL.get(sign, sign) for sign in text)
    return "{}" + text if text.startswith(("[", "*")) else text
