"""Speed of metrics: `OMP_NUM_THREADS=1 python tests/benchmarks/bench_metrics.py`. Processor time, without imports.

Budget: 2 s for the paper's 7,265 test rows; 5 s and 500 MB for 100,000 rows of a task with five classes.

Six tasks of Table 1's sizes, with captions and images shared as in the releases, confidences, and 10,000 resamples
each: all that metrics.json has. Then 100,000 rows with five choices, and with a scale of 1 to 5, with probabilities
and the release's numbers, in clusters of several sizes.
"""

from __future__ import annotations

import random
import resource
import time
from dataclasses import replace

from mtrl.evaluate.metrics import intervals
from mtrl.evaluate.metrics import task as metrics
from mtrl.evaluate.metrics.prediction import Prediction

TASKS = {  # rows of Table 1's test split, and rows a cluster: SeeTRUE 11.7 a caption, ImageReward 2,720 / 466 prompts
    "agin_nat": (605, 1.0),
    "agin_tech": (605, 1.0),
    "agin_rat": (605, 1.0),
    "seetrue": (693, 11.7),
    "imagereward": (2720, 5.8),
    "unsafebench": (2037, 1.0),
}
CHOICES = ("yes", "no")


def rows(task: str, seed: int = 0) -> list[Prediction]:
    size, share = TASKS[task]
    draw = random.Random(f"{task}-{seed}")
    found = []
    for number in range(size):
        label = draw.choice(CHOICES)
        verdict = label if draw.random() < 0.75 else draw.choice([*CHOICES, None])
        together = str(number if share == 1 else draw.randrange(int(size / share)))
        found.append(
            Prediction(
                task=task, id=str(number), order="given", vote=0, response="", cluster=together, label=label,
                verdict=verdict, lenient=verdict or "no", confidence=draw.uniform(0.5, 1) if verdict else None,
            )
        )  # fmt: skip
    return found


def many(choices: tuple[str, ...], share: int, size: int = 100_000) -> list[Prediction]:
    """Of more than two choices, `share` rows a cluster."""
    draw = random.Random(f"{choices}-{share}")
    found = []
    for number in range(size):
        place = draw.randrange(len(choices))
        near = min(len(choices) - 1, max(0, place + draw.choice((-1, 0, 0, 1))))
        verdict = choices[near] if draw.random() < 0.97 else None
        weights = [draw.random() / (1 + abs(near - other)) for other in range(len(choices))]
        shares = {choice: weight / sum(weights) for choice, weight in zip(choices, weights, strict=True)}
        found.append(
            Prediction(
                task="t", id=str(number), order="given", vote=0, response="", cluster=f"c{number // share}",
                label=choices[place], verdict=verdict, lenient=verdict or choices[0], score=place + draw.random(),
                group=f"g{number // share}", confidence=shares[verdict] if verdict else None,
                probabilities=shares if verdict else None,
            )
        )  # fmt: skip
    return found


def main() -> None:
    drawn = {task: rows(task) for task in TASKS}
    metrics.of_task(drawn["agin_nat"], CHOICES)  # imports
    begun = time.process_time()
    found = {task: metrics.of_task(drawn[task], CHOICES) for task in TASKS}
    took = time.process_time() - begun
    sizes = ", ".join(f"{task} {m.clusters:,}" for task, m in found.items())
    print(f"{took:.2f} s for {sum(m.n for m in found.values()):,} rows and {intervals.RESAMPLES:,} resamples a task")
    print(f"clusters: {sizes}")
    together = [
        replace(row, id=f"{task}/{row.id}", cluster=f"{task}/{row.cluster}") for task in TASKS for row in drawn[task]
    ]
    begun = time.process_time()
    metrics.of_task(together, CHOICES)
    print(f"{time.process_time() - begun:.2f} s for the same rows as one task")
    apart = [replace(row, cluster=str(number // 50)) for number, row in enumerate(together)]
    begun = time.process_time()
    metrics.of_task(apart, CHOICES)
    print(f"{time.process_time() - begun:.2f} s for them in clusters of 50, nearly all of them different")
    for name, choices in (("choices", tuple("abcde")), ("scores", tuple("12345"))):
        for share in (1, 3, 5, 50):
            drawn = many(choices, share)
            begun = time.process_time()
            metrics.of_task(drawn, choices)
            print(f"{time.process_time() - begun:.2f} s for {len(drawn):,} rows of five {name}, {share} per cluster")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most, with the rows themselves")


if __name__ == "__main__":
    main()
