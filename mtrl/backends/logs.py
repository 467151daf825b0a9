"""The trainers' own logs: rows merged by step, and logs of earlier attempts kept.

EasyR1 and verl empty their log at each start, so the log of each earlier attempt is moved to attempts/<n>/ first.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mtrl.core.rundir import Run


def by_step(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Log lines merged by their step, in order. Later lines add to earlier ones of the same step."""
    merged: dict[int, dict[str, Any]] = {}
    for row in rows:
        if "step" in row:
            merged.setdefault(int(row["step"]), {}).update({k: v for k, v in row.items() if v is not None})
    return [merged[step] for step in sorted(merged)]


def attempts(run: Run, log: Path) -> list[Path]:
    """The log of every attempt, the present one last."""
    return [*sorted((run.path / "attempts").glob(f"*/{log.name}")), log]


def keep_attempt(run: Run, log: Path, *more: Path) -> None:
    """Moves `log`, and the files that go with it, to attempts/<n>/. Does nothing where there is no log."""
    if not log.exists():
        return
    number = 1 + len(list((run.path / "attempts").glob("*")))
    folder = run.path / "attempts" / f"{number:03}"
    folder.mkdir(parents=True)
    for file in (log, *more):
        if file.exists():
            file.rename(folder / file.name)
