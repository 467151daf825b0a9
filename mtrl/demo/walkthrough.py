"""`mtrl demo`: all steps of the paper by public commands, in a folder that is a small project of its own.

    generate releases -> convert -> for each row of Table 2: train, export, score -> tables, reports, comparison

Each command is printed before it runs, and works by itself in that folder. All numbers come from training. The same
command resumes a demo that was interrupted.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from functools import partial
from pathlib import Path

from mtrl.config import recipe
from mtrl.config.recipe_types import METHODS
from mtrl.core import child, hints
from mtrl.core.console import say
from mtrl.core.errors import MtrlError
from mtrl.demo import world

POINTWISE = ("demo_quality", "demo_alignment", "demo_safety")
PAIRS = "demo_pairs"
FOLDER = Path("runs/demo")  # the default
PAGES = ("training.html", "*/training.html", "*/eval/*.html")  # in runs/
PRESETS = ["--model", "tiny", "--hardware", "cpu"]


def run(folder: Path, full: bool) -> None:
    """Three rows of Table 2, or with `full` all five, and Table 3. Raises MtrlError that names the failed command."""
    begun = time.time()
    home, again = folder.resolve(), hints.line("demo", full=full, out=None if folder == FOLDER else folder)
    mtrl = partial(_mtrl, home, again)
    begin(home)
    every = ",".join(POINTWISE)
    say(f"Each command below can be repeated in {os.path.relpath(home)}.\n\nData: four releases of generated images")
    mtrl("convert", *POINTWISE, PAIRS, "--raw", "raw")
    scored = ["--tasks", f"{every},{PAIRS}", "--confidence"]
    say(f"\n{METHODS['zero_shot']}: the tiny model as it is")
    mtrl("eval", "--ckpt", str(tiny()), *scored, "--out", "runs/zero_shot/eval")
    rows = [("sft", "sft_unified", ""), ("rl", "rl_multitask", "")]
    if full:
        rows += [(stage, f"{stage}_single", task) for stage in ("sft", "rl") for task in POINTWISE]
    named = [(f"{method}-{task}" if task else method, stage, method, task) for stage, method, task in rows]
    for name, stage, method, task in named:
        wanted = ["--tasks", task] if task else ["--set", f"tasks={every}"]
        say(f"\n{METHODS[method]}: trained on {task or 'the three pointwise tasks'}")
        mtrl(stage, method, *PRESETS, *wanted, "--name", name)
        if not (home / "exports" / name).exists():
            mtrl("export", name, "--out", f"exports/{name}")
        mtrl("eval", "--ckpt", f"exports/{name}", *(["--tasks", task, "--confidence"] if task else scored))
    say("\nResults")
    mtrl("status", *(name for name, *_ in named), "--html")
    mtrl("compare", "sft_unified", "rl_multitask")
    pages = [os.path.relpath(file) for where in PAGES for file in sorted(home.glob(f"runs/{where}"))]
    took = f"{(time.time() - begun) / 60:.1f} minutes"
    say(f"\nThe demo took {took}. Its training curves and reports:\n  " + "\n  ".join(pages))
    mtrl("tables")
    say("\nnext: your own images, see docs/own-task.md")


def tiny() -> Path:
    """The tiny model that mtrl ships."""
    return Path(recipe.load("zero_shot", model="tiny", hardware="cpu").model.path)


def _mtrl(home: Path, again: str, *arguments: str) -> None:
    """Prints and runs one command in the demo's folder. Raises MtrlError with `again`, the command that resumes."""
    shown = [os.path.relpath(a, home) if a == str(tiny()) else a for a in arguments]
    say(f"$ {hints.typed(shown)}")
    sys.stdout.flush()
    if code := child.run_mtrl(arguments, cwd=home):
        raise MtrlError(f"{hints.typed(shown)} failed (exit status {code}); the demo resumes with it", again)


def begin(home: Path) -> None:
    """Writes tasks, prompts, tables and raw/ to the demo's folder. A file that is there, perhaps edited, is kept."""
    source = Path(__file__).parent / "workspace"
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        target = home / file.relative_to(source)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    if not (home / "raw").exists():
        drawn = home / f".raw.{secrets.token_hex(8)}"
        world.generate(drawn)
        drawn.rename(home / "raw")
