"""Conversion against the least that any conversion has to do: reading and hashing the same files once.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_convert.py --rows 5000   (900 MB of JPEGs in a temporary folder)

Prints seconds and images per second of: read + sha256, with one worker per core; read + sha256 + a full decode;
`mtrl convert`, a second run, the same from one parquet file; `datasets.map` with the same checks. Each part runs in a
process of its own, to measure its peak memory; all read from the page cache. The bytes of release and result follow.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def generate(folder: Path, rows: int) -> None:
    """JPEGs of a megapixel, about 180 kB each, no two alike; labels.jsonl; and the same rows as one parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    (folder / "files").mkdir()
    with (folder / "labels.jsonl").open("w") as file:
        for number in range(rows):
            rng = random.Random(number)
            small = Image.frombytes("RGB", (64, 64), rng.randbytes(64 * 64 * 3))
            small.resize((1024, 1024), Image.Resampling.BICUBIC).save(folder / f"files/{number}.jpg", quality=85)
            file.write(json.dumps({"image": f"files/{number}.jpg", "label": number % 2}) + "\n")
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("label", pa.int64())])
    with pq.ParquetWriter(folder / "rows.parquet", schema, compression="none") as writer:
        batch = []
        for number in range(rows):  # one row group, as MJ-Bench has them, up to 2 GB
            batch.append(
                {"image": {"bytes": (folder / f"files/{number}.jpg").read_bytes(), "path": None}, "label": number % 2}
            )
            if len(batch) == 1000:
                writer.write_table(pa.Table.from_pylist(batch, schema))
                batch = []
        if batch:
            writer.write_table(pa.Table.from_pylist(batch, schema))


def hashing(folder: Path, decode: bool = False) -> None:
    import hashlib
    import io
    from concurrent.futures import ThreadPoolExecutor

    from PIL import Image

    def one(path: Path) -> str:
        data = path.read_bytes()
        if decode:
            Image.open(io.BytesIO(data)).convert("RGB")
        return hashlib.sha256(data).hexdigest()

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        assert len(set(pool.map(one, sorted((folder / "files").iterdir())))) > 1


def converting(folder: Path, file: str = "labels.jsonl", data: str = "data") -> None:
    from mtrl.config.tasks import Task
    from mtrl.converters.pipeline.convert import convert
    from mtrl.core.schema import validate

    label = {"column": "label", "values": {"yes": ["1"], "no": ["0"]}}
    about = {"name": "unsafebench", "title": "t", "capability": "safety", "source": {"file": file}, "label": label}
    convert(validate(Task, about, "bench"), folder, folder / data)


def mapping(folder: Path) -> None:
    """The same checks by datasets.map: hash and decode every image, write SFT JSON and RL parquet."""
    import hashlib
    import io

    from datasets import Dataset, disable_progress_bars
    from PIL import Image

    disable_progress_bars()

    def one(row: dict[str, Any]) -> dict[str, Any]:
        data = (folder / row["image"]).read_bytes()
        Image.open(io.BytesIO(data)).convert("RGB")
        return {"sha256": hashlib.sha256(data).hexdigest(), "images": [{"bytes": data, "path": row["image"]}]}

    rows = Dataset.from_json(str(folder / "labels.jsonl"), cache_dir=str(folder / "cache"))
    done = rows.map(one, num_proc=len(os.sched_getaffinity(0)))
    done.to_parquet(str(folder / "cache" / "mapped.parquet"))
    done.remove_columns("images").to_json(str(folder / "mapped.json"))


PARTS: dict[str, Callable[[Path], None]] = {
    "read + sha256": hashing,
    "read + sha256 + decode": lambda folder: hashing(folder, decode=True),
    "mtrl convert": converting,
    "mtrl convert, again": converting,
    "mtrl convert, parquet": lambda folder: converting(folder, "rows.parquet", "data2"),
    "datasets.map": mapping,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--part", choices=["generate", *PARTS])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.part == "generate":
        generate(options.folder, options.rows)
        return
    if options.part:
        began = time.monotonic()
        PARTS[options.part](options.folder)
        took = time.monotonic() - began
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        busy = sum(u.ru_utime + u.ru_stime for u in used)
        status = Path("/proc/self/status").read_text()  # ru_maxrss would carry over what the parent held
        own = int(status.partition("VmHWM:")[2].split()[0])
        print(json.dumps([took, max(own, used[1].ru_maxrss) / 1024, busy]))
        return
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(
            [sys.executable, __file__, "--part", "generate", "--folder", name, "--rows", str(options.rows)], check=True
        )
        took = {}
        for part in PARTS:
            command = [sys.executable, __file__, "--part", part, "--folder", name]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            seconds, peak, busy = json.loads(said.splitlines()[-1])
            took[part] = seconds
            print(
                f"{part:24} {seconds:7.2f} s {options.rows / seconds:7.0f} images/s  peak {peak:5.0f} MB  "
                f"cores busy {busy / seconds:.2f}"
            )
        release, data = (sum(f.stat().st_size for f in Path(name, part).rglob("*")) for part in ("files", "data"))
        print(f"release {release / 1e6:,.0f} MB, converted {data / 1e6:,.0f} MB (images once, and again in RL parquet)")
        ours = took["mtrl convert"]
        print(f"convert / (read + sha256)          {ours / took['read + sha256']:.2f}")
        print(f"convert / (read + sha256 + decode) {ours / took['read + sha256 + decode']:.2f}")
        print(f"again / convert                    {took['mtrl convert, again'] / ours:.3f}")
        print(f"datasets.map / convert             {took['datasets.map'] / ours:.2f}")


if __name__ == "__main__":
    main()
