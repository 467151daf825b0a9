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


def certify(folder: Path) -> dict[str, float]:
    """10,000 labelled rows and pairs, each by itself and twelve per cluster."""
    found = {}
    for pair in (False, True):
        for share in (1, 12):
            _evaluation(folder, pair, share)
            kind = "pairs in both orders" if pair else "rows"
            took = of_command("certify", folder, "--alpha", 0.2, cwd=folder)
            found[f"mtrl certify, {kind}, {share} per cluster"] = took
    return found


def _evaluation(folder: Path, pair: bool, share: int) -> None:
    """An evaluation of ROWS items, `share` per cluster; confidence says how often it is right."""
    draw = random.Random(0)
    choices = ["1", "2"] if pair else ["yes", "no"]
    with (folder / "predictions.jsonl").open("w") as file:
        for n in range(ROWS):
            label = draw.randrange(2)
            sure = draw.betavariate(4, 1) / 2 + 0.5
            right = draw.random() < sure
            for swapped in range(1 + pair):
                truth = label ^ swapped
                verdict = choices[truth if right else 1 - truth]
                line = {
                    "id": str(n), "task": "t", "cluster": f"c{n // share}", "order": ("given", "turned")[swapped],
                    "vote": 0, "response": verdict, "verdict": verdict, "lenient": verdict, "label": choices[truth],
                    "confidence": round(sure, 12),
                }  # fmt: skip
                file.write(json.dumps(line) + "\n")
    asked = {
        "split": "test", "prompt_sha256": "0" * 64, "samples_sha256": "", "limit": None, "requests": ROWS * (1 + pair),
        "choices": choices,
    }  # fmt: skip
    identity = {
        "schema": 1, "path": "m", "method": "zero_shot", "style": "sft", "tasks": {"t": asked},
        "sampling": {"votes": 1, "confidence": True},
    }  # fmt: skip
    (folder / "eval.json").write_text(json.dumps(identity))


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


VERBS: list[Callable[[Path], dict[str, float]]] = [certify, estimate]


def main() -> None:
    for verb in VERBS:
        with tempfile.TemporaryDirectory() as folder:
            for name, took in verb(Path(folder)).items():
                print(f"{took:5.2f} s for {ROWS:,} rows: {name}")


if __name__ == "__main__":
    main()
