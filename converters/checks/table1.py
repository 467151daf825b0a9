"""Our counts next to Table 1's: which must be equal, and what chance allows where the paper's seed is unknown.

Counts are of the release's rows, before any is rejected. Rows and class totals over all splits must be Table 1's. So
must the classes of an official split. Where the paper cut at random, a split's positives are printed with the
interval in which 19 of 20 such cuts are (hypergeometric); no seed is searched to meet the paper's number.
"""

from __future__ import annotations

from collections.abc import Iterator

from mtrl.config.datacard import DataCard
from mtrl.config.tasks import SPLITS, Task
from mtrl.core import hints
from mtrl.core.finding import Check

CONFIDENCE = 0.95


def interval(total: int, positive: int, drawn: int) -> tuple[int, int]:
    """The central 95% of the number of positives among `drawn` rows, out of `total` rows with `positive` positives."""
    from scipy.stats import hypergeom

    low, high = hypergeom.interval(CONFIDENCE, total, positive, drawn)
    return int(low), int(high)


def cells(task: Task) -> dict[str, str]:
    """For each split Table 1's rows and positives as text, "" for a task that is not in it."""
    said = dict.fromkeys(SPLITS, "")
    for split, cell in task.expected.items():
        said[split] = f"{cell['rows']:,} ({cell['positive']:,} {task.table1_positive})"
    return said


def compare(task: Task, card: DataCard) -> Iterator[Check]:
    """One line per cell; level "error": the cell must agree and does not."""
    if not task.expected or not task.table1_positive:
        yield Check("ok", f"{task.name} is not in Table 1")
        return
    if card.limit:
        yield Check(
            "error",
            f"{task.name} was converted with --limit {card.limit}",
            hints.line("convert", task.name, raw="raw"),
        )
        return
    fit = f"mtrl fit-labels {task.name} --raw raw"
    positive = task.table1_positive
    ours = {place: (sum(found.values()), found[positive]) for place, found in card.release_counts.items()}
    paper = {split: (cell["rows"], cell["positive"]) for split, cell in task.expected.items()}

    def cell(where: str, what: str, found: int, published: int, must: bool, then: str = "") -> Check:
        text = f"{task.name}/{where}: {found:,} {what}, Table 1 has {published:,}"
        return Check(
            "ok" if found == published else "error" if must else "warning", text, "" if found == published else then
        )

    rows, classes = (sum(part[i] for part in ours.values()) for i in (0, 1))
    rows_paper, classes_paper = (sum(part[i] for part in paper.values()) for i in (0, 1))
    yield cell("all", "rows", rows, rows_paper, True, "is the release whole, and the right revision?")
    yield cell("all", f"positive ({positive})", classes, classes_paper, True, fit)
    yield cell("all", "negative", rows - classes, rows_paper - classes_paper, True, fit)
    kept = set(task.split.kept)
    pool = [split for split in paper if split not in kept]
    pool_rows, pool_positive = (sum(ours[place][i] for place in (*pool, "dropped")) for i in (0, 1))
    for split, (rows, positives) in ((split, ours[split]) for split in paper):
        is_official = split in kept
        # under the grouped protocol official train and val rows may have been dropped, and groups are not cut to size
        must = card.protocol == "paper" or (is_official and split == "test")
        yield cell(split, "rows", rows, paper[split][0], must)
        if is_official:
            yield cell(split, f"positive ({positive})", positives, paper[split][1], must, fit)
        else:
            low, high = interval(pool_rows, pool_positive, rows)
            text = (f"{task.name}/{split}: {positives:,} positive ({positive}), Table 1 has {paper[split][1]:,}; "
                    f"19 of 20 random cuts are in {low:,} to {high:,}")  # fmt: skip
            yield Check("ok" if low <= paper[split][1] <= high else "warning", text)
