"""`mtrl certify`: from an evaluation of labelled rows to a threshold per task, or the reason why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mtrl.config import samples
from mtrl.core import hints
from mtrl.core.errors import UserError, nearest
from mtrl.core.files import sha256_file
from mtrl.evaluate import predictions
from mtrl.evaluate.decision import Decision
from mtrl.evaluate.identity import Identity
from mtrl.evaluate.metrics import selective, temperature
from mtrl.evaluate.metrics.selective import Item, Tested
from mtrl.evaluate.metrics.temperature import Scaling
from mtrl.evaluate.predictions import Answers

SEEN = "seen in training"


@dataclass(frozen=True)
class Certified:
    """What the rows of one task prove."""

    task: str
    rows: int
    """Labelled rows that were used."""
    tested: Tested
    scaling: Scaling | None
    """None where it cannot be fitted."""
    decision: Decision | None
    """None where no threshold passes."""
    left_out: dict[str, int]
    """Items that are never decided, by reason; SEEN: those that were not used."""
    observed: tuple[int, int]
    """Wrong and all verdicts at or above the threshold, over all rows and not one per cluster. Without a threshold: of
    all verdicts with a confidence."""
    unchecked: list[str]
    """Sentences about what could not be checked in the calibration rows."""


def certify(folder: Path, names: list[str], alpha: float, delta: float, data: Path) -> Iterator[Certified]:
    """One per task of `names`, or of all that the evaluation has. Raises UserError where its rows cannot be used."""
    run = predictions.load(folder)
    digest = sha256_file(folder / predictions.FILE)
    chosen = names or list(run.identity.tasks)
    for name in chosen:
        if name not in run.identity.tasks:
            known = nearest(name, run.identity.tasks)
            raise UserError(f"{folder} has no task {name!r}.{known}", "pass other --tasks, or leave it out for all")
        asked, found = run.identity.tasks[name], run.of_task(name)
        _check(folder, name, run.identity, found)
        seen, unchecked = _seen(name, run.identity, data)
        rows = [row for row in found.rows if row.id not in seen]
        items = selective.items(rows)
        labels = {row.label for row in rows if row.order == "given"}
        others = ",".join(other for other in chosen if other != name)
        _check_rows(name, items, labels, len(seen), alpha, delta, others)
        tested = selective.threshold(selective.independent(items), alpha, delta)
        left_out = {**({SEEN: len(seen)} if seen else {}), **Counter(item.why for item in items if item.why)}
        scaling = temperature.scaling(rows, found.choices)
        observed = [i for i in items if i.confidence is not None and i.confidence >= (tested.threshold or 0)]
        decision = None
        if tested.threshold is not None:
            decision = Decision(
                style=run.identity.style,
                prompt_sha256=asked.prompt_sha256,
                choices=found.choices,
                both_orders=any(row.order == "turned" for row in rows),
                alpha=alpha,
                delta=delta,
                threshold=tested.threshold,
                coverage=tested.decided / tested.n,
                coverage_ci95=selective.coverage(tested),
                rows=len(items),
                clusters=tested.n,
                decided=tested.decided,
                wrong=tested.wrong,
                left_out=left_out,
                scaling=scaling if scaling and scaling.helps else None,
                split=asked.split,
                samples_sha256=asked.samples_sha256,
                predictions_sha256=digest,
            )
        wrong = sum(not item.correct for item in observed)
        yield Certified(name, len(items), tested, scaling, decision, left_out, (wrong, len(observed)), unchecked)


def _check(folder: Path, name: str, identity: Identity, found: Answers) -> None:
    """Raises UserError where the evaluation did not ask as `mtrl judge` asks."""
    asked = identity.tasks[name]

    def score(split: str) -> str:
        out = hints.free(str(folder.parent), "calibration")
        return hints.line("eval", ckpt=identity.path, tasks=name, split=split, confidence=True, out=out)

    again = score(asked.split)
    if asked.pointwise:
        raise UserError(
            f"{folder} decides the pairs of task {name} from single answers, which mtrl judge does not", again
        )
    if identity.sampling.votes > 1:
        raise UserError(
            f"{folder} has {identity.sampling.votes} votes per row, and mtrl judge asks once: its confidence is another"
            " number",
            again,
        )
    if len(found.rows) < asked.requests:
        raise UserError(
            f"{folder} has {len(found.rows):,} of {asked.requests:,} answers of task {name}",
            "run the same mtrl eval again: it asks the others",
        )
    if not any(row.confidence is not None for row in found.rows):
        raise UserError(f"{folder} has no confidence for task {name}", again)
    if asked.split == "train" and name in identity.trained:
        raise UserError(
            f"{folder} is of split train of task {name}, which the judge was trained on: rows that it has seen prove"
            " nothing about others",
            f"{score('val')}; or score it on a task of your own",
        )


def _check_rows(
    name: str, items: list[Item], labels: set[str], seen: int, alpha: float, delta: float, others: str
) -> None:
    """Raises UserError where the rows are too few to prove anything, or all have one label. `others` are the other
    tasks, as --tasks takes them."""
    leave = f"; or leave this task out: --tasks {others}" if others else ""
    needed = selective.fewest(alpha, delta)
    if len(labels) == 1:
        raise UserError(
            f"every row of task {name} has the label {labels.pop()!r}: a judge that always says so would pass",
            f"label rows of each kind, in about the shares that the judge will meet{leave}",
        )
    clusters = len({item.unit for item in items})
    if clusters < needed:
        together = f" of {len(items):,} rows, since rows that share an image, a text or a source count once"
        without = f", without {seen:,} with an image that the judge was trained on" if seen else ""
        raise UserError(
            f"task {name} has {clusters:,} independent rows{together if clusters < len(items) else ''}{without}; alpha"
            f" {alpha:g} and delta {delta:g} need at least {needed:,}, and that many only if not one of them is wrong",
            f"label more rows, or pass a larger --alpha or --delta{leave}",
        )


def _seen(name: str, identity: Identity, data: Path) -> tuple[set[str], list[str]]:
    """The ids of the calibration rows with an image (by sha256, which is its name) that the judge was trained on, and
    what cannot be checked."""
    asked = identity.tasks[name]
    notes = []
    if asked.limit or asked.conversion_limit:
        notes.append("only the first rows of the split were used: they stand for the others if their order is random")
    if asked.split == "val" and name in identity.trained:
        notes.append(
            "if mtrl select or a trainer chose this judge's step by these rows, it has seen their labels, and the error"
            " may be higher than proven; rows that had no part in it have no such doubt"
        )
    if not identity.run:
        return set(), [*notes, "mtrl did not train this judge, so whether it has seen these rows cannot be checked"]
    file = samples.path_of(data, name, asked.split)
    if not file.is_file() or sha256_file(file) != asked.samples_sha256:
        unknown = "whether the judge was trained on these images cannot be checked (--data DIR)"
        return set(), [*notes, f"{file} is not what was scored, so {unknown}"]
    trained: set[str] = set()
    for task in identity.trained:
        images = [paths for (paths,) in samples.columns(data, task, "train", "images")]
        trained.update(image for paths in images for image in paths)
        if not images:
            notes.append(f"{data} has no training rows of {task}, so they cannot be compared by image")
    rows = samples.columns(data, name, asked.split, "id", "images")
    return {one for one, images in rows if trained.intersection(images)}, notes
