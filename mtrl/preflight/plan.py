"""Preflight: what a launch would stumble on, found in seconds on any machine. No GPU, no upstream import.

Each check has a level (ok, warning, error), a line of text and the next command. `mtrl sft` and `mtrl rl` run the same checks and exit if one fails.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mtrl.backends import envs, inputs, registry
from mtrl.backends.envs.tested import TESTED
from mtrl.config import datacard, prompting, samples, tasks
from mtrl.config.recipe_types import Recipe
from mtrl.converters.checks.converted import altered
from mtrl.converters.pipeline import counts as findings
from mtrl.core import hints
from mtrl.core.errors import MtrlError
from mtrl.core.files import parse_yaml, read_json
from mtrl.core.finding import Check
from mtrl.core.rundir import Run
from mtrl.models import budget, model_folder
from mtrl.preflight import amounts, keys, memory, network, shared
from mtrl.reward_plugins import judge


def plan(recipe: Recipe, data: Path) -> list[Check]:
    """All checks of a training recipe, in the order in which their subjects are used."""
    checks: list[Check] = []
    parts = (
        _model,
        _data,
        _lengths,
        _reward,
        amounts.check,
        _rules,
        _environment,
        _network,
        shared.check,
        _machine,
        _rendered,
    )
    for part in parts:
        try:
            checks += part(recipe, data)
        except MtrlError as error:
            checks.append(Check("error", str(error), error.then))
    return list(dict.fromkeys(checks))  # two parts can stumble on one thing


def _no_model(recipe: Recipe) -> bool:
    """Whether the model is said to be a folder, and is none."""
    path = Path(recipe.model.path)
    folder = path.exists() or path.is_absolute() or recipe.model.path.startswith(".")
    return folder and not (path / "config.json").exists()


def _model(recipe: Recipe, data: Path) -> Iterator[Check]:
    path = Path(recipe.model.path)
    if (path / "config.json").exists():
        kind = read_json(path / "config.json").get("model_type", "?")
        yield Check("ok", f"model {recipe.model.name}: {path} ({kind})")
    elif _no_model(recipe):
        yield Check(
            "error",
            f"model {recipe.model.name}: {path} is no model folder (no config.json)",
            "correct path in the model preset",
        )
    elif model_folder.local_model(recipe.model.path):
        yield Check("ok", f"model {recipe.model.name}: {path}, in the Hugging Face cache")
    else:
        yield Check("ok" if recipe.rl else "warning", f"model {recipe.model.name}: {path}, from the Hugging Face hub" + ("" if recipe.rl else "; LLaMA-Factory will round image sizes by its own rule"), "" if recipe.rl else f"hf download {path}")  # fmt: skip


def _data(recipe: Recipe, data: Path) -> Iterator[Check]:
    for name in recipe.tasks:
        task = tasks.load(name)
        again = datacard.convert_again(name, data)
        card_file = data / name / "card.json"
        if not card_file.exists():
            yield Check("error", f"task {name} is not converted ({card_file} is missing)", again)
            continue
        card = datacard.read(data, name)
        rows = {split: sum(verdicts.values()) for split, verdicts in card.counts.items()}
        if card.prompts.get(recipe.style) != prompting.sha256(task, recipe.style):
            yield Check("error", f"task {name}: its {recipe.style} prompt has changed since it was converted", again)
        yield from findings.fields(task, data)
        if empty := [split for split in ("train", "val") if not rows.get(split)]:
            yield Check("error", f"task {name} has no rows in {' and '.join(empty)}", again)
        yield from findings.untrainable(task, data, inputs.chosen(rows["train"], recipe, name), again)
        files = (
            f"{name}/{'sft' if recipe.sft else 'rl'}_{split}.{'json' if recipe.sft else 'parquet'}"
            for split in ("train", "val")
        )
        yield from altered(data, name, [*files, *sorted(_images(data, [name], ("train", "val")))], again)
        limited = f", limited to {card.limit} per split" if card.limit else ""
        yield Check("ok", f"task {name}: train {rows['train']:,}, val {rows['val']:,} rows{limited}")

    trained = _images(data, recipe.tasks, ("train",))
    for card_file in sorted(data.glob("*/card.json")):
        for split in ("val", "test"):
            if shared := trained & _images(data, [card_file.parent.name], (split,)):
                where = f"{card_file.parent.name}/{split}"
                yield Check(
                    "warning",
                    f"{len(shared)} training images stand in {where} too",
                    hints.line("check", card_file.parent.name),
                )


def _images(data: Path, names: list[str], splits: tuple[str, ...]) -> set[str]:
    """The stored images, named by content, of those splits of those tasks that are converted."""
    parts = [(name, split) for name in names for split in splits if samples.count(data, name, split)]
    return {image for name, split in parts for sample in samples.read(data, name, split) for image in sample.images}


def image_tokens(width: int, height: int, recipe: Recipe) -> int:
    """Tokens of one image of so many pixels: one a merged patch of the size that the model sees."""
    side = recipe.model.patch_size * recipe.model.merge_size
    wide, high, _ = budget.fitted(width, height, recipe.image.model_dump(), side)
    return wide * high // side**2


def _lengths(recipe: Recipe, data: Path) -> Iterator[Check]:
    """The longest prompt: image tokens exactly, text exactly where the tokenizer is at hand, else by 3 characters a token."""
    from PIL import Image

    limit, key = (
        (recipe.sft.max_length, "sft.max_length")
        if recipe.sft
        else (recipe.rl.max_prompt_length, "rl.max_prompt_length")  # type: ignore[union-attr]
    )
    count, how = _text_counter(Path(recipe.model.path))
    longest, which = 0, ""
    tokens: dict[str, int] = {}
    for name in recipe.tasks:
        render = prompting.renderer(tasks.load(name), recipe.style)
        for split in ("train", "val"):
            if not samples.path_of(data, name, split).exists():
                continue
            for sample in samples.read(data, name, split):
                for image in sample.images:
                    if image not in tokens and (data / image).is_file():
                        with suppress(OSError, ValueError, SyntaxError), Image.open(data / image) as opened:
                            tokens[image] = image_tokens(*opened.size, recipe)
                pictures = sum(tokens.get(image, 0) + 2 for image in sample.images)  # vision start and end
                total = pictures + count(render(sample).replace(prompting.MARKER, "")) + 12  # the chat's own tokens
                if total > longest:
                    longest, which = total, f"{name}/{split}/{sample.id}"
    if longest > limit:
        yield Check(
            "error",
            f"{which} needs {longest:,} tokens{how}, but {key} is {limit:,}",
            f"--set {key}={-(-longest // 64) * 64}",
        )
    elif longest:
        yield Check("ok", f"longest prompt {longest:,} tokens{how} ({which}), within {key} {limit:,}")


def _text_counter(model: Path):  # type: ignore[no-untyped-def]
    if (model / "tokenizer.json").exists():
        try:
            from tokenizers import Tokenizer
        except ImportError:
            pass
        else:
            tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
            return (lambda text: len(tokenizer.encode(text).ids)), ""
    return (lambda text: len(text) // 3), " (text estimated)"


def _reward(recipe: Recipe, data: Path) -> Iterator[Check]:
    if recipe.rl is None:
        return
    for label in (*judge.POINTWISE, *judge.PAIRWISE):
        truth = json.dumps({"task": "t", "label": label, "id": "1"})
        gold = judge.score(f"<think>Because.</think><answer>{label}</answer>", truth, recipe.rl.format_weight)[
            "overall"
        ]
        if abs(gold - 1) > 1e-9:
            yield Check("error", f"the gold answer {label} scores {gold}, not 1.0", "mend reward_plugins/judge.py")
            return
    yield Check("ok", "gold answers score 1.0")


def _rules(recipe: Recipe, data: Path) -> Iterator[Check]:
    if recipe.trainer in ("easyr1", "verl"):
        rules = importlib.import_module(f"mtrl.preflight.{recipe.trainer}_rules")
        yield from (Check(*found) for found in rules.check(recipe))


def _environment(recipe: Recipe, data: Path) -> Iterator[Check]:
    trainer = registry.of(recipe)
    python = envs.interpreter(trainer.environment)
    package = trainer.packages[0]
    version = envs.versions(python, (package,))[package]
    if version is None:
        yield Check("error", f"{package} is not installed in the environment {trainer.environment}", f"make setup-{trainer.environment}")  # fmt: skip
    elif recipe.sft and recipe.hardware.gpus_per_node and (gone := _missing(python, recipe)):
        yield Check("error", f"the environment {trainer.environment} lacks {' and '.join(gone)}", f"make setup-{trainer.environment} on the GPU machine (or --set upstream.flash_attn=sdpa)")  # fmt: skip
    elif version != (tested := TESTED[recipe.trainer].version):
        yield Check("warning", f"{package} {version} is not the version this was tested with ({tested})")  # fmt: skip
    else:
        yield Check("ok", f"{package} {version}")
    trainer.job(recipe, Run(Path("runs") / recipe.default_name), data)  # renders, so a template's mistake shows here


def _missing(python: Path, recipe: Recipe) -> list[str]:
    """What LLaMA-Factory needs on GPUs beside itself."""
    wanted = ["deepspeed"] if recipe.hardware.deepspeed else []
    wanted += ["flash_attn"] if recipe.upstream.get("flash_attn", "fa2") == "fa2" else []
    return [name for name, version in envs.versions(python, tuple(wanted)).items() if version is None]


def _network(recipe: Recipe, data: Path) -> Iterator[Check]:
    yield from network.check(recipe)


def _machine(recipe: Recipe, data: Path) -> Iterator[Check]:
    wanted = recipe.hardware.gpus_per_node
    if wanted:
        try:
            listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=20).stdout
            have = listed.count("GPU ")
        except (OSError, subprocess.SubprocessError):
            have = 0
        cluster = recipe.rl and recipe.trainer != "trl" and os.environ.get("RAY_ADDRESS", "") not in network.OWN
        if have < wanted and not cluster:
            yield Check("error", f"hardware {recipe.hardware.name} wants {wanted} GPUs on this node, and {have} are here", "--hardware NAME, or start it on the GPU machine")  # fmt: skip


def _rendered(recipe: Recipe, data: Path) -> Iterator[Check]:
    """What upstream.yaml itself says: its keys, and the memory and disk that follow from it."""
    trainer = registry.of(recipe)
    if _no_model(recipe):
        return
    try:
        config = trainer.config(recipe, Run(Path("runs") / recipe.default_name), data)
    except MtrlError:
        return  # the batches' line says what is wrong
    rendered = parse_yaml(config, "upstream.yaml")
    yield from keys.check(recipe, rendered)
    yield from memory.check(recipe, rendered)
    yield amounts.disk(recipe, data, rendered)
