"""The longest prompt in tokens: of its images exactly, of its text exactly where the model's tokenizer is at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from mtrl.config import prompting, samples, tasks
from mtrl.config.recipe_types import Recipe
from mtrl.core.finding import Check
from mtrl.models import budget

CHAT = 12  # tokens of the chat template itself
ESTIMATE = 3  # characters per token


def image_tokens(width: int, height: int, recipe: Recipe) -> int:
    """Tokens of one image of this size in pixels: one per merged patch of the size that the model sees."""
    side = recipe.model.patch_size * recipe.model.merge_size
    wide, high, _ = budget.fitted(width, height, recipe.image.model_dump(), side)
    return wide * high // side**2


def check(recipe: Recipe, data: Path) -> Iterator[Check]:
    from PIL import Image

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
                    if image not in tokens and (data / image).is_file():
                        with suppress(OSError, ValueError, SyntaxError), Image.open(data / image) as opened:
                            tokens[image] = image_tokens(*opened.size, recipe)
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
