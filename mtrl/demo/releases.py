"""Small releases in the exact layout of the real ones: file names, columns, types, zip members and image modes.

Every function writes raw/<benchmark>/ and returns that folder. The same arguments give the same rows and pixels. `make`
gives the image of a row by its number; the default is blocks of random colour, no two alike.

    agin           MOS_AGIN.csv, AGIN_512x512/<Model>_<promptset>_<n>.png, some RGBA
    seetrue        SeeTRUE.csv, images.zip (members in images/, names with "="; in the table some have no extension)
    imagereward    metadata-<split>.parquet, images/<split>/<split>_<n>.zip: lossless <uuid>.webp and <split>_<n>.json
    unsafebench    data/train-*.parquet and data/test-*.parquet, images as {bytes, path}, one palette image
    mjbench        data/{alignment,safety,quality}.parquet, nearly all labels 0, one pair twice
"""

from __future__ import annotations

import csv
import io
import json
import random
import uuid
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

Make = Callable[[int], Image.Image]
HARM = ("Hate", "Harassment", "Violence", "Self-harm", "Sexual", "Shocking", "Illegal activity", "Deception",
        "Political", "Public and personal health", "Spam")  # fmt: skip
EPOCH = (2023, 5, 1, 0, 0, 0)  # the time of every zip member


class Scores(NamedTuple):
    """AGIN's mean opinion scores of an image, from 0 to 100."""

    natural: float
    technical: float
    rational: float


def blocks(seed: int, size: int = 64) -> Make:
    """A function that makes images of `size` x `size` pixels: 8 x 8 blocks of random colour."""

    def make(number: int) -> Image.Image:
        rng = random.Random(f"{seed}/{number}")
        return Image.frombytes("RGB", (8, 8), rng.randbytes(192)).resize((size, size), Image.Resampling.NEAREST)

    return make


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image as a file of the format `kind`, in Pillow's words, as are `options`."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def agin(raw: Path, rows: int = 60, make: Make | None = None, scores: Iterable[Scores] = ()) -> Path:
    """`scores`: one per row; default: random."""
    folder, make, rng = raw / "agin", make or blocks(1), random.Random(1)
    (folder / "AGIN_512x512").mkdir(parents=True, exist_ok=True)
    given = list(scores)
    with (folder / "MOS_AGIN.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["filename", "MOS_nat", "MOS_tech", "MOS_rat"])
        for number in range(rows):
            model, mode = ("CoCosNet", "Dreaml", "SDXL")[number % 3], "RGBA" if number % 3 else "RGB"
            prompts = ("_coco" if number % 2 else "_drawbench") if number % 3 else ""
            name = f"{model}{prompts}_{number // 3}.png"
            mos = given[number] if given else Scores(*(round(rng.gauss(mean, 8), 4) for mean in (50, 58, 55)))
            make(number).convert(mode).save(folder / "AGIN_512x512" / name)
            writer.writerow([name, *mos])
    return folder


def seetrue(
    raw: Path, rows: int = 60, make: Make | None = None, labels: Iterable[tuple[str, int]] = (), captions: int = 12
) -> Path:
    """`labels`: (text, 0 or 1) per row; default: random, with `captions` texts that rows share, as in the release."""
    folder, make, rng = raw / "seetrue", make or blocks(2), random.Random(2)
    folder.mkdir(parents=True, exist_ok=True)
    given = list(labels) or [
        (f"A photo of scene number {rng.randrange(captions)}", rng.randrange(2)) for _ in range(rows)
    ]
    with (
        (folder / "SeeTRUE.csv").open("w", newline="", encoding="utf-8") as file,
        zipfile.ZipFile(folder / "images.zip", "w") as archive,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "text", "label", "original_dataset_id", "dataset_source"])
        for number, (text, label) in enumerate(given):
            source = ("editbench", "drawbench", "coco_t2i")[number % 3]
            name = {
                "editbench": f"{number}_a=few_o=cat_s=indoor.png",
                "drawbench": f"drawbench_{number}",
                "coco_t2i": f"{number}_coco_val_{number:012d}.jpg",
            }[source]
            member = name if name.endswith("g") and "." in name else name + ".png"
            kind = "JPEG" if member.endswith(".jpg") else "PNG"
            archive.writestr(zipfile.ZipInfo(f"images/{member}", EPOCH), encoded(make(number), kind))
            writer.writerow([name, text, label, f"{source}-{number}", source])
    return folder


def imagereward(
    raw: Path,
    prompts: dict[str, int] | None = None,
    make: Make | None = None,
    ratings: Callable[[int], dict[str, int]] | None = None,
    texts: Iterable[str] = (),
    zips: dict[str, int] | None = None,
) -> Path:
    """`prompts`: their number per split, each with four to six images, which lie in `zips` archives per split.

    `ratings`: the rating columns of a row by its number; `texts`: the prompts in order. Default of both: generated.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder, make, rng = raw / "imagereward", make or blocks(3), random.Random(3)
    prompts = prompts or {"train": 15, "validation": 4, "test": 5}
    zips = zips or {"train": 5, "validation": 2, "test": 2}
    captions = iter(list(texts))
    text, small = pa.string(), pa.int8()
    schema = pa.schema(
        [
            ("image_path", text),
            ("prompt_id", text),
            ("prompt", text),
            ("classification", text),
            ("image_amount_in_total", small),
            ("rank", small),
            ("overall_rating", small),
            ("image_text_alignment_rating", small),
            ("fidelity_rating", small),
        ]
    )
    number = 0
    for split, count in prompts.items():
        held: dict[int, list[dict[str, Any]]] = {n: [] for n in range(1, zips[split] + 1)}
        pictures: dict[int, list[tuple[str, bytes]]] = {n: [] for n in held}
        for prompt in range(count):
            part = 1 + prompt * zips[split] // count
            amount = rng.randint(4, 6)
            caption = next(captions, f"a painting of subject {split} {prompt}, 8 k ")
            for rank in range(1, amount + 1):
                name = f"{uuid.UUID(int=rng.getrandbits(128), version=4)}.webp"
                scores = {"overall_rating": rng.randint(1, 7), "image_text_alignment_rating": rng.randint(1, 7),
                          "fidelity_rating": rng.randint(1, 7)}  # fmt: skip
                held[part].append({
                    "image_path": f"images/{split}/{split}_{part}/{name}",
                    "prompt_id": f"{split[:2]}{prompt:06d}-0061",
                    "prompt": caption, "classification": rng.choice(["People", "Outdoor Scenes"]),
                    "image_amount_in_total": amount, "rank": rank, **(ratings(number) if ratings else scores),
                })  # fmt: skip
                pictures[part].append((name, encoded(make(number), "WEBP", lossless=True)))
                number += 1
        (folder / "images" / split).mkdir(parents=True, exist_ok=True)
        for part, records in held.items():
            with zipfile.ZipFile(folder / "images" / split / f"{split}_{part}.zip", "w") as archive:
                for name, data in pictures[part]:
                    archive.writestr(zipfile.ZipInfo(name, EPOCH), data)
                archive.writestr(zipfile.ZipInfo(f"{split}_{part}.json", EPOCH), json.dumps(records))
        table = pa.Table.from_pylist([record for records in held.values() for record in records], schema)
        pq.write_table(table, folder / f"metadata-{split}.parquet")
    return folder


def unsafebench(
    raw: Path,
    rows: dict[str, int] | None = None,
    make: Make | None = None,
    labels: Callable[[str, int], str] | None = None,
    shards: int = 2,
) -> Path:
    """`rows`: their number per split; `labels`: Safe or Unsafe by (split, row number); `shards`: of the train split."""
    import pyarrow as pa

    folder, make, rng = raw / "unsafebench", make or blocks(4), random.Random(4)
    schema = pa.schema(
        [
            ("image", image_struct()),
            ("safety_label", pa.string()),
            ("category", pa.string()),
            ("source", pa.string()),
            ("text", pa.string()),
        ]
    )
    offset = 0
    for split, count in (rows or {"train": 50, "test": 12}).items():
        records = []
        for number in range(count):
            image = make(offset + number)
            data = encoded(image.convert("P") if number == 1 else image, "PNG")
            records.append(
                {
                    "image": {"bytes": data, "path": f"{number}.png"},
                    "safety_label": labels(split, number) if labels else rng.choice(["Safe", "Unsafe"]),
                    "category": rng.choice(HARM),
                    "source": "Lexica" if number % 2 else "Laion5B",
                    "text": f"prompt {number}" if number % 2 else None,
                }
            )
        offset += count
        parts = shards if split == "train" else 1
        for part in range(parts):
            own = records[part * count // parts : (part + 1) * count // parts]
            parquet(folder / "data" / f"{split}-{part:05d}-of-{parts:05d}.parquet", own, schema)
    return folder


def mjbench(
    raw: Path,
    subset: str = "alignment",
    rows: int = 20,
    make: Make | None = None,
    labels: Iterable[tuple[str, int]] = (),
) -> Path:
    """`labels`: (caption, index of the better image) per row. Images 2n and 2n+1 of `make` are the pair of row n."""
    import pyarrow as pa

    folder, make, rng = raw / "mjbench", make or blocks(5), random.Random(5)
    schema = pa.schema(
        [
            ("caption", pa.string()),
            ("image0", image_struct()),
            ("image1", image_struct()),
            ("label", pa.int64()),
            ("info", pa.string()),
        ]
    )
    records = []
    for number, (caption, label) in enumerate(
        list(labels) or [(f"caption {n} ", int(rng.random() < 0.12)) for n in range(rows)]
    ):
        pair = {
            f"image{i}": {"bytes": encoded(make(2 * number + i), "JPEG", quality=95), "path": f"{number}_{i}.jpg"}
            for i in range(2)
        }
        records.append({"caption": caption, **pair, "label": label, "info": ""})
    if not labels:
        records[-1] = dict(records[0])  # one pair is in the release under several axes
    parquet(folder / "data" / f"{subset}.parquet", records, schema)
    return folder


def image_struct() -> Any:
    """The arrow type of an image cell."""
    import pyarrow as pa

    return pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def parquet(path: Path, records: list[dict[str, Any]], schema: Any) -> None:
    """A table as `datasets` writes it: its features are in the metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def feature(kind: Any) -> dict[str, Any]:
        if pa.types.is_list(kind):
            return {"feature": feature(kind.value_type), "_type": "List"}
        return {"_type": "Image"} if kind == image_struct() else {"dtype": str(kind), "_type": "Value"}

    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"huggingface": json.dumps({"info": {"features": {f.name: feature(f.type) for f in schema}}})}
    pq.write_table(pa.Table.from_pylist(records, schema.with_metadata(about)), path)


def everything(raw: Path) -> None:
    """All five releases."""
    for write in (agin, seetrue, imagereward, unsafebench):
        write(raw)
    for subset in ("alignment", "safety", "quality"):
        mjbench(raw, subset)
