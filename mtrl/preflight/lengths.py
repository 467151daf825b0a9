"""The longest prompt in tokens: of its images exactly, of its text exactly where the model's tokenizer is at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mtrl.config import prompting, samples, tasks
from mtrl.config.recipe_types import Recipe
from mtrl.core.finding import Check
from mtrl.models import budget

CHAT = 12  # tokens of the chat template itself
ESTIMATE = 3  # characters per token
SAMPLED = 200  # rows per task, for means


def image_tokens(width: int, height: int, recipe: Recipe) -> int:
    """Tokens of one image of this size in pixels: one per merged patch of the size that the model sees."""
    side = recipe.model.patch_size * recipe.model.merge_size
    wide, high, _ = budget.fitted(width, height, recipe.image.model_dump(), side)
    return wide * high // side**2


@dataclass(frozen=True)
class Means:
    """Mean tokens of one prompt."""

    image: float
    text: float


def means(recipe: Recipe, data: Path) -> Means:
    """Over up to SAMPLED training rows per task, each task with the weight of its rows. Nothing of it is exact."""
    image = text = total = 0.0
    count = _counter(Path(recipe.model.path) / "tokenizer.json")
    for name in recipe.tasks:
        rows = samples.count(data, name, "train")
        if not rows:
            continue
        render, found = prompting.renderer(tasks.load(name), recipe.style), []
        for sample in islice(samples.read(data, name, "train"), 0, None, -(-rows // SAMPLED)):
            pictures = sum(_tokens(data / picture, recipe) or 0 for picture in sample.images)
            found.append(
                (pictures, count(render(sample).replace(prompting.MARKER, "")) + CHAT + 2 * len(sample.images))
            )
        weight = min(rows, recipe.max_rows_per_task or rows)
        image += weight * sum(pictures for pictures, _ in found) / len(found)
        text += weight * sum(words for _, words in found) / len(found)
        total += weight
    return Means(image / total, text / total)


def _tokens(image: Path, recipe: Recipe) -> int | None:
    """None for a file that is missing or cannot be read, which is another check's error."""
    from PIL import Image

    with suppress(OSError, ValueError, SyntaxError), Image.open(image) as opened:
        return image_tokens(*opened.size, recipe)
    return None


def check(recipe: Recipe, data: Path) -> Iterator[Check]:
    limit, key = 0, "sft.max_length"
    if recipe.sft:
        limit = recipe.sft.max_length
    elif recipe.rl:
        limit, key = recipe.rl.max_prompt_length, "rl.max_prompt_length"
    tokenizer = Path(recipe.model.path) / "tokenizer.json"
    count, how = _counter(tokenizer), "" if tokenizer.exists() else " (text estimated)"
    longest, which = 0, ""
    tokens: dict[str, int] = {}
    for name in recipe.tasks:
        render = prompting.renderer(tasks.load(name), recipe.style)
        for split in ("train", "val"):
            if not samples.path_of(data, name, split).exists():
                continue
            for sample in samples.read(data, name, split):
                for image in sample.images:
                    if image not in tokens and (found := _tokens(data / image, recipe)) is not None:
                        tokens[image] = found
                pictures = sum(tokens.get(image, 0) + 2 for image in sample.images)  # vision start and end
                total = pictures + count(render(sample).replace(prompting.MARKER, "")) + CHAT
                if total > longest:
                    longest, which = total, f"{name}/{split}/{sample.id}"
    if longest > limit:
        text = f"{which} needs {longest:,} tokens{how}, and {key} is {limit:,}"
        yield Check("error", text, f"--set {key}={-(-longest // 64) * 64}")
    elif longest:
        yield Check("ok", f"the longest prompt has {longest:,} tokens{how} ({which}); {key} is {limit:,}")


def _counter(tokenizer: Path) -> Callable[[str], int]:
    if not tokenizer.exists():
        return lambda text: len(text) // ESTIMATE
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(str(tokenizer))
    return lambda text: len(loaded.encode(text).ids)
