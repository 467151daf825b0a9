"""`mtrl compare RUN_A RUN_B`: the difference of two judges over the same samples, and where they disagree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtrl.commands import options

if TYPE_CHECKING:
    from mtrl.evaluate.metrics.paired import Comparison, Difference

SHOWN = 10  # disagreements per task that the terminal prints
WORDS = {"only_a": "A right", "only_b": "B right", "both_wrong": "both wrong"}


def command(
    first: Annotated[str, typer.Argument(metavar="RUN_A", help="A run's name, or a folder that mtrl eval wrote.")],
    second: Annotated[str, typer.Argument(metavar="RUN_B", help="The one to compare it with.")],
    out: Annotated[Path | None, typer.Option(help="The page; default: compare.html in RUN_B's evaluation.")] = None,
    data: options.Data = options.DATA,
    runs: options.Runs = options.RUNS,
) -> None:
    """Compare two evaluations of the same samples.

    Prints the difference B - A with a 95% paired interval, and the samples where they disagree.
    """
    from mtrl.core import targets
    from mtrl.core.console import bar, say, table
    from mtrl.evaluate import compare
    from mtrl.evaluate.html import compare_page
    from mtrl.evaluate.metrics import conclusion
    from mtrl.paper import scored

    a, b = folder(first, runs), folder(second, runs)
    target = out or b / compare_page.FILE
    targets.check_file(target)
    found = compare.folders(a, b)
    names, remarks = scored.sides((a, b), list(found.tasks), data)
    found = replace(found, notes=[*found.notes, *remarks])
    say(conclusion.sentence(found.tasks, compare_page.named((a, b))))
    table(
        f"A: {names[0]}\nB: {names[1]}\nper cent, SRCC from -1 to 1; B - A with its 95% paired bootstrap interval",
        COLUMNS,
        map(_row, *zip(*found.tasks.items(), strict=True)),
    )
    for name, about in found.tasks.items():
        differing = about.disagreements
        rows = [[d.id, d.order, d.label, d.a or "invalid", d.b or "invalid", WORDS[d.kind]] for d in differing[:SHOWN]]
        if rows:
            some = f", the first {SHOWN} of them" if len(differing) > SHOWN else ""
            title = f"{name}: answers that differ: {len(differing):,}{some}"
            table(title, ["sample", "order", "label", "A", "B", ""], rows)
    for line in found.notes:
        say(f"note: {line}")
    for line in found.passed_over:
        say(f"not compared: {line}")
    with bar("thumbnails") as update:
        page = compare_page.write(target, (a, b), found, data, update)
    say(f"side by side: {page}")


COLUMNS = [
    "task",
    "n",
    "clusters",
    "metric",
    "A",
    "B",
    "B - A",
    "accuracy B - A",
    "only A right",
    "only B right",
    "McNemar p",
]


def _row(name: str, m: Comparison) -> list[Any]:
    of = m.headline
    return [
        name,
        m.n,
        m.clusters,
        of.name,
        *(f"{side:.3f}" if m.srcc else f"{100 * side:.2f}" for side in (of.a, of.b)),
        _difference(of.between, srcc=m.srcc is not None),
        _difference(m.accuracy),
        m.only_a,
        m.only_b,
        "-" if m.mcnemar_p is None else f"{m.mcnemar_p:.3g}",
    ]


def _difference(about: Difference, srcc: bool = False) -> str:
    times, digits, of_bounds = (1, 3, 3) if srcc else (100, 2, 1)
    bounds = ", ".join(f"{times * bound:+.{of_bounds}f}" for bound in about.ci95 or ())
    return f"{times * about.difference:+.{digits}f}" + (f" [{bounds}]" if bounds else "")


def folder(name: str, runs: Path) -> Path:
    """The evaluation folder that `name` means: itself, a run directory's eval/, or that of a run below `runs`. Raises
    UserError.
    """
    from mtrl.core.errors import UserError, nearest
    from mtrl.evaluate.identity import IDENTITY
    from mtrl.evaluate.predictions import SCORE_FIRST

    places = [Path(name), Path(name) / "eval", runs / name, runs / name / "eval"]
    for place in places:
        if (place / IDENTITY).exists():
            return place
    known = {str(file.parent.relative_to(runs)).removesuffix("/eval") for file in runs.glob(f"**/{IDENTITY}")}
    raise UserError(
        f"{name} is not an evaluation: looked for {IDENTITY} in {', '.join(map(str, places))}."
        + (nearest(name, known) if known else f" There is none below {runs}."),
        SCORE_FIRST,
    )
