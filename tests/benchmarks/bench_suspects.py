"""Planted wrong labels: how many of them `mtrl sift` lists, and how many of the rows that it lists are planted.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_suspects.py --out runs/planted    (5 minutes on two idle cores)

The demo's tables with a share of the training labels turned round, drawn by --seed; conversion, SFT on these labels,
sift with the model that was trained on them, all by public commands, which resume in the folder --out.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TASKS = ("demo_quality", "demo_alignment")
TABLES = {"demo_quality": ("agin/MOS_AGIN.csv", "MOS_tech"), "demo_alignment": ("seetrue/SeeTRUE.csv", "label")}


def other(value: str) -> str:
    """The opposite of a label of 0 or 1, or of a score of which 50 and above is good."""
    return str(1 - int(value)) if value in "01" else str(100 - float(value))


def mtrl(home: Path, *arguments: str) -> None:
    print("$ mtrl", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "mtrl", *arguments], cwd=home, check=True)


def ids(home: Path, task: str) -> list[str]:
    """Of the training rows, in the order of the table."""
    from mtrl.config import samples

    return [name for (name,) in samples.columns(home / "data", task, "train", "id")]


def plant(home: Path, share: float, seed: int) -> dict[str, list[str]]:
    """{task: ids of the rows whose label is now wrong}. The tables are converted once before, for their splits."""
    from mtrl.config import samples

    planted = {}
    for task, (name, column) in TABLES.items():
        rows = {sample.id: sample.answer for sample in samples.read(home / "data", task, "train")}
        planted[task] = sorted(random.Random(f"{seed}/{task}").sample(sorted(rows), round(share * len(rows))))
        with (home / "raw" / name).open(newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
        for number, row in enumerate(table, start=1):
            first = next(iter(row.values()))
            if {first, f"seetrue-{number:05d}"} & set(planted[task]):
                row[column] = other(row[column])
        with (home / "raw" / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)
        mtrl(home, "convert", task, "--raw", "raw")
        now = {sample.id: sample.answer for sample in samples.read(home / "data", task, "train")}
        assert [one for one in rows if rows[one] != now.get(one)] == [one for one in rows if one in planted[task]]
    return planted


def main() -> None:
    from mtrl.demo import walkthrough

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--votes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    home, tasks = options.out.resolve(), ",".join(TASKS)
    if not (home / "planted.json").exists():
        shutil.rmtree(home, ignore_errors=True)
        walkthrough.begin(home)
        mtrl(home, "convert", *TASKS, "--raw", "raw")
        (home / "planted.json").write_text(json.dumps(plant(home, options.share, options.seed)))
    planted = json.loads((home / "planted.json").read_text())
    mtrl(home, "sft", "sft_unified", "--tasks", tasks, *walkthrough.PRESETS, "--name", "judge")
    if not (home / "exports").exists():
        mtrl(home, "export", "judge", "--out", "exports/judge")
    asked = ["--ckpt", "exports/judge", "--style", "sft", "--votes", str(options.votes), "--out", "sift"]
    mtrl(home, "sift", "--tasks", tasks, *asked)
    with (home / "sift" / "suspects.csv").open(newline="", encoding="utf-8") as file:
        listed = [(row["task"], row["id"]) for row in csv.DictReader(file)]
    for task in TASKS:
        found = [name for of, name in listed if of == task]
        hits, rows = set(found) & set(planted[task]), len(ids(home, task))
        precision = f"{len(hits)} of {len(found)} listed rows are planted" if found else "no row is listed"
        print(f"{task}: {rows} rows, {len(planted[task])} planted; found {len(hits)}; {precision}")


if __name__ == "__main__":
    main()
