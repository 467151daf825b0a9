"""How long `mtrl plan` takes over the paper's six tasks.

    python tests/benchmarks/bench_plan.py             (46,672 rows, 33,523 to train on; about 2 minutes)
    python tests/benchmarks/bench_plan.py --keep DIR  (DIR/data is kept, and used again)
    python tests/benchmarks/bench_plan.py --keep DIR --side 512     (images of the benchmarks' usual size; 10 minutes)

Generates the six releases with about Table 1's numbers of rows, all images different and by default small (their sizes
are read from the samples, so their pixels cost nothing), converts them, and runs `mtrl plan` of each recipe over all
six tasks: cold, with nothing of the data in the page cache, and twice warm. Each is the whole command's wall time, with
Python's start, and in brackets its processor time.

The models: one from the hub, whose text is estimated, and the tiny one, whose tokenizer counts the text.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

TASKS = ("agin_nat", "agin_tech", "agin_rat", "seetrue", "imagereward", "unsafebench")
WORDS = ("the", "dog", "left", "holds", "a red ball", "and", "sky", "above it", "is clear", "grass", "looks", "torn")
MTRL = [str(Path(sys.executable).with_name("mtrl"))]


def pictures(kind: int, side: int | None = None) -> Callable[[int], Image.Image]:
    """Of different colours, and without `side` of different sizes: the first pixels hold `kind` and the number."""

    def make(number: int) -> Image.Image:
        size = (side, side) if side else (32 + number % 31, 32 + number % 37)
        image = Image.new("RGB", size, (number * 7 % 256, number * 13 % 256, kind * 40))
        image.putdata([(kind, number // 65536, number // 256 % 256)] * 64 + [(number % 256, 99, 99)] * 64)
        return image

    return make


def captions(count: int, seed: str) -> list[str]:
    """Texts of 8 to 40 words, no two alike."""
    rng = random.Random(seed)
    return [f"{number} {' '.join(rng.choices(WORDS, k=rng.randint(8, 40)))}" for number in range(count)]


def generate(folder: Path, side: int | None) -> None:
    """folder/raw and folder/data."""
    from mtrl.demo import releases

    raw, rng = folder / "raw", random.Random(0)
    releases.agin(raw, 6049, pictures(1, side))
    releases.seetrue(
        raw, make=pictures(2, side), labels=[(text, rng.randrange(2)) for text in captions(6930, "seetrue")]
    )
    prompts = {"train": 1553, "validation": 523, "test": 542}  # about 6,194, 2,584 and 2,720 rows
    releases.imagereward(raw, prompts, pictures(3, side), texts=captions(2618, "imagereward"))
    releases.unsafebench(raw, {"train": 8109, "test": 2037}, pictures(4, side))
    subprocess.run([*MTRL, "convert", *TASKS, "--raw", raw, "--out", folder / "data"], check=True, stdout=sys.stderr)


def forget(folder: Path) -> None:
    """Drops the folder's files from the page cache; as root, names and times of files too."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if os.access("/proc/sys/vm/drop_caches", os.W_OK):
        Path("/proc/sys/vm/drop_caches").write_text("2")


def plan(data: Path, *options: str) -> str:
    """Seconds, and those of processor time."""
    began, before = time.monotonic(), sum(os.times()[2:4])
    command = [*MTRL, "plan", *options, "--elsewhere", "--data", str(data), "--runs", str(data.parent / "runs")]
    done = subprocess.run(command, capture_output=True, text=True)
    took, busy = time.monotonic() - began, sum(os.times()[2:4]) - before
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
    return f"{took:5.2f} s ({busy:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--side", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = (options.keep or Path(name)).resolve()
        if not (folder / "data").is_dir():
            generate(folder, options.side)
        for recipe in ("recipes/sft_unified.yaml", "recipes/rl_multitask.yaml"):
            for about, more in (("hub model", []), ("tokenizer", ["--model", "tiny", "--hardware", "cpu"])):
                forget(folder / "data")
                took = [plan(folder / "data", recipe, *more) for _ in range(3)]
                print(f"{recipe:28} {about:10} cold {took[0]}, warm {took[1]} and {took[2]}")


if __name__ == "__main__":
    main()
