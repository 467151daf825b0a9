"""How long report.html takes to write and to use, and how large it is.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_report.py --rows 10000   (1.3 GB of JPEGs, temporary)

Makes one distinct JPEG of --side pixels per row, with the detail of a photograph (pink noise), and an evaluation of
them with reasoning, confidence and some long answers. Prints seconds, megabytes and peak memory of the report, in a
process of its own; and, where headless Chromium is installed, milliseconds from opening the file to the first drawn
samples, and of one filter and two searches.

On two x86 cores that others kept busy (load 8), 10,000 rows: side 1024 (1,252 MB of JPEGs) 22 s of processor time, side
512 (394 MB) 13 s, of which all but 1.5 s are thumbnails; 41 MB; 178 MB of memory; drawn after 0.86 s, filter 0.03 s,
first search 0.07 s, next 0.02 s.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

TASK, BASES = "seetrue", 16
WORDS = ("the", "dog", "left", "holds", "a red ball", "and", "sky", "above it", "is clear", "grass", "looks", "torn")
ASK = """<script>
{ const said = { ready: +document.documentElement.dataset.ready };
  const time = (name, change) => { const t = performance.now(); change(); filter(); list.getBoundingClientRect();
    said[name] = Math.round(performance.now() - t); };
  time("filter", () => { at("show").value = "wrong"; });
  time("first_search", () => { at("show").value = ""; at("search").value = "number 77"; });
  time("next_search", () => { at("search").value = "number 7777"; });
  ["about", "cards", "pictures"].forEach((id) => at(id).remove()); list.replaceChildren();
  document.title = "measured " + JSON.stringify({ ...said, found: at("count").textContent }); }
</script></html>"""


def base(seed: int, side: int) -> Any:
    """A square of 1/f noise in three channels, with the contrast of a photograph."""
    rng = np.random.default_rng(seed)
    away = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    away[0, 0] = 1
    layers = [np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) / away**1.6) for _ in range(2)]
    grey, tint = ((layer - layer.mean()) / layer.std() for layer in layers)
    grain = rng.standard_normal((side, side)) * 2
    return np.clip(128 + 50 * grey[..., None] + grain[..., None] + 18 * tint[..., None] * [1, 0, -1], 0, 255).astype(
        "u1"
    )


def draw(job: tuple[Path, int, list[int]]) -> dict[int, str]:
    """Stores the images as a conversion does; returns their names below the data folder."""
    from PIL import Image

    folder, side, numbers = job
    names = {}
    bases = [base(seed, side) for seed in range(BASES)]
    for number in numbers:
        rng = np.random.default_rng(number)
        pixels = np.roll(bases[number % BASES], tuple(rng.integers(0, side, 2)), (0, 1))
        Image.fromarray(pixels).save(buffer := io.BytesIO(), "JPEG", quality=80)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        names[number] = f"images/{digest[:2]}/{digest}.jpg"
        (folder / names[number]).parent.mkdir(parents=True, exist_ok=True)
        (folder / names[number]).write_bytes(buffer.getvalue())
    return names


def generate(home: Path, rows: int, side: int) -> None:
    from mtrl.config import samples, tasks
    from mtrl.evaluate import predictions, requests, scores
    from mtrl.evaluate.engines.base import Answer
    from mtrl.evaluate.identity import Identity
    from mtrl.evaluate.recording import Recording

    names: dict[int, str] = {}
    with ProcessPoolExecutor() as pool:
        for made in pool.map(draw, [(home / "data", side, list(range(k, rows, 8))) for k in range(8)]):
            names |= made
    rng = np.random.default_rng(0)
    samples.write(
        samples.path_of(home / "data", TASK, "test"),
        (
            samples.Sample(
                f"row-{n}", TASK, "pointwise", (names[n],), {"caption": f"A dog, number {n}."},
                ("yes", "no")[n % 2], "test", source={"files": [f"photo-{n}.jpg"]},
            )
            for n in range(rows)
        ),
    )  # fmt: skip
    asked = list(requests.build(tasks.load(TASK), "rl", home / "data", "test"))
    about = {"split": "test", "prompt_sha256": "", "samples_sha256": "", "limit": None, "requests": rows}
    identity = {
        "path": "exports/bench", "method": "rl_multitask", "style": "rl",
        "image": {"min_pixels": 3136, "max_pixels": 1048576},
        "sampling": {"max_tokens": 1024, "temperature": 0.0, "votes": 1, "confidence": True},
        "tasks": {TASK: {**about, "choices": ["yes", "no"]}},
    }  # fmt: skip

    def row(request: Any) -> Any:
        why = " ".join(rng.choice(WORDS, 100_000 // 5 if rng.random() < 0.001 else int(rng.integers(40, 300))))
        verdict = request.label if rng.random() < 0.8 else {"yes": "no", "no": "yes"}[request.label]
        text = f"<think>{why}</think><answer>{verdict}</answer>" if rng.random() < 0.98 else why
        said = predictions.of_answer(Answer(request, text, 200, "stop", 1.0), "rl", "")
        return replace(said, confidence=float(rng.beta(8, 1)))

    with Recording(home / "eval", Identity.model_validate(identity)) as store:
        for _ in store.append(map(row, asked)):
            pass
    scores.score(home / "eval")


def measured(home: Path) -> None:
    from mtrl.evaluate.html import report

    begun, busy = time.perf_counter(), time.process_time()
    page = report.write(home / "eval", home / "data")
    seconds, peak = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    busy = time.process_time() - busy
    print(
        f"written in {seconds:.1f} s, {busy:.1f} s of processor time, {page.stat().st_size / 1e6:.1f} MB, "
        f"peak memory {peak:.0f} MB",
        flush=True,
    )


def browsed(home: Path) -> str:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        return "no Chromium here"
    copy = home / "eval/asked.html"
    copy.write_text((home / "eval/report.html").read_text().replace("</html>", ASK))
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={home}/profile", "--dump-dom"]
    done = subprocess.run([browser, *options, copy.as_uri()], capture_output=True, text=True, timeout=300)
    found = re.search(r"<title>measured (.*?)</title>", done.stdout)
    return f"in Chromium, milliseconds: {found[1]}" if found else f"Chromium said nothing: {done.stderr[-500:]}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=1024, help="of the images, in pixels")
    parser.add_argument("--folder", type=Path, help="generated there, and used again where it is")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        return measured(args.measure)
    with tempfile.TemporaryDirectory() as temporary:
        home = args.folder or Path(temporary) / "bench"
        if not home.exists():
            generate(home, args.rows, args.side)
        files = list((home / "data/images").glob("*/*"))
        size = sum(file.stat().st_size for file in files)
        print(f"{len(files):,} JPEGs, {size / 1e6:.0f} MB, {len(os.sched_getaffinity(0))} cores", flush=True)
        subprocess.run([sys.executable, __file__, "--measure", home], check=True)
        print(browsed(home))


if __name__ == "__main__":
    main()
