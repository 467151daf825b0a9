"""Which judge is asked: an export, another folder or hub id, or a model that an endpoint serves."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from mtrl.config import recipe, task_files
from mtrl.config.recipe_types import Style
from mtrl.core import rundir, search_path
from mtrl.core.errors import UserError
from mtrl.core.files import read_yaml
from mtrl.evaluate.identity import Purpose
from mtrl.evaluate.subject import Subject, fingerprint
from mtrl.models import card, experts, integrity, model_folder


def subject(checkpoint: str, style: Style | None = None, prompts: str = "export") -> Subject:
    """As mtrl.json next to the weights says, or for a model without one recipes/zero_shot.yaml. Raises UserError."""
    folder = Path(checkpoint)
    # "organisation/name" is a hub id, unless this folder or its parent exists
    is_local = folder.exists() or checkpoint.count("/") != 1 or checkpoint[0] in "./~" or folder.parent.is_dir()
    told = card.read(folder) if is_local else None
    if is_local and not told and not experts.headers(folder):
        raise UserError(
            f"--ckpt {checkpoint} has no safetensors weights; others, such as .bin, can run code and are not read",
            "name a folder with .safetensors files",
        )
    if not told:
        return _foreign(checkpoint, style, fingerprint(folder) if is_local else checkpoint)
    files = integrity.Files(folder, told.files, (*model_folder.OTHER_FILES, "config.json"))
    files.check(only=task_files.FOLDER)  # they are read before anything is asked
    asked, model = style or told.style, told.recipe.model
    return Subject(
        checkpoint=checkpoint,
        method=told.method,
        style=asked,
        image=told.image,
        max_new_tokens=told.max_new_tokens if asked == told.style else _room(asked, model.name),
        fingerprint=fingerprint(folder),
        told_by=str(folder / card.FILE),
        side=model.patch_size * model.merge_size,
        name=told.run,
        model=model.name,
        step=told.step,
        run=told.run,
        trained=told.tasks,
        home=home if (home := folder / task_files.FOLDER).is_dir() else None,
        prompts=prompts,
        files=files,
    )


def named(
    ckpt: str | None, endpoint: str | None, served_model: str | None, style: Style | None, prompts: str = "export"
) -> Subject:
    """The judge that the options of these names choose. Raises UserError where they do not go together."""
    if endpoint and served_model:
        return served(served_model, ckpt, style, prompts)
    if endpoint:
        raise UserError(
            "--endpoint needs --served-model, the name that the model is served under",
            f"curl {endpoint}/models lists the names",
        )
    if served_model:
        raise UserError("--served-model needs --endpoint", "add --endpoint URL, or pass a folder as --ckpt")
    if not ckpt:
        raise UserError("Pass --ckpt PATH, or --endpoint URL and --served-model NAME.")
    return subject(ckpt, style, prompts)


def evaluation_folder(
    ckpt: str | None, served_model: str | None, from_scores: bool = False, kind: Purpose = "eval"
) -> Path:
    """Where an evaluation is written by default, below the folder of runs: RUN/eval, or eval-NAME of a foreign
    model; with -from-scores after it where pairs are decided from single answers. A sift and a probe have their own
    word for eval.
    """
    end = "-from-scores" if from_scores else ""
    if not served_model and ckpt and Path(ckpt).exists():
        if told := card.read(Path(ckpt)):
            return Path(told.run) / f"{kind}{end}"
        ckpt = os.path.abspath(ckpt)
    return Path(rundir.evaluation(served_model or Path(str(ckpt)).name, kind) + end)


def served(model: str, checkpoint: str | None = None, style: Style | None = None, prompts: str = "export") -> Subject:
    """The model that an endpoint serves as `model`, asked as `checkpoint` says, else recipes/zero_shot.yaml.

    That it is this checkpoint cannot be checked. Its name is its identity: the address may change. Raises UserError.
    """
    told = subject(checkpoint, style, prompts) if checkpoint else _foreign(model, style, model)
    return replace(told, checkpoint=model, fingerprint=model, name=model, files=None)


def _foreign(name: str, style: Style | None, fingerprint: str) -> Subject:
    """A judge that mtrl did not train."""
    preset = _preset_of(name)
    plain = recipe.load("zero_shot", model=preset)
    asked = style or plain.style
    return Subject(
        checkpoint=name,
        method=plain.method,
        style=asked,
        image=plain.image,
        max_new_tokens=_room(asked, preset),
        fingerprint=fingerprint,
        told_by="recipes/zero_shot.yaml",
        side=plain.model.patch_size * plain.model.merge_size,
        name=Path(name).name if Path(name).exists() else name,
        model=preset or "",
    )


def _room(style: Style, preset: str | None) -> int:
    """Most tokens of an answer in a style without training: 16 for a bare verdict, else what the RL recipe has."""
    if style == "sft":
        return 16
    known = preset if preset in search_path.listing("recipes", "models", ".yaml") else None
    found = recipe.load("rl_multitask", model=known)
    return found.max_new_tokens


def _preset_of(checkpoint: str) -> str | None:
    """The model preset with these weights, where there is one: it may narrow the range of image sizes."""
    for name, file in search_path.listing("recipes", "models", ".yaml").items():
        path = str(read_yaml(file).get("path", ""))
        if path == checkpoint or (
            path.startswith("./") and (file.parent / path).resolve() == Path(checkpoint).resolve()
        ):
            return name
    return None
