"""The converted rows that a recipe trains on and validates with: are they there, unchanged, and apart from the other
splits?
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from mtrl.backends import row_plan, traces
from mtrl.config import datacard, prompting, samples, tasks
from mtrl.config.recipe_types import Recipe
from mtrl.converters.checks.converted import altered
from mtrl.converters.pipeline import counts, exports
from mtrl.core import hints
from mtrl.core.finding import Check

SPLITS = ("train", "val")


def check(recipe: Recipe, data: Path) -> Iterator[Check]:
    """Raises UserError for a card or a prompt that cannot be read."""
    images = functools.cache(functools.partial(_images, data))
    if recipe.on_traces:
        yield from _source(recipe, data)
    for name in recipe.tasks:
        yield from _task(recipe, data, name, images(name, "train") | images(name, "val"))
    trained = set().union(*(images(name, "train") for name in recipe.tasks))
    for card_file in sorted(data.glob(f"*/{datacard.FILE}")):
        name = card_file.parent.name
        for split in ("val", "test"):
            if shared := trained & images(name, split):
                text = f"{len(shared)} training images are in {name}/{split} too"
                yield Check("warning", text, hints.line("check", name))


def _task(recipe: Recipe, data: Path, name: str, images: set[str]) -> Iterator[Check]:
    task, again, card_file = tasks.load(name), datacard.convert_again(name, data), datacard.path_of(data, name)
    if not card_file.exists():
        yield Check("error", f"task {name} is not converted ({card_file} is missing)", again)
        return
    card = datacard.read(data, name)
    rows = {split: sum(verdicts.values()) for split, verdicts in card.counts.items()}
    if card.prompts.get(recipe.style) != prompting.sha256(task, recipe.style):
        yield Check("error", f"task {name}: its {recipe.style} prompt has changed since it was converted", again)
    yield from counts.fields(task, data)
    if empty := [split for split in SPLITS if not rows.get(split)]:
        test_only = len(empty) == len(SPLITS) and task.split.official  # converting again would change nothing
        then = "it is for mtrl eval; train on other tasks: --tasks A,B" if test_only else again
        yield Check("error", f"task {name} has no rows in {' and '.join(empty)}", then)
    plan = row_plan.of(recipe, data, name)
    yield from counts.untrainable(task, data, sorted(set(plan.rows)), again)
    files = [f"{name}/{(exports.SFT if recipe.sft else exports.RL).format(split)}" for split in SPLITS]
    if recipe.on_traces:
        files = [str(samples.path_of(Path(), name, "train"))]
    yield from altered(data, name, [*files, *sorted(images)], again)
    if recipe.on_traces:
        yield from _traces(recipe, data, name)
        return
    limited = f", at most {card.limit} per split" if card.limit else ""
    left, drawn = len(set(plan.rows)), plan.counts.drawn
    train = f"{left:,}" if left == rows["train"] else f"{left:,} of {rows['train']:,}"
    times = "" if drawn == left else f" ({drawn:,} draws per epoch)"
    yield Check("ok", f"task {name}: train {train}{times}, val {rows['val']:,} rows{limited}")
    if said := row_plan.said(recipe, data, name):
        yield Check("ok", f"task {name}: {said}")


def _source(recipe: Recipe, data: Path) -> Iterator[Check]:
    """Whose traces they are."""
    found = traces.recorded(recipe, data)
    assert found
    own = f"of {recipe.model.path}, which is trained"
    other = f"of another model, {found.model}, than {recipe.model.path}, which is trained: this is distillation"
    yield Check("ok", f"sift {recipe.sift}: the traces are {own if found.own else other}")


def _traces(recipe: Recipe, data: Path, name: str) -> Iterator[Check]:
    kept = traces.of_task(recipe, data, name).counts
    verdicts = ", ".join(f"{verdict} {count:,}" for verdict, count in kept.verdicts.items())
    text = f"task {name}: {kept.solved:,} of {kept.rows:,} training rows have a correct trace; {kept.held_out:,} rows"
    yield Check("ok", f"{text} are held out to validate, and {kept.traces:,} traces of the others train ({verdicts})")
    balanced = kept.dropped["balance"]
    if balanced > kept.traces:
        text = f"task {name}: {balanced:,} traces of its most frequent verdict are left out, since the others have few"
        yield Check("warning", text, "sift with more --votes, or another --ckpt")


def _images(data: Path, name: str, split: str) -> set[str]:
    """The stored images, named by content, of one split; none where the task is not converted."""
    return {image for (row,) in samples.columns(data, name, split, "images") for image in row}
