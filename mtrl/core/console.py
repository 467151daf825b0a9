"""What commands print: tables, progress and check marks, with rich, to a terminal or to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mtrl.core import hints

console = Console(highlight=False, soft_wrap=False)
MARKS = {"ok": "[green]ok     [/green]", "warning": "[yellow]warning[/yellow]", "error": "[red]error  [/red]"}


def grid(title: str, columns: Iterable[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table. An empty row becomes a line."""
    grid = Table(title=escape(title) or None, title_justify="left", title_style="bold", header_style="bold")
    for index, column in enumerate(columns):
        grid.add_column(escape(column), justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        if row:
            grid.add_row(*(escape(str(cell)) for cell in row))
        else:
            grid.add_section()
    return grid


def table(title: str, columns: Iterable[str], rows: Iterable[Sequence[Any]]) -> None:
    wide = console if console.is_terminal else Console(highlight=False, width=160)
    wide.print(grid(title, columns, rows))


@contextmanager
def live(render: Callable[[], Table]) -> Iterator[None]:
    """Shows what `render` returns below the output, every two seconds. Without a terminal it shows nothing."""
    if not console.is_terminal:
        yield
        return
    from rich.live import Live

    with Live(console=console, get_renderable=render, refresh_per_second=0.5, transient=True):
        yield


def say(text: str) -> None:
    console.print(escape(text), soft_wrap=True)


def then(line: str, said: str = "") -> None:
    """Prints `said` and the next command, with the folders of the command that is running."""
    say(f"{said}{'. ' if said else ''}next: {hints.carried(line)}")


def check(level: str, text: str, then: str = "") -> None:
    then = hints.carried(then)
    console.print(
        f"{MARKS[level]} {escape(text)}" + (f"  [dim]next: {escape(then)}[/dim]" if then else ""), soft_wrap=True
    )


def say_unread(found: Iterable[tuple[Sequence[str], Sequence[str], str]]) -> None:
    """Prints what evaluate/unreadable.py found: tasks whose answers are all unreadable."""
    for tasks, answers, cause in found:
        check("warning", f"{', '.join(tasks)}: not one answer could be read as a verdict. {cause} For example:")
        for text in answers:
            say(f"    {text}")


@contextmanager
def bar(what: str) -> Iterator[Any]:
    """Yields update(done, total, note=""): a live bar on a terminal, else a line at every tenth of the total."""
    if console.is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console) as progress:
            job = progress.add_task(what, total=None, note="")
            yield lambda done, total, note="": progress.update(job, completed=done, total=total, note=escape(note))
        return
    shown = -1

    def update(done: int, total: int, note: str = "") -> None:
        nonlocal shown
        tenth = 10 * done // max(1, total)
        if tenth != shown:
            shown = tenth
            say(f"{what}: {done}/{total} {note}".rstrip())

    yield update
