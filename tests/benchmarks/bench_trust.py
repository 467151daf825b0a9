"""Speed of the verbs of trust: `OMP_NUM_THREADS=1 python tests/benchmarks/bench_trust.py`. Processor time of the whole
command, with Python's start and imports.

Budget: 5 s for 10,000 rows.
"""

from __future__ import annotations

import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROWS = 10_000


def of_command(*arguments: object, cwd: Path) -> float:
    """Seconds of processor time of `mtrl ARGUMENTS`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "mtrl", *map(str, arguments)], cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def estimate(folder: Path) -> dict[str, float]:
    """10,000 verdicts, every third image twice, in clusters of five; 1,000 labels."""
    draw = random.Random(0)
    labels = {}
    with open(folder / "verdicts.jsonl", "w") as stream:
        for number in range(ROWS):
            name = f"new/{number}.jpg"
            good = draw.random() < 0.6
            says = "yes" if draw.random() < (0.9 if good else 0.3) else "no"
            labels[name] = "yes" if good else "no"
            row = {
                "id": name, "image": name, "task": "photo", "verdict": says, "cluster": str(number // 5),
                "confidence": 0.9, "reasoning": "It is " * 50, "response": says, "finish_reason": "stop",
                "content": f"{number - (number % 3 == 1):064x}", "asked": f"{number:064x}",
            }  # fmt: skip
            stream.write(json.dumps(row) + "\n")
    drawn = of_command("estimate", "verdicts.jsonl", "--next", 1000, "--out", "label.csv", cwd=folder)
    with open(folder / "label.csv", newline="") as source, open(folder / "filled.csv", "w", newline="") as target:
        rows = list(csv.DictReader(source))
        table = csv.DictWriter(target, list(rows[0]))
        table.writeheader()
        table.writerows({**row, "label": labels[row["id"]]} for row in rows)
    took = of_command("estimate", "verdicts.jsonl", "--labels", "filled.csv", cwd=folder)
    return {"mtrl estimate --next 1000": drawn, "mtrl estimate, 1,000 labels": took}


VERBS: list[Callable[[Path], dict[str, float]]] = [estimate]


def main() -> None:
    for verb in VERBS:
        with tempfile.TemporaryDirectory() as folder:
            for name, took in verb(Path(folder)).items():
                print(f"{took:5.2f} s for {ROWS:,} rows: {name}")


if __name__ == "__main__":
    main()
