"""Reward speed: `python tests/benchmarks/bench_reward.py`.

Budget: 0.3 s for 10,240 responses of 8,000 characters on one core. Where EasyR1 can be imported (.venv-easyr1), its own
r1v.py is timed on the same responses.
"""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path

JUDGE = Path(__file__).parents[2] / "reward_plugins" / "judge.py"


def load(path: Path):  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def seconds(call) -> float:  # type: ignore[no-untyped-def]
    best = 9e9
    for _ in range(3):
        begun = time.process_time()
        call()
        best = min(best, time.process_time() - begun)
    return best


def main() -> None:
    judge = load(JUDGE)
    response = "<think>" + "the image shows a thing, " * 317 + "</think><answer>no</answer>"
    truths = [json.dumps({"task": f"t{i % 6}", "label": "yes", "id": str(i // 20)}) for i in range(10_240)]
    inputs = [{"response": response, "response_length": 2000, "ground_truth": truth} for truth in truths]
    ours = seconds(lambda: judge.compute_score(inputs))
    print(f"judge.py: {ours:.3f} s for {len(inputs):,} responses of {len(response):,} characters")
    found = importlib.util.find_spec("verl")
    r1v = Path(found.origin).parents[1] / "examples/reward_function/r1v.py" if found and found.origin else None
    if r1v is None or not r1v.exists():
        print("EasyR1's r1v.py is not here: run this with the Python of .venv-easyr1 (make setup-easyr1)")
        return
    theirs = load(r1v)
    some = [{**item, "ground_truth": "yes"} for item in inputs[:256]]

    def score() -> None:
        if getattr(theirs, "REWARD_TYPE", "batch") == "sequential":
            for item in some:
                theirs.compute_score(item)
        else:
            theirs.compute_score(some)

    other = seconds(score) * len(inputs) / len(some)
    print(f"EasyR1's r1v.py: {other:.2f} s for as many (from {len(some)}), {other / ours:.0f} times as long")


if __name__ == "__main__":
    main()
