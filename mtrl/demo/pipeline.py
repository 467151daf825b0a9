"""`mtrl demo`: the paper's whole way with public commands alone, in a folder that is a small project of its own.

    generate a release -> convert -> for each row of Table 2: train, export, score -> tables, reports, comparison

Each command is printed before it runs, and works by itself in that folder. All numbers come from training. A demo that
was stopped goes on where it was.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from functools import partial
from pathlib import Path

from mtrl.core import child, hints
from mtrl.core.console import say
from mtrl.core.errors import MtrlError

POINTWISE = ("demo_quality", "demo_alignment", "demo_safety")
PAIRS = "demo_pairs"
FOLDER = Path("runs/demo")  # where it is by default
PRESETS = ["--model", "tiny", "--hardware", "cpu"]


def run(folder: Path, full: bool) -> None:
    """Three rows of Table 2 and Table 3, or with `full` all five. Raises MtrlError naming the command that failed."""
    from mtrl.demo import suite

    begun = time.time()
    home, again = folder.resolve(), hints.line("demo", full=full, out=None if folder == FOLDER else folder)
    mtrl = partial(_mtrl, home, again)
    home.mkdir(parents=True, exist_ok=True)
    _lay_out(home)
    if not (home / "raw").exists():
        drawn = home / f".raw.{secrets.token_hex(8)}"
        suite.generate(drawn)
        drawn.rename(home / "raw")
    every = ",".join(POINTWISE)
    mtrl("convert", *POINTWISE, PAIRS, "--raw", "raw")
    scored = ["--tasks", f"{every},{PAIRS}", "--confidence"]
    mtrl("eval", "--ckpt", str(tiny()), *scored, "--out", "runs/zero_shot/eval")
    rows = [("sft", "sft_unified", ""), ("rl", "rl_multitask", "")]
    if full:
        rows += [(stage, f"{stage}_single", task) for stage in ("sft", "rl") for task in POINTWISE]
    for stage, method, task in rows:
        name = f"{method}-{task}" if task else method
        wanted = ["--tasks", task] if task else ["--set", f"tasks={every}"]
        mtrl(stage, method, *PRESETS, *wanted, "--name", name)
        if not (home / "exports" / name).exists():
            mtrl("export", name, "--out", f"exports/{name}")
        mtrl("eval", "--ckpt", f"exports/{name}", *(["--tasks", task, "--confidence"] if task else scored))
    mtrl("status")
    mtrl("compare", "sft_unified", "rl_multitask")
    reports = sorted(os.path.relpath(file) for file in home.glob("runs/*/eval/*.html"))
    say(f"\nwhole demo: {(time.time() - begun) / 60:.1f} minutes. Reports:\n  " + "\n  ".join(reports))
    mtrl("tables")
    say("\nnext: your own images, see docs/own-task.md")


def tiny() -> Path:
    """The tiny base model that mtrl ships."""
    from mtrl.config import recipe

    return Path(recipe.load("zero_shot", model="tiny", hardware="cpu").model.path)


def _mtrl(home: Path, again: str, *arguments: str) -> None:
    """Prints and runs one command, as a user would, in the demo's folder. `again` is the command that goes on."""
    shown = [os.path.relpath(a, home) if a == str(tiny()) else a for a in arguments]
    say(f"\n$ {hints.typed(shown)}")
    sys.stdout.flush()
    if code := child.run_mtrl(arguments, cwd=home):
        raise MtrlError(
            f"the demo stopped: {hints.typed(shown)} ended with status {code}; it goes on from there", again
        )


def _lay_out(home: Path) -> None:
    """Copies the demo's tasks, prompts and tables into its folder; what is there already, perhaps edited, stays."""
    source = Path(__file__).parent / "workspace"
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        target = home / file.relative_to(source)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
