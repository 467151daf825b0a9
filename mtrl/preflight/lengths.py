"""The prompts in tokens: of images exactly, of text exactly where the model's tokenizer is at hand.

A prompt is as vLLM gets it, in the model's chat template; for SFT with its answer, which `sft.max_length` includes: the
longest verdict of the task, or the row's longest trace.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from mtrl.backends import row_plan, traces
from mtrl.config import prompting, samples, tasks
from mtrl.config.recipe_types import Recipe
from mtrl.config.samples import Sample
from mtrl.core.finding import Check
from mtrl.models import budget, tokens

AROUND = 2  # tokens around an image: vision start and end
END = 2  # tokens after an answer: its end and a line break
SAMPLED = 200  # rows per task, for means


class Length(NamedTuple):
    """The tokens of one row's prompt."""

    row: str
    """Its split and id: train/12."""
    image: int
    """Of its images alone."""
    text: int
    """The rest; in SFT with the answer."""


@dataclass(frozen=True)
class Means:
    """Mean tokens of one prompt."""

    image: float
    text: float


def image_tokens(width: int, height: int, recipe: Recipe) -> int:
    """Tokens of one image of this size in pixels: one per merged patch of the size that the model sees."""
    side = recipe.model.patch_size * recipe.model.merge_size
    wide, high, _ = budget.fitted(width, height, recipe.image.model_dump(), side)
    return wide * high // side**2


def lengths(recipe: Recipe, data: Path, name: str, splits: tuple[str, ...], step: int = 1) -> Iterator[Length]:
    """Every `step`-th row of these splits of a task, in file order; none where it is not converted."""
    task, counter = tasks.load(name), tokens.counter(Path(recipe.model.path))
    # of SFT the longest reply too: of the task, or of each row that has traces
    replies = traces.replies(recipe, data, name) if recipe.on_traces else None
    reply = max(map(counter.count, task.choices)) + END if recipe.stage == "sft" else 0
    render = prompting.renderer(task, recipe.style)
    sized = functools.cache(lambda width, height: image_tokens(width, height, recipe))
    texts: dict[tuple[int, str], int] = {}  # a prompt without fields is the same for every row
    parts = (samples.columns(data, name, split, "id", "split", "images", "sizes", "fields") for split in splits)
    rows = (row for row in chain.from_iterable(parts) if replies is None or row[0] in replies)
    for identifier, split, images, sizes, packed in islice(rows, 0, None, step):
        if (key := (len(images), packed)) not in texts:
            sample = Sample(identifier, name, task.kind, tuple(images), json.loads(packed), "", split)
            texts[key] = sum(map(counter.count, render(sample).split(prompting.MARKER)))
        if sizes is None:  # an earlier mtrl did not store them
            sizes = [_size(data / image) for image in images]
        if replies is not None:
            reply = max(map(counter.count, replies[identifier])) + END
        text = texts[key] + counter.chat + reply + AROUND * len(images)
        yield Length(f"{split}/{identifier}", sum(sized(*size) for size in sizes if size), text)


def _size(image: Path) -> tuple[int, int] | None:
    """None for a file that is missing or cannot be read, which is another check's error."""
    from PIL import Image

    with suppress(OSError, ValueError, SyntaxError), Image.open(image) as opened:
        return opened.size
    return None


def means(recipe: Recipe, data: Path) -> Means:
    """Over up to SAMPLED training rows per task, each task with the weight of its rows. Nothing of it is exact."""
    image = text = total = 0.0
    for name in recipe.tasks:
        rows = len(traces.replies(recipe, data, name)) if recipe.on_traces else samples.count(data, name, "train")
        if not rows:
            continue
        found = list(lengths(recipe, data, name, ("train",), -(-rows // SAMPLED)))
        weight = rows if recipe.on_traces else row_plan.of(recipe, data, name).counts.drawn
        image += weight * sum(row.image for row in found) / len(found)
        text += weight * sum(row.text for row in found) / len(found)
        total += weight
    return Means(image / total, text / total)


def check(recipe: Recipe, data: Path) -> Iterator[Check]:
    limit, key = 0, "sft.max_length"
    if recipe.sft:
        limit = recipe.sft.max_length
    elif recipe.rl:
        limit, key = recipe.rl.max_prompt_length, "rl.max_prompt_length"
    how = "" if tokens.counter(Path(recipe.model.path)).exact else " (text estimated)"
    longest, which = 0, ""
    for name in recipe.tasks:
        for row in lengths(recipe, data, name, ("train", "val")):
            if row.image + row.text > longest:
                longest, which = row.image + row.text, f"{name}/{row.row}"
    if longest > limit:
        text = f"{which} needs {longest:,} tokens{how}, and {key} is {limit:,}"
        yield Check("error", text, f"--set {key}={-(-longest // 64) * 64}")
    elif longest:
        yield Check("ok", f"the longest prompt has {longest:,} tokens{how} ({which}); {key} is {limit:,}")
