"""suspects.csv of a sift: the training rows whose label may be wrong (`RowVotes.suspect`), most votes against it first.

It is a list for a person, who decides. Nothing is left out of a training because it is listed here. The judge must have
learnt the task: the votes of one that has not say little about labels.
"""

from __future__ import annotations

from pathlib import Path

from mtrl.config import samples
from mtrl.core import csv_files
from mtrl.evaluate.sift import RowVotes, Sifted

FILE = "suspects.csv"
COLUMNS = ("task", "id", "label", "verdict", "share", "label_share", "invalid_share", "votes", "images")


def of_task(rows: list[RowVotes]) -> list[RowVotes]:
    """Those whose label may be wrong, in the order of the list."""
    return sorted((row for row in rows if row.suspect), key=lambda row: (-row.agree / row.votes, row.pass_rate))


def write(folder: Path, sifted: Sifted, data: Path) -> Path:
    """Writes `folder`/suspects.csv, also where there are none. The images are paths from here, joined by " | "."""
    lines = []
    for name, rows in sifted.rows.items():
        images = dict(samples.columns(data, name, "train", "id", "images"))
        for row in of_task(rows):
            paths = " | ".join(str(data / image) for image in images.get(row.id, ()))
            shares = [f"{part / row.votes:.3f}" for part in (row.agree, row.right, row.invalid)]
            lines.append(
                dict(zip(COLUMNS, [name, row.id, row.label, row.said, *shares, row.votes, paths], strict=True))
            )
    csv_files.write(folder / FILE, COLUMNS, lines)
    return folder / FILE
