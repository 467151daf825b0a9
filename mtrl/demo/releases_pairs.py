"""Small releases of benchmarks of image pairs, in the exact layout of the real ones; as releases.py.

mmrb2    {t2i,edit}/test-*.parquet, images in lists; an edit with two source images, one with two images on a side
"""

from __future__ import annotations

import itertools
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


VOTES = ("leftvote", "rightvote", "tievote", "bothbad_vote")


def genaibench(
    raw: Path, subset: str = "generation", rows: int = 24, make: Make | None = None, votes: Iterable[str] = ()
) -> Path:
    """`votes`: one of VOTES per row; default: each as often. Images are left and right, of `edition` after the source.

    Every second row has the texts of the row before. The split `test` has one row, which is not of the benchmark.
    """
    import pyarrow as pa

    folder, make, edit = raw / "genaibench" / f"image_{subset}", make or blocks(8), subset == "edition"
    given = list(votes) or [VOTES[number % 4] for number in range(rows)]
    texts = ("source_prompt", "target_prompt", "instruct_prompt") if edit else ("prompt",)
    images = ("source_image", "left_output_image", "right_output_image") if edit else ("left_image", "right_image")
    others = ("left_model", "right_model", "vote_type")
    schema = pa.schema(
        [(name, pa.string()) for name in (*texts, *others)] + [(name, image_struct()) for name in images]
    )
    records = []
    for number, vote in enumerate(given):
        first = len(images) * number
        records.append(
            {name: f"{name} {number // 2} " for name in texts}
            | {"left_model": "SDXL", "right_model": "PixArt", "vote_type": vote}
            | {
                name: {"bytes": encoded(make(first + place), "JPEG", quality=95), "path": f"{number}_{place}.jpg"}
                for place, name in enumerate(images)
            }
        )
    parquet(folder / "test_v1-00000-of-00001.parquet", records, schema)
    parquet(folder / "test-00000-of-00001.parquet", records[:1], schema)
    return folder.parent


def editreward(
    raw: Path, ways: int = 3, groups: int = 4, make: Make | None = None, best_first: Iterable[str] = ()
) -> Path:
    """`best_first`: per group its letters, best first; default: random. Of two ways "=" is a tie.

    Of group n image (ways + 1) n of `make` is the source, and the next ones are its edits A, B, ...
    """
    import pyarrow as pa

    folder, make, rng = raw / "editreward" / f"{ways}pair", make or blocks(9), random.Random(9)
    letters = "ABCD"[:ways]
    given = list(best_first)
    if not given:
        given = ["".join(rng.sample(letters, ways)) for _ in range(groups)]
        given[-1] = "=" if ways == 2 else given[-1]
    text, images = pa.string(), ("source_image", "candidate_1", "candidate_2")
    scores = ("score_1", "score_2", "instruction_following_1", "instruction_following_2", "visual_quality_1",
              "visual_quality_2")  # fmt: skip
    names = ("id", "instruction", "ranking", "comparison_type", "dataset", "model_1", "model_2")
    schema = pa.schema(
        [(name, text) for name in names]
        + [("num_candidates", pa.int64())]
        + [(name, pa.float64()) for name in scores]
        + [(name, image_struct()) for name in images]
    )
    records = []
    for group, order in enumerate(given):
        data = [encoded(make((ways + 1) * group + place), "PNG") for place in range(ways + 1)]
        for number, (one, other) in enumerate(itertools.combinations(letters, 2)):
            better, worse = sorted((one, other), key=order.find)
            held = {"source_image": 0, "candidate_1": 1 + letters.index(one), "candidate_2": 1 + letters.index(other)}
            records.append(
                {
                    "id": f"{group:032x}_{number}",
                    "instruction": f"make the sky colour {group} ",
                    "ranking": "A=B" if order == "=" else f"{better}>{worse}",
                    "comparison_type": f"{one}vs{other}",
                    "dataset": f"{ways}pair",
                    "model_1": f"model {one}",
                    "model_2": f"model {other}",
                    "num_candidates": ways,
                    **dict.fromkeys(scores, 3.5),
                    **{name: {"bytes": data[place], "path": f"{place}.png"} for name, place in held.items()},
                }
            )
    parquet(folder / "train-00000-of-00001.parquet", records, schema)
    return folder.parent
