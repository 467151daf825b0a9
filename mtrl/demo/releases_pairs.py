"""Small releases of benchmarks of image pairs, in the exact layout of the real ones; as releases.py.

mmrb2    {t2i,edit}/test-*.parquet, images in lists; an edit with two source images, one with two images on a side
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from mtrl.demo.releases import Make, blocks, encoded, image_struct, parquet


class Mmrb2Pair(NamedTuple):
    """One row of MMRB2."""

    prompt: str
    chosen: str
    """A or B."""
    sources: int = 0
    """Images in the prompt."""
    sides: tuple[int, int] = (1, 1)
    """Images of A and of B."""


def mmrb2(
    raw: Path, subset: str = "t2i", rows: int = 20, make: Make | None = None, pairs: Iterable[Mmrb2Pair] = ()
) -> Path:
    """`pairs`: one per row; default: random, and of `edit` the last two do not fit a task of one source image."""
    import pyarrow as pa

    folder, make, rng = raw / "mmrb2", make or blocks(7), random.Random(7)
    given, sources = list(pairs), int(subset == "edit")
    if not given:
        given = [Mmrb2Pair(f"prompt {n} ", "AB"[rng.random() < 0.45], sources) for n in range(rows)]
        if subset == "edit":
            given[-2:] = [given[-2]._replace(sources=2), given[-1]._replace(sides=(1, 2))]
    text, images = pa.string(), pa.list_(image_struct())
    names = ("pair_id", "prompt_text", "prompt_images", "response_a_text", "response_a_images", "response_b_text",
             "response_b_images", "response_a_model", "response_b_model", "prompt_source", "prompt_metadata", "chosen",
             "human_annotations")  # fmt: skip
    schema = pa.schema([(name, images if name.endswith("_images") else text) for name in names])
    numbers = iter(range(10**9))

    def pictures(amount: int) -> list[dict[str, Any]]:
        return [{"bytes": encoded(make(next(numbers)), "JPEG", quality=95), "path": None} for _ in range(amount)]

    def marked(amount: int, words: str = "") -> str:
        return " ".join([*(f"<image_{n + 1}>" for n in range(amount)), *([words] if words else [])])

    records = []
    for number, pair in enumerate(given):
        source = ("oneigbench", "evalmuse")[number % 2] if subset == "t2i" else ("emu-edit", "dreambench")[number % 2]
        low, high = sorted(rng.sample(range(1, 4), 2))
        records.append(
            {
                "pair_id": f"{source}_{number // 2}_{rng.getrandbits(62)}_imagen4_{number}_gpt-image-1_{number}",
                "prompt_text": marked(pair.sources, pair.prompt),
                "prompt_images": pictures(pair.sources),
                "response_a_text": marked(pair.sides[0]),
                "response_a_images": pictures(pair.sides[0]),
                "response_b_text": marked(pair.sides[1]),
                "response_b_images": pictures(pair.sides[1]),
                "response_a_model": "imagen4",
                "response_b_model": "gpt-image-1",
                "prompt_source": source,
                "prompt_metadata": json.dumps({"id": number // 2, "category": "Text_Rendering"}),
                "chosen": pair.chosen if subset == "t2i" else pair.chosen.lower(),
                "human_annotations": json.dumps([n + 3 * (pair.chosen == "A") for n in (low, low, high)]),
            }
        )
    half = len(records) // 2
    for shard, part in enumerate((records[:half], records[half:])):
        parquet(folder / subset / f"test-{shard:05d}-of-00002.parquet", part, schema)
    return folder
