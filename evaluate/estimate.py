"""The true share of a verdict in a set of judged images, from labels of a few of them.

The labels are a table (labelling.py), the set's own, or an evaluation, whose images may be other ones. All estimates
hold only if the labelled images are a random sample of the set. Where that can be seen to be false, the estimates that
need it are refused; where it cannot be seen, a note says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mtrl.config import task_files
from mtrl.config.kinds import INVALID
from mtrl.config.tasks import Task
from mtrl.core.errors import UserError
from mtrl.core.schema import Stored
from mtrl.evaluate import image_items, labelling
from mtrl.evaluate.judged_set import Judged, JudgedSet
from mtrl.evaluate.labelling import Label, Labels
from mtrl.evaluate.metrics import prevalence
from mtrl.evaluate.metrics.intervals import FEW
from mtrl.evaluate.metrics.prevalence import Sample, Share
from mtrl.reward_plugins import judge

LEAST = 10  # clusters of labels; ours
CORRECT = "correct the label, and run the same command again"
UNLIKE = 0.001  # p of the verdicts on labelled images, from which they are no random sample; ours


class TaskShare(Stored):
    """What is known of one task of the set."""

    task: str
    of: list[str]
    """The verdicts whose share is estimated."""
    images: int
    """In the set."""
    labels: int
    clusters: int
    """Of the labelled images, see judged_set.py."""
    seed: int | None
    """Of the random sample that the labels are; None where that is not known."""
    judge_alone: float
    """The share of the judge's verdicts."""
    no_verdict: int
    """Answers without a verdict; they count as another verdict."""
    labels_alone: Share | None
    ppi: Share | None
    tuning: float | None
    """PPI++'s lambda."""
    rogan_gladen: Share | None
    sensitivity: float | None
    specificity: float | None
    notes: list[str]
    """What a reader has to know, and why an estimate is missing."""


def choices(found: JudgedSet, name: str) -> tuple[tuple[str, ...], Task | None]:
    """The verdicts of a task, and the task itself where it is known here. Raises UserError."""
    seen = {row.verdict for row in found.tasks[name]} - {INVALID}
    try:
        task = task_files.load(name, found.home)
    except UserError:  # the export has it, and this folder does not
        task = None
    if found.choices:
        known = found.choices[name]
        return known, task if task and task.choices == known else None
    if task is None:
        kinds = (judge.POINTWISE, judge.PAIRWISE, (*judge.PAIRWISE, judge.TIE))
        return next((kind for kind in kinds if seen <= set(kind)), tuple(sorted(seen))), None
    if strange := seen - set(task.choices):
        raise UserError(
            f"{found.path} has verdict {min(strange)!r}, and task {name} here has {judge.said(task.choices)}",
            f"use the folder whose recipes/tasks/{name}.yaml the images were judged with",
        )
    return task.choices, task


def interest(found: JudgedSet, names: Sequence[str], given: str | None) -> tuple[str, ...]:
    """The verdicts whose share is estimated: those of `given`, a comma list, or yes. Raises UserError."""
    of = tuple(word.strip().casefold() for word in (given or judge.POINTWISE[0]).split(","))
    for name in names:
        known, _ = choices(found, name)
        if not set(of) < set(known):
            raise UserError(
                f"task {name} has the verdicts {judge.said(known)}; --of {','.join(of)} is not some of them",
                f"pass --tasks {name} --of with one of them, or several with commas",
            )
    return of


def read_labels(found: JudgedSet, names: Sequence[str], file: Path | None) -> Labels:
    """Of a table, or where there is none the set's own. Raises UserError."""
    words = {name: choices(found, name) for name in names}

    def meant(name: str, word: str) -> str:
        known, task = words[name]
        if task:
            try:
                return image_items.meant(word, task)
            except image_items.Wrong as why:
                raise UserError(str(why), CORRECT) from None
        if word.casefold() not in known:
            raise UserError(f"label {word!r} is not a verdict of task {name}: {judge.said(known)}", CORRECT)
        return word.casefold()

    if file:
        return labelling.read(file, found, names, meant)
    where = str(found.path)
    own = {n: {r.id: Label(r, r.label, None, where) for r in found.tasks[n] if r.label} for n in names}
    return Labels(own, [], None)


def of_table(found: JudgedSet, name: str, of: tuple[str, ...], labels: Labels) -> TaskShare:
    """From labels of images of the set. Raises UserError where there is no estimate to trust."""
    known = labelling.used(found, name, labels)
    labelled = [(row, known.labels[row.id]) for row in found.tasks[name] if row.id in known.labels]
    notes = list(known.notes)
    if known.seed is None:
        notes.append(
            "the labels were not drawn by --next, so it cannot be seen whether they are a random sample of the set;"
            " if they are not, every number here is biased"
        )
    if labels.blank:
        more = f"fill in column label of {labels.file}: {labels.blank:,} of its rows have none"
    else:
        more = labelling.draw_first(found.path, labels.file)
    return _share(found, name, of, labelled, notes, more, seed=known.seed)


def of_evaluation(found: JudgedSet, name: str, of: tuple[str, ...], other: JudgedSet) -> TaskShare:
    """From the labels and verdicts of an evaluation. Raises UserError where there is no estimate to trust."""
    if name not in other.tasks:
        raise UserError(
            f"{other.path} has no task {name}", f"pass --tasks with one that it has: {', '.join(other.tasks)}"
        )
    if name in found.escalated:
        raise UserError(
            f"{found.path} has verdicts of two judges for task {name} (--escalate-to), and {other.path} is of one",
            labelling.draw_first(found.path),
        )
    if found.asked and other.asked and found.asked[name] != other.asked[name]:
        raise UserError(
            f"{found.path} and {other.path} are of different judges or prompts, so one says nothing about the other",
            "evaluate the judge that gave the verdicts, with the same prompt",
        )
    labelled = [(row, row.label) for row in other.tasks[name]]
    outside = len({row.id for row, _ in labelled} - {row.id for row in found.tasks[name]})
    notes = [] if found.asked else ["whether the same judge and prompt gave both files cannot be seen"]
    notes.append(
        f"{outside:,} of the {len(labelled):,} labels are of images outside the set: PPI++ and labels alone hold only"
        " if both are random samples of one source, Rogan-Gladen only if the judge errs as often on both"
        if outside
        else "it cannot be seen whether the evaluation is a random sample of the set; if it is not, every number here"
        " is biased"
    )
    return _share(found, name, of, labelled, notes, labelling.draw_first(found.path), outside=outside)


def _share(
    found: JudgedSet,
    name: str,
    of: tuple[str, ...],
    labelled: Sequence[tuple[Judged, str]],
    notes: list[str],
    more: str,
    seed: int | None = None,
    outside: int = 0,
) -> TaskShare:
    """`more`: how to get more labels. `seed`: the labels are the random sample with it. `outside`: how many of them are
    of images of another set."""
    rows, ids = found.tasks[name], {row.id for row, _ in labelled}
    rest = [row for row in rows if row.id not in ids]
    positive = sum(label in of for _, label in labelled)
    clusters = len({row.cluster for row, _ in labelled})
    if not rest:
        raise UserError(
            f"all {len(rows):,} images of task {name} have a label, {_percent(positive / len(labelled))} of them"
            f" {'/'.join(of)}: there is nothing to estimate",
            "pass --labels with the labels to use, or the verdicts on more images",
        )
    if clusters < LEAST:
        raise UserError(
            f"task {name} has {len(labelled):,} labels ({clusters} independent); an estimate needs at least {LEAST},"
            " and 200 are a good start",
            more,
        )
    sample = _sample(rows, labelled, rest, of)
    p = 1.0 if seed is not None else prevalence.unlike(sample)
    differ = (
        f"the labelled images are not a random sample of the set: the judge says {'/'.join(of)} for"
        f" {_percent(sample.verdicts.mean())} of them and for {_percent(sample.rest.mean())} of the others"
        f" (p = {p:.1g})"
    )
    sampled = p >= UNLIKE
    tried = prevalence.rogan_gladen(sample)
    if not sampled and (not outside or isinstance(tried, str)):
        none = f"; and no Rogan-Gladen estimate: {tried}" if outside else ""
        raise UserError(f"task {name}: {differ}{none}", labelling.draw_first(found.path))
    if skipped := found.skipped[name]:
        notes.append(f"{skipped:,} images of the set were skipped by mtrl judge; no number counts them")
    if clusters < FEW:
        notes.append(f"only {clusters} independent labels: the intervals are rough")
    if not sampled:
        notes.append(f"PPI++ and labels alone are left out: {differ}")
    elif positive in (0, len(labelled)):
        notes.append("all labels say the same, so PPI++ is the share of the labels alone; label more images")
    ppi, tuning = prevalence.ppi(sample)
    corrected = None if isinstance(tried, str) else tried
    if isinstance(tried, str):
        notes.append(f"no Rogan-Gladen estimate: {tried}")
    for formula, share in (("PPI++", ppi if sampled else None), ("Rogan-Gladen", corrected and corrected.share)):
        if share and share.formula != share.value:
            notes.append(f"the formula of {formula} gives {_percent(share.formula)}, and is clipped")
    return TaskShare(
        task=name,
        of=list(of),
        images=len(rows),
        labels=len(labelled),
        clusters=clusters,
        seed=seed,
        judge_alone=float(sample.every.mean()),
        no_verdict=sum(row.verdict == INVALID for row in rows),
        labels_alone=prevalence.of_labels(sample) if sampled else None,
        ppi=ppi if sampled else None,
        tuning=tuning if sampled else None,
        rogan_gladen=corrected and corrected.share,
        sensitivity=corrected and corrected.sensitivity,
        specificity=corrected and corrected.specificity,
        notes=notes,
    )


def _sample(
    rows: Sequence[Judged], labelled: Sequence[tuple[Judged, str]], rest: Sequence[Judged], of: tuple[str, ...]
) -> Sample:
    import numpy as np

    number: dict[str, int] = {}

    def verdicts(some: Iterable[Judged]) -> Any:
        return np.array([row.verdict in of for row in some], float)

    def clusters(some: Iterable[Judged]) -> Any:
        return np.array([number.setdefault(row.cluster, len(number)) for row in some], np.int64)

    own = [row for row, _ in labelled]
    labels = np.array([label in of for _, label in labelled], float)
    return Sample(labels, verdicts(own), clusters(own), verdicts(rest), clusters(rest), verdicts(rows), clusters(rows))


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
