"""`mtrl eval` against a bare script that loads the same rows and calls LLM.chat once, whole commands both.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_eval.py   (500 rows to the tiny model, on an idle machine)

Each runs `--repeat` times, in turn; the fastest counts. Budget: 1.10 times the bare script, with metrics, intervals and
report.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from bench_replicas import project

BARE = """
import os, sys
os.environ.update(VLLM_LOGGING_LEVEL="ERROR", VLLM_CPU_KVCACHE_SPACE="1", VLLM_ENABLE_V1_MULTIPROCESSING="0")
from pathlib import Path
import vllm
from PIL import Image
from mtrl.config import prompting, samples, tasks

model, min_pixels, max_pixels, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
render = prompting.renderer(tasks.load("demo_quality"), "sft")
chats = []
for number, sample in enumerate(samples.read(Path("data"), "demo_quality", "train")):
    if number < rows:
        pictures = iter([Image.open(Path("data") / name).convert("RGB") for name in sample.images])
        content = [{"type": "image_pil", "image_pil": next(pictures)} if part["type"] == "image" else part
                   for part in prompting.parts(render(sample))]
        chats.append([{"role": "user", "content": content}])
llm = vllm.LLM(model=model, max_model_len=2128, limit_mm_per_prompt={"image": 1, "video": 0}, enforce_eager=True,
               mm_processor_kwargs={"size": {"shortest_edge": min_pixels, "longest_edge": max_pixels}},
               disable_log_stats=True, seed=0)
outputs = llm.chat(chats, vllm.SamplingParams(max_tokens=16, temperature=0), use_tqdm=False)
assert len(outputs) == rows
"""


def main() -> None:
    from mtrl.demo.walkthrough import tiny
    from mtrl.evaluate.judges import subject

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500, help="at most 500")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    model, image = str(tiny()), subject(str(tiny())).image
    ours = [sys.executable, "-m", "mtrl", "eval", "--ckpt", model, "--tasks", "demo_quality", "--split", "train"]
    ours += ["--limit", str(options.rows), "--out"]
    bare = [sys.executable, "-c", BARE, model, str(image.min_pixels), str(image.max_pixels), str(options.rows)]
    took: dict[str, list[float]] = {"mtrl eval": [], "bare LLM.chat": []}
    with tempfile.TemporaryDirectory() as name:
        project(Path(name))
        for number in range(options.repeat):
            for what, command in (("mtrl eval", [*ours, f"out{number}"]), ("bare LLM.chat", bare)):
                begun = time.monotonic()
                done = subprocess.run(command, cwd=name, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(done.stderr)
                took[what].append(time.monotonic() - begun)
    for what, seconds in took.items():
        print(f"{what:14} {min(seconds):6.2f} s  (of {', '.join(f'{s:.2f}' for s in seconds)})")
    print(f"mtrl eval / bare {min(took['mtrl eval']) / min(took['bare LLM.chat']):.2f} (budget 1.10)")


if __name__ == "__main__":
    main()
