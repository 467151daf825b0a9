"""How much a training is: batches, updates, validations and checkpoints, time and disk. Part of `mtrl plan`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtrl.backends import batches
from mtrl.config import sizes
from mtrl.config.recipe_types import Recipe
from mtrl.core.finding import Check
from mtrl.preflight import memory

ANSWERS = 2_560  # a step of EasyR1's published times: its default 512 prompts x 5


def check(recipe: Recipe, data: Path) -> Iterator[Check]:
    """Nothing where nothing is converted, which is another check's to say. Raises UserError where a batch cannot be shared."""
    rows = sizes.rows(recipe, data)
    if not rows:
        return
    made = sizes.schedule(recipe, rows)
    if recipe.sft and recipe.stage == "sft":
        world = recipe.hardware.world_size
        size, steps = batches.share(
            recipe.sft.batch_size, recipe.hardware.sft_per_device_batch_size, world, "sft.batch_size"
        )
        yield Check("ok", f"batch {recipe.sft.batch_size} = {world} devices x {size} x {steps} accumulated")
        yield from _schedule(recipe, made, rows, f"{made.updates:,} updates", f"{made.total:,} updates")
    elif recipe.rl:
        prompts, n = recipe.rl.rollout_batch_size, recipe.rl.n
        each = prompts // recipe.rl.batch_size
        if rows < prompts:
            text = f"{rows} training rows are fewer than rl.rollout_batch_size {prompts}"
            yield Check("error", text, _auto(recipe, rows) or "convert more rows, or choose fewer devices")
            return
        yield Check("ok", f"a rollout is {prompts} prompts x {n} = {prompts * n:,} answers, and {each} updates")
        epoch = f"{made.steps:,} rollouts with {made.updates:,} updates"
        yield from _schedule(recipe, made, rows, epoch, f"{made.total:,} rollouts with {made.total * each:,} updates")
    yield _time(recipe, made)


def _schedule(recipe: Recipe, made: sizes.Schedule, rows: int, epoch: str, whole: str) -> Iterator[Check]:
    text = f"an epoch: {epoch}, {made.steps / made.every:.2g} validations; at most {whole}, {made.validations:,} validations"
    yield Check("ok", f"{text} and {made.checkpoints:,} checkpoint{'s' * (made.checkpoints != 1)}")
    if made.enough:
        return
    if made.updates < sizes.UPDATES:
        text = f"an epoch of {rows:,} rows has {made.updates} updates, fewer than {sizes.UPDATES}: the model may learn little"
    else:
        text = (
            f"a validation comes every {made.every} steps, and an epoch has {made.steps}: fewer than {sizes.VALIDATIONS} "
            "validations leave little to stop early by, and few checkpoints to choose from"
        )
    yield Check("warning", text, _auto(recipe, rows) or "convert more rows, or choose fewer devices")


def _auto(recipe: Recipe, rows: int) -> str:
    """The --set by which an epoch has enough, or "" where these rows are too few for these devices."""
    stage = str(recipe.stage)
    for keys in (["validate_every"], list(sizes.AUTO[stage])):
        derived = sizes.derived(recipe, keys, rows)
        if sizes.schedule(derived, rows).enough:
            return " ".join(f"--set {stage}.{key}=auto" for key in keys)
    return ""


def _time(recipe: Recipe, made: sizes.Schedule) -> Check:
    seconds, world = recipe.model.rl_step_seconds, recipe.hardware.world_size
    if not (recipe.stage == "rl" and recipe.rl and seconds and recipe.hardware.gpus_per_node):
        return Check(
            "ok", "time: no figure is published for this; mtrl status shows what is left once steps are logged"
        )
    step = seconds * recipe.rl.rollout_batch_size * recipe.rl.n / ANSWERS * 8 / world
    hours, most = made.steps * step / 3600, made.total * step / 3600
    return Check("ok", f"time: about {hours:,.0f} hours an epoch, {most:,.0f} at most: {step:,.0f} s a step, from {seconds:,.0f} s for {ANSWERS:,} answers on 8 GPUs ({recipe.model.rl_step_source})")  # fmt: skip


LIMITS = {  # upstream's own limit on the checkpoints that are kept
    "llamafactory": "save_total_limit",
    "easyr1": "trainer.save_limit",
    "verl": "trainer.max_actor_ckpt_to_keep",
    "trl": "grpo.save_total_limit",
}


def disk(recipe: Recipe, data: Path, config: dict[str, Any]) -> Check:
    """Room for the checkpoints where runs/ is: all of them, or as many as upstream's own limit in `config` keeps."""
    runs = Path("runs") if Path("runs").exists() else Path.cwd()
    free, each = shutil.disk_usage(runs).free / 1e9, memory.checkpoint(recipe, config)
    key = LIMITS[recipe.trainer]
    kept: Any = config
    for name in key.split("."):
        kept = kept.get(name)
        if kept is None:
            break
    count = max(1, sizes.schedule(recipe, sizes.rows(recipe, data)).checkpoints)
    count = min(count, kept) if kept and kept > 0 else count
    text = f"disk: {free:,.0f} GB free; up to {count} checkpoints of about {each:,.1f} GB"
    if free < each * 2:
        return Check("error", text, "make room: one is kept while the next is written")
    if free >= each * count:
        return Check("ok", text)
    fits = int(free / each)
    return Check("warning", text, f"make room, or --set upstream.{key}={min(3, fits)}")
