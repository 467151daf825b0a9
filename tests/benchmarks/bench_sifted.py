"""GRPO on the rows that a sift keeps, against all rows: `python tests/benchmarks/bench_sifted.py [--out FOLDER]`.

    demo's world -> convert -> sift of the tiny model -> for each seed: GRPO on all rows, GRPO on rl.keep_pass_rate

Target: the subset reaches the validation accuracy of the full set with at most 70% of its rollouts, over three seeds.
Accuracy is the trainer's own, of the verdicts of all validation rows, as the mean of the last WINDOW validations, since
one of them is noisy. The accuracy to reach is the full run's at its end; of each run the rollouts count until it first
has it. The sift's own answers do not count and are printed next to the result: a sift pays off where it serves several
trainings, or one of many epochs.

Everything is done by public commands, so the same command resumes. On two cores: the sift about 5 minutes, each of the
six trainings about 90 s. The result is also in FOLDER/result.json.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from mtrl.core.rundir import Run
from mtrl.demo import walkthrough

TASKS = ",".join(walkthrough.POINTWISE)
SEEDS, VOTES, KEEP = (1, 2, 3), 8, "[0.1,0.9]"
STEPS, EVERY, WINDOW = 75, 5, 3  # rollouts of a run; between validations; validations whose mean is compared
PER_STEP = 64  # answers: the tiny preset's rollout_batch_size 8 x n 8
GOAL = 0.7


def mtrl(home: Path, *words: str) -> None:
    print(f"$ mtrl {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "mtrl", *words], cwd=home, check=True)


def curve(run: Run) -> dict[int, float]:
    """{step: mean accuracy of the last WINDOW validations}, from the WINDOW-th on."""
    rows = [(row["step"], row["eval_accuracy"]) for row in run.metrics if "eval_accuracy" in row]
    means = {}
    for end in range(WINDOW, len(rows) + 1):
        part = rows[end - WINDOW : end]
        means[part[-1][0]] = sum(accuracy for _, accuracy in part) / WINDOW
    return means


def reached(means: dict[int, float], accuracy: float) -> int | None:
    """The first step with this accuracy."""
    return next((step for step, mean in means.items() if mean >= accuracy), None)


def measured(home: Path, seed: int) -> dict[str, Any]:
    full, subset = (curve(Run(home / "runs" / f"{kind}-{seed}")) for kind in ("full", "sifted"))
    goal = list(full.values())[-1]
    steps = reached(full, goal), reached(subset, goal)
    assert steps[0]
    share = steps[1] / steps[0] if steps[1] else None
    return {"seed": seed, "accuracy": goal, "full": steps[0], "sifted": steps[1], "share": share}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=Path("runs/bench-sifted"))
    home = parser.parse_args().out.resolve()
    walkthrough.begin(home)
    mtrl(home, "convert", *walkthrough.POINTWISE, "--raw", "raw")
    model = str(walkthrough.tiny())
    mtrl(home, "sift", "--ckpt", model, "--tasks", TASKS, "--votes", str(VOTES), "--out", "runs/sift")
    common = [*walkthrough.PRESETS, *sets(f"tasks={TASKS}", f"rl.validate_every={EVERY}", "rl.patience=1000")]
    common += sets(f"upstream.grpo.max_steps={STEPS}")
    subset = sets("sift=runs/sift", f"rl.keep_pass_rate={KEEP}")
    mtrl(home, "plan", "rl_multitask", *common, *subset)
    for seed in SEEDS:
        mtrl(home, "rl", "rl_multitask", *common, *sets(f"seed={seed}"), "--name", f"full-{seed}")
        mtrl(home, "rl", "rl_multitask", *common, *subset, *sets(f"seed={seed}"), "--name", f"sifted-{seed}")
    found = [measured(home, seed) for seed in SEEDS]
    drawn = Run(home / "runs" / f"sifted-{SEEDS[0]}").started_with.rows.values()
    kept, rows = sum(task.kept for task in drawn), sum(task.converted for task in drawn)
    print(f"\nrl.keep_pass_rate {KEEP} of {VOTES} votes keeps {kept:,} of {rows:,} rows")
    for one in found:
        share = "not reached" if one["share"] is None else f"{one['share']:.0%} of the rollouts"
        print(
            "seed {seed}: accuracy {accuracy:.3f} at step {full} on all rows, {sifted} on the subset: ".format(**one)
            + share
        )
    shares = [one["share"] for one in found if one["share"] is not None]
    mean = sum(shares) / len(shares) if len(shares) == len(found) else None
    said = "the subset did not reach it with every seed" if mean is None else f"{mean:.0%} of the rollouts on average"
    met = mean is not None and mean <= GOAL
    print(f"{said}; target at most {GOAL:.0%}: {'met' if met else 'not met'}")
    print(f"not counted: {rows * VOTES:,} answers of the sift; a whole run has {STEPS * PER_STEP:,}")
    result = {"seeds": found, "mean": mean, "met": met, "kept": kept, "rows": rows, "sift_answers": rows * VOTES}
    (home / "result.json").write_text(json.dumps(result, indent=2) + "\n")


def sets(*pairs: str) -> list[str]:
    return [part for pair in pairs for part in ("--set", pair)]


if __name__ == "__main__":
    main()
