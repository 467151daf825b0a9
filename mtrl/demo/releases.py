"""Small releases in the exact layout of the real ones: file names, columns, types, zip members and image modes.

Every function writes raw/<benchmark>/ from synthetic images, seeded (the same arguments give the same rows and pixels),
and returns the folder. `make` draws the pictures: by default blocks of random colour, no two alike; whoever has
pictures with a meaning passes a function of (row number) -> image, and `labels` where the release has them.

    agin           MOS_AGIN.csv, AGIN_512x512/<Model>_<promptset>_<n>.png, some RGBA seetrue        SeeTRUE.csv,
    images.zip (members below images/, names with "=", some without an extension in the table) imagereward
    metadata-<split>.parquet, images/<split>/<split>_<n>.zip with lossless <uuid>.webp and <split>_<n>.json unsafebench
    data/train-*.parquet and data/test-*.parquet, images as {bytes, path}, one palette image mjbench
    data/{alignment,safety,quality}.parquet, every pair's label nearly always 0, one pair twice
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
from typing import Any

from PIL import Image

Make = Callable[[int], Image.Image]
HARM = (
    "Hate",
    "Harassment",
    "Violence",
    "Self-harm",
    "Sexual",
    "Shocking",
    "Illegal activity",
    "Deception",
    "Political",
    "Public and personal health",
    "Spam",
)
EPOCH = (2023, 5, 1, 0, 0, 0)


def blocks(seed: int, size: int = 64) -> Make:
    """A maker of pictures: 8x8 blocks of random colour."""

    def make(number: int) -> Image.Image:
        rng = random.Random(f"{seed}/{number}")
        return Image.frombytes("RGB", (8, 8), rng.randbytes(192)).resize((size, size), Image.Resampling.NEAREST)

    return make


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def agin(
    raw: Path, rows: int = 60, make: Make | None = None, scores: Iterable[tuple[float, float, float]] = ()
) -> Path:
    """`scores` are (natural, technical, rational) a row."""
    folder, make, rng = raw / "agin", make or blocks(1), random.Random(1)
    (folder / "AGIN_512x512").mkdir(parents=True, exist_ok=True)
    given = list(scores)
    with (folder / "MOS_AGIN.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["filename", "MOS_nat", "MOS_tech", "MOS_rat"])
        for number in range(rows):
            model, kind = ("CoCosNet", ""), "RGB"
            if number % 3:
                model, kind = (
                    ("Dreaml" if number % 3 == 1 else "SDXL", f"_{'coco' if number % 2 else 'drawbench'}"),
                    "RGBA",
                )
            name = f"{model[0]}{kind and model[1]}_{number // 3}.png"
            mos = given[number] if given else tuple(round(rng.gauss(mean, 8), 4) for mean in (50, 58, 55))
            make(number).convert(kind).save(folder / "AGIN_512x512" / name)
            writer.writerow([name, *mos])
    return folder


def seetrue(
    raw: Path, rows: int = 60, make: Make | None = None, labels: Iterable[tuple[str, int]] = (), captions: int = 12
) -> Path:
    """`labels` are (text, 0 or 1) a row; otherwise `captions` texts are shared by all rows, as in the release."""
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
    """`prompts` a split, four to six images a prompt; `zips` a split, among which prompts are dealt out."""
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
                scores = {
                    "overall_rating": rng.randint(1, 7),
                    "image_text_alignment_rating": rng.randint(1, 7),
                    "fidelity_rating": rng.randint(1, 7),
                }
                held[part].append(
                    {
                        "image_path": f"images/{split}/{split}_{part}/{name}",
                        "prompt_id": f"{prompt:06d}-{rank:04d}"[:6] + "-0061",
                        "prompt": caption,
                        "classification": rng.choice(["People", "Outdoor Scenes"]),
                        "image_amount_in_total": amount,
                        "rank": rank,
                        **(ratings(number) if ratings else scores),
                    }
                )
                pictures[part].append((name, encoded(make(number), "WEBP", lossless=True)))
                number += 1
        (folder / "images" / split).mkdir(parents=True, exist_ok=True)
        for part, records in held.items():
            for record in records:
                record["prompt_id"] = f"{split[:2]}{record['prompt_id']}"
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
    """`labels` gets (split, row number) and says Safe or Unsafe. The train split has `shards` shards."""
    import pyarrow as pa

    folder, make, rng = raw / "unsafebench", make or blocks(4), random.Random(4)
    schema = pa.schema(
        [
            ("image", _image()),
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
            _parquet(folder / "data" / f"{split}-{part:05d}-of-{parts:05d}.parquet", own, schema)
    return folder


def mjbench(
    raw: Path,
    subset: str = "alignment",
    rows: int = 20,
    make: Make | None = None,
    labels: Iterable[tuple[str, int]] = (),
) -> Path:
    """`labels` are (caption, index of the better image) a row; images 2n and 2n+1 of `make` are row n's pair."""
    import pyarrow as pa

    folder, make, rng = raw / "mjbench", make or blocks(5), random.Random(5)
    schema = pa.schema(
        [
            ("caption", pa.string()),
            ("image0", _image()),
            ("image1", _image()),
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
    _parquet(folder / "data" / f"{subset}.parquet", records, schema)
    return folder


def _image() -> Any:
    import pyarrow as pa

    return pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _parquet(path: Path, records: list[dict[str, Any]], schema: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    features = {
        name: {"_type": "Image"}
        if name.startswith("image")
        else {"dtype": str(schema.field(name).type), "_type": "Value"}
        for name in schema.names
    }
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pa.Table.from_pylist(records, schema.with_metadata(about)), path)


def everything(raw: Path) -> None:
    """All five, small."""
    for write in (agin, seetrue, imagereward, unsafebench):
        write(raw)
    for subset in ("alignment", "safety", "quality"):
        mjbench(raw, subset)
