"""Replicas against one engine: what a second core gains, and what Ray costs.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_replicas.py   (1,500 requests to the tiny model, on an idle machine)

Prints seconds from a loaded model to the last answer, without start-up, of vLLM in one process on one core, of one
replica on one core, and of two replicas on two. Each runs `--repeat` times, in turn; the fastest counts.
Budget: two replicas on two cores reach 1.7 times one replica on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

ROOT = Path(__file__).parents[2]
TASKS = ["demo_quality", "demo_alignment", "demo_safety"]
PARTS = {"vLLM, 1 core": (0, 1), "1 replica, 1 core": (1, 1), "2 replicas, 2 cores": (2, 2)}


def project(home: Path) -> None:
    """The demo's release, converted: 500 training rows a task."""
    from mtrl.demo import world

    shutil.copytree(ROOT / "mtrl" / "demo" / "workspace", home, dirs_exist_ok=True)
    world.generate(home / "raw")
    convert = [sys.executable, "-m", "mtrl", "convert", *TASKS, "--raw", "raw"]
    subprocess.run(convert, cwd=home, check=True, stdout=subprocess.DEVNULL)


def around() -> float:
    """Processor seconds so far of this process and all below it but the replicas: the driver's and Ray's own work."""
    import psutil

    below = psutil.Process().children(recursive=True)
    times = [p.cpu_times() for p in below if not " ".join(p.cmdline()).startswith("ray::Replica")]
    return sum(t.user + t.system for t in times) + time.process_time()


def measure(replicas: int, cores: int, samples: int) -> None:
    """Prints seconds to a loaded model, from there to the last answer, and of processor outside vLLM meanwhile."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    from mtrl.config import tasks
    from mtrl.demo.walkthrough import tiny
    from mtrl.evaluate import requests
    from mtrl.evaluate.engines.base import Sampling
    from mtrl.evaluate.engines.offline import VllmEngine, VllmModel
    from mtrl.evaluate.engines.replicas import Replicas
    from mtrl.evaluate.judges import subject

    judge, data = subject(str(tiny())), Path("data")
    each = -(-samples // len(TASKS))
    asked = [r for name in TASKS for r in requests.build(tasks.load(name), judge.style, data, "train", limit=each)]
    size = judge.image
    model = VllmModel(judge.checkpoint, size.min_pixels, size.max_pixels, 1, judge.max_new_tokens)
    begun = time.monotonic()
    if replicas:
        engine = Replicas(replicas, model, None, data, print)
        while not all(slot.loaded for slot in engine._slots):
            engine._collect(deque())
    else:
        engine = VllmEngine(model)
    loaded, before, answered = time.monotonic(), around(), 0
    for answered, _ in enumerate(engine.answers(asked, Sampling(judge.max_new_tokens)), start=1):
        if answered == len(asked):  # ending Ray comes after the last answer
            print(json.dumps([loaded - begun, time.monotonic() - loaded, around() - before]))
    assert answered == samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1500, help="at most 1,500, a multiple of 3")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--part", choices=list(PARTS))
    options = parser.parse_args()
    if options.part:
        measure(*PARTS[options.part], options.samples)
        return
    with tempfile.TemporaryDirectory() as name:
        project(Path(name))
        took: dict[str, list[list[float]]] = {part: [] for part in PARTS}
        for _ in range(options.repeat):
            for part in PARTS:
                command = [sys.executable, __file__, "--part", part, "--samples", str(options.samples)]
                done = subprocess.run(command, cwd=name, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(done.stderr)
                took[part].append(json.loads(done.stdout.splitlines()[-1]))
    best = {part: min(answering for _, answering, _ in runs) for part, runs in took.items()}
    for part, runs in took.items():
        start = min(loading for loading, _, _ in runs)
        print(f"{part:20} {best[part]:7.2f} s {options.samples / best[part]:6.1f} requests/s   start-up {start:5.1f} s")
    plain, single, double = best.values()
    print(f"two replicas on two cores / one on one: {single / double:.2f} times (budget 1.7)")
    each = 1000 / options.samples
    work = min(processor for _, _, processor in took["1 replica, 1 core"]) * each
    print(
        f"Ray's overhead per 1,000 requests: {work:.2f} s of processor in driver and Ray; "
        f"{(single - plain) * each:.2f} s on the clock, on the same one core"
    )


if __name__ == "__main__":
    main()
