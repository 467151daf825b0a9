"""A sift's votes: one request of vLLM with n answers per row, against a request per answer.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_sift.py --side 512  (1,000 rows x 8 votes, on an idle machine)

--side enlarges the demo's images from 64 pixels a side to JPEGs of the benchmarks' usual size. Both ways use the same
model, prompts, images and seeds, with vLLM's own caches. Prints seconds from the loaded model to the last answer, and
seconds of processor. Budget: one request with n answers is 2 times faster.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from mtrl.config.recipe_types import Style

sys.path.insert(0, str(Path(__file__).parent))
from bench_replicas import TASKS, project

WAYS = {"one request, n answers": 1, "a request per answer": -1}


def measure(step: int, rows: int, votes: int, model: str, side: int | None, style: Style) -> None:
    """Prints [seconds, seconds of processor, answers, tokens]. `step` -1: an item's votes are asked from the last to
    the first, which the engine does not put together."""
    from mtrl.config import tasks
    from mtrl.evaluate import requests
    from mtrl.evaluate.engines.base import Sampling
    from mtrl.evaluate.engines.offline import VllmEngine, VllmModel
    from mtrl.evaluate.engines.request import Items
    from mtrl.evaluate.judges import subject

    judge, data = subject(model, style), Path("data")
    each = -(-rows // len(TASKS))
    built = [r for name in TASKS for r in requests.build(tasks.load(name), style, data, "train", votes, each)]
    asked = [request for item in list(Items(built))[:rows] for request in item[::step]]
    if side:
        asked = [replace(request, images=tuple(enlarged(image, side) for image in request.images)) for request in asked]
    size = judge.image
    engine = VllmEngine(VllmModel(judge.checkpoint, size.min_pixels, size.max_pixels, 1, judge.max_new_tokens))
    begun, processor = time.monotonic(), time.process_time()
    answers = list(engine.answers(asked, Sampling(judge.max_new_tokens, 1.0)))
    took = time.monotonic() - begun, time.process_time() - processor
    assert len({answer.request.key for answer in answers}) == rows * votes
    print(json.dumps([*took, len(answers), sum(answer.tokens for answer in answers)]))


def enlarged(image: Path, side: int) -> Path:
    target = image.with_name(f"{image.stem}-{side}.jpg")
    if not target.exists():
        from PIL import Image

        Image.open(image).convert("RGB").resize((side, side)).save(target, quality=90)
    return target


def main() -> None:
    from mtrl.demo.walkthrough import tiny

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000, help="at most 1,500")
    parser.add_argument("--votes", type=int, default=8)
    parser.add_argument("--ckpt", default=str(tiny()), help="another model")
    parser.add_argument("--side", type=int, help="pixels")
    parser.add_argument("--style", choices=["rl", "sft"], default="rl")
    parser.add_argument("--way", choices=list(WAYS))
    options = parser.parse_args()
    if options.way:
        measure(WAYS[options.way], options.rows, options.votes, options.ckpt, options.side, options.style)
        return
    took = {}
    with tempfile.TemporaryDirectory() as name:
        project(Path(name))
        for way in WAYS:
            more = ["--rows", str(options.rows), "--votes", str(options.votes), "--ckpt", os.path.abspath(options.ckpt)]
            more += ["--style", options.style]
            more += ["--side", str(options.side)] if options.side else []
            command = [sys.executable, __file__, "--way", way, *more]
            done = subprocess.run(command, cwd=name, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr)
            took[way] = json.loads(done.stdout.splitlines()[-1])
            seconds, processor, answers, tokens = took[way]
            print(
                f"{way:24} {seconds:7.1f} s  {processor:7.1f} s of processor  {answers:,} answers, {tokens:,} tokens",
                flush=True,
            )
    together, apart = took.values()
    print(f"{apart[0] / together[0]:.2f} times faster, {apart[1] / together[1]:.2f} times less processor (budget 2)")


if __name__ == "__main__":
    main()
