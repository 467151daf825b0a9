"""How much a training is: batches, updates, validations and checkpoints, and disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from mtrl.backends import batches, registry, traces
from mtrl.config import sizes
from mtrl.config.recipe_types import Recipe
from mtrl.core.finding import Check
from mtrl.core.rundir import Run
from mtrl.preflight import memory
from mtrl.preflight.rendered import Rendered

MORE_ROWS = "convert more rows, or choose fewer devices"


def check(recipe: Recipe, data: Path) -> Iterator[Check]:
    """Nothing if no row is converted, which is another check's error. Raises UserError if a batch cannot be shared."""
    rows = traces.rows(recipe, data)
    if not rows:
        return
    made = sizes.schedule(recipe, rows)
    if recipe.sft and recipe.stage == "sft":
        size, world = recipe.sft.batch_size, recipe.hardware.world_size
        share = batches.share(size, recipe.hardware.sft_per_device_batch_size, world, "sft.batch_size")
        text = (
            f"batch {size} = {world} (devices) x {share.per_device} (rows per device) x "
            f"{share.accumulation} (accumulation)"
        )
        yield Check("ok", text)
        yield from _schedule(recipe, made, rows, f"{made.updates:,} updates", f"{made.total:,} updates")
    elif recipe.rl:
        prompts, n = recipe.rl.rollout_batch_size, recipe.rl.n
        each = prompts // recipe.rl.batch_size
        if rows < prompts:
            text = f"{rows} training rows are fewer than rl.rollout_batch_size {prompts}"
            yield Check("error", text, _auto(recipe, rows) or MORE_ROWS)
            return
        yield Check("ok", f"one rollout: {prompts} prompts x {n} = {prompts * n:,} answers, then {each} updates")
        epoch = f"{made.steps:,} rollouts with {made.updates:,} updates"
        yield from _schedule(recipe, made, rows, epoch, f"{made.total:,} rollouts with {made.total * each:,} updates")


def _schedule(recipe: Recipe, made: sizes.Schedule, rows: int, epoch: str, whole: str) -> Iterator[Check]:
    per_epoch = f"{epoch}, {made.steps / made.every:.2g} validations"
    saved = f"{made.checkpoints:,} checkpoint{'s' * (made.checkpoints != 1)}"
    yield Check("ok", f"an epoch: {per_epoch}; at most {whole}, {made.validations:,} validations and {saved}")
    if made.enough:
        return
    if made.updates < sizes.UPDATES:
        text = f"an epoch of {rows:,} rows has {made.updates} updates, fewer than {sizes.UPDATES}: "
        text += "the model may learn little"
    else:
        text = f"an epoch has {made.steps} steps and a validation every {made.every}, fewer than {sizes.VALIDATIONS} "
        text += "validations: early stopping has little to go by, and few checkpoints are there to choose from"
    yield Check("warning", text, _auto(recipe, rows) or MORE_ROWS)


def _auto(recipe: Recipe, rows: int) -> str:
    """The --set that gives an epoch enough updates and validations, "" if these rows are too few for these devices."""
    stage = str(recipe.stage)
    for keys in (["validate_every"], list(sizes.AUTO[stage])):
        derived = sizes.derived(recipe, keys, rows)
        if sizes.schedule(derived, rows).enough:
            sizes_of = getattr(derived, stage)  # auto needs the number of rows without the sift
            return " ".join(f"--set {stage}.{k}={getattr(sizes_of, k) if recipe.sift else 'auto'}" for k in keys)
    return ""


def disk(recipe: Recipe, run: Run, data: Path, config: Rendered) -> Check:
    """Room for the checkpoints on the run directory's disk: for all, or for as many as upstream's own limit keeps."""
    folder = next(path for path in (run.path, *run.path.parents) if path.exists())
    free, each = shutil.disk_usage(folder).free / 1e9, memory.checkpoint(recipe, config)
    key = registry.of(recipe).limit
    kept = config.whole(key, default=-1, least=-1 if recipe.trainer == "easyr1" else 1)  # EasyR1's -1: all
    count = max(1, sizes.schedule(recipe, traces.rows(recipe, data)).checkpoints)
    count = min(count, kept) if kept > 0 else count
    text = f"disk: {free:,.0f} GB free; up to {count} checkpoints of about {each:,.1f} GB"
    if free < each * 2:
        return Check("error", text, "make room: one checkpoint is kept while the next is written")
    if free >= each * count:
        return Check("ok", text)
    return Check("warning", text, f"make room, or --set upstream.{key}={min(3, int(free / each))}")
